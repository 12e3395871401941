"""The audit of a partition whose books were written by the worker's own functions, then spoilt."""

from dataclasses import replace

import pytest

from schemas.topics import CLAIMS_CHANGELOG, DEAD_LETTERS, LEDGER, USAGE
from streams.adapters.memory_books import DictImage, ListBook
from streams.audit.books import CatalogHistory
from streams.audit.replay import Scope
from streams.audit.report import CANNOT_TELL, DIFFERENCES_MAX, DIFFERENT, EQUAL, exit_code
from streams.domain.context import RULES_VERSION
from streams.ports import PROGRESS_KEY
from tests.builders import book, catalog_record, grant, signal, usage
from tests.unit.audit.written_books import WrittenBooks, texts


@pytest.fixture
def books() -> WrittenBooks:
    """Three cycles: two customers, a grant, a signal, a duplicate, a conflict, a malformed one."""
    made = WrittenBooks()
    made.append(
        grant(amount="5"),
        usage(event_id="e1", units=3, cost="1.25"),
        usage(event_id="e2", units=4, cost="2.5"),
        usage("globex", event_id="e1", cost="7"),
    )
    made.cycle()
    made.append(usage(event_id="e1", units=3, cost="1.25"), b"{", signal())
    made.append(usage(event_id="e2", units=9, cost="2.5"))
    made.cycle()
    made.append(usage(event_id="e3", units=6, cost="0.5"), usage("globex", event_id="e2"))
    made.cycle()
    return made


def test_what_a_worker_wrote_is_equal_and_counted(books: WrittenBooks) -> None:
    report = books.audit()
    assert texts(report) == []
    assert (report.cycles, report.given, report.records) == (3, 0, 10)
    assert (report.accepted, report.duplicates, report.refused) == (7, 1, 2)
    assert report.cost_pico == {"USD": 11_250_000_000_000}
    assert report.units == 15
    assert report.waiting == 0
    assert len(report.tables) == 2
    assert exit_code([report]) == EQUAL


def test_an_altered_amount_in_the_ledger_is_one_difference_that_names_the_field(
    books: WrittenBooks,
) -> None:
    altered = books.alter(LEDGER.name, b'"cost":"2.5"', b'"cost":"2.6"')
    report = books.audit()
    assert texts(report) == [
        f"partition 0, ledger, offset {altered.offset}: 1-usage-0-1-0: cost is '2.6', due is '2.5'"
    ]
    assert exit_code([report]) == DIFFERENT


@pytest.mark.parametrize(
    ("name", "due", "instead"),
    [
        ("accepted", b'"accepted":4', b'"accepted":5'),
        ("decided_at", b'"decided_at":1768', b'"decided_at":1767'),
        ("dead_letter_sequence", b'"dead_letter_sequence":0', b'"dead_letter_sequence":1'),
    ],
)
def test_an_altered_cycle_is_named(
    books: WrittenBooks, name: str, due: bytes, instead: bytes
) -> None:
    books.alter(LEDGER.name, due, instead)
    assert any(f"1-cycle-0-1: {name} is" in line for line in texts(books.audit()))


def test_a_changed_order_of_fields_is_a_difference_too(books: WrittenBooks) -> None:
    books.alter(LEDGER.name, b'{"kind":"usage",', b'{"kind": "usage",')
    (line,) = texts(books.audit())
    assert "is written otherwise" in line


def test_a_changed_key_is_named(books: WrittenBooks) -> None:
    found = books.find(LEDGER.name, b'"kind":"usage"')
    books.records[LEDGER.name][found.offset] = replace(found, key=b"globex")
    assert "key is b'globex', due is b'acme'" in texts(books.audit())[0]


def test_a_record_that_a_stranger_appended_to_the_ledger_is_named(books: WrittenBooks) -> None:
    copied = books.find(LEDGER.name, b'"kind":"usage"')
    made = books.put(LEDGER.name, copied.key, copied.value)
    books.put(LEDGER.name, b"x", b"hello")
    place = "partition 0, ledger, offset"
    assert texts(books.audit()) == [
        f"{place} {made.offset}: nothing in the log demands this record, '1-usage-0-0-0'",
        f"{place} {made.offset + 1}: none of Tollgate's records",
    ]


def test_a_cycle_that_is_there_twice_is_named_and_changes_nothing_else(books: WrittenBooks) -> None:
    first = [r for r in books.records[LEDGER.name] if b'"cycle":1,' in (r.value or b"")]
    for copied in first:
        books.put(LEDGER.name, copied.key, copied.value)
    report = books.audit()
    assert len(report.differences) == len(first)
    assert all("repeats cycle 1" in line for line in texts(report))


def test_a_missing_entry_is_named(books: WrittenBooks) -> None:
    books.remove(LEDGER.name, b'"cost":"2.5"')
    assert texts(books.audit()) == ["partition 0, ledger, record: missing: 1-usage-0-1-0"]


def test_behind_a_missing_cycle_nothing_can_be_told(books: WrittenBooks) -> None:
    for found in list(books.records[LEDGER.name]):
        if b'"cycle":2,' in (found.value or b""):
            books.records[LEDGER.name].remove(found)
    report = books.audit()
    assert "cycle 3 where cycle 2 was due" in texts(report)[0]
    assert "cycle 2 is not in the ledger" in report.cannot_tell
    assert exit_code([report]) == DIFFERENT


def test_a_ledger_whose_beginning_is_gone_cannot_be_told(books: WrittenBooks) -> None:
    kept = [r for r in books.records[LEDGER.name] if b'"cycle":1,' not in (r.value or b"")]
    books.records[LEDGER.name] = kept
    report = books.audit()
    assert "begins with cycle 2 of generation 1" in report.cannot_tell
    assert exit_code([report]) == CANNOT_TELL


def test_other_rules_are_refused(books: WrittenBooks) -> None:
    own, other = RULES_VERSION, RULES_VERSION + 1
    for _ in range(3):
        books.alter(LEDGER.name, b'"rules_version":%d' % own, b'"rules_version":%d' % other)
    report = books.audit()
    assert f"version {other} of the rules, this release has version {own}" in report.cannot_tell
    assert exit_code([report]) == CANNOT_TELL


def test_dead_letters_are_compared_like_entries(books: WrittenBooks) -> None:
    books.alter(DEAD_LETTERS.name, b'"code":"conflict"', b'"code":"too_old"')
    (line,) = texts(books.audit())
    assert "dead letters" in line
    assert "code is 'too_old', due is 'conflict'" in line


def test_a_missing_and_a_strange_dead_letter_are_named(books: WrittenBooks) -> None:
    gone = books.remove(DEAD_LETTERS.name, b'"code":"conflict"')
    books.put(DEAD_LETTERS.name, gone.key, b"?")
    books.put(DEAD_LETTERS.name, gone.key, books.records[DEAD_LETTERS.name][0].value)
    lines = texts(books.audit())
    assert any("missing: 1-usage-0-5-0" in line for line in lines), lines
    assert any("none of Tollgate's records" in line for line in lines), lines
    assert any("nothing in the log demands this record" in line for line in lines), lines


def test_a_copy_behind_records_of_the_next_cycles_is_named(books: WrittenBooks) -> None:
    letter = books.records[DEAD_LETTERS.name][0]
    segment = books.records[CLAIMS_CHANGELOG.name][0]
    assert letter.value is not None
    books.put(DEAD_LETTERS.name, letter.key, letter.value.replace(b'"cycle":2', b'"cycle":4'))
    books.put(CLAIMS_CHANGELOG.name, b"1-4", segment.value)
    image = books.image()
    assert texts(books.audit(DictImage("x", image.accounts()))) == [], "a cycle under way"
    books.put(DEAD_LETTERS.name, letter.key, letter.value)
    books.put(CLAIMS_CHANGELOG.name, b"1-1", segment.value)
    lines = texts(books.audit(DictImage("x", image.accounts())))
    assert len(lines) == 2
    assert all("nothing in the log demands this record" in line for line in lines)


def test_claims_segments_are_compared(books: WrittenBooks) -> None:
    first, second, *_ = books.records[CLAIMS_CHANGELOG.name]
    assert first.value is not None
    value = first.value[:-1] + bytes([first.value[-1] ^ 1])
    books.records[CLAIMS_CHANGELOG.name][:2] = [replace(first, value=value)]
    lines = texts(books.audit(books.image()))
    assert "cycle 1: offset 0: not the claims that the cycle made" in lines[0]
    assert "cycle 2: the segment is missing" in lines[1]
    assert second.key == b"1-2"


def test_segments_deleted_by_time_are_no_difference(books: WrittenBooks) -> None:
    kept = books.records[CLAIMS_CHANGELOG.name][1:]
    start = kept[0].offset
    report = books.audit(instead={CLAIMS_CHANGELOG.name: ListBook(kept, start=start)})
    assert texts(report) == []


def test_an_inbound_record_that_no_cycle_took_is_named(books: WrittenBooks) -> None:
    books.alter(LEDGER.name, b'"topic":"usage","from_offset":3', b'"topic":"usage","from_offset":4')
    lines = texts(books.audit())
    assert "1 records at offsets 3 to 3 were decided by no cycle" in lines[0]


def test_a_refusal_by_our_own_fault_is_taken_as_recorded() -> None:
    made = WrittenBooks()
    made.append(usage(event_id="e1"), usage(event_id="e2"))
    made.cycle(fault=("usage", 0))
    report = made.audit()
    assert texts(report) == []
    assert report.internal == 1


def test_waiting_records_are_counted_and_are_no_difference(books: WrittenBooks) -> None:
    books.append(usage(event_id="e9"))
    report = books.audit()
    assert texts(report) == []
    assert report.waiting == 1


def test_only_the_first_differences_keep_their_text() -> None:
    made = WrittenBooks()
    made.append(*(usage(event_id=f"e{n}") for n in range(DIFFERENCES_MAX + 5)))
    made.cycle()
    for _ in range(DIFFERENCES_MAX + 5):
        made.alter(LEDGER.name, b'"source":"crm"', b'"source":"CRM"')
    report = made.audit()
    assert report.differences_total > DIFFERENCES_MAX
    assert len(report.differences) == DIFFERENCES_MAX


# --- ranges, customers, generations --------------------------------------------------------------


def test_before_a_range_cycles_are_taken_as_recorded(books: WrittenBooks) -> None:
    books.alter(LEDGER.name, b'"source":"crm"', b'"source":"CRM"')
    own = [r for r in books.records[LEDGER.name] if b'"kind":"cycle"' in (r.value or b"")]
    second = int((own[1].value or b"").split(b'"decided_at":')[1].split(b",")[0])
    report = books.audit(scope=Scope(since_us=second))
    assert texts(report) == []
    assert (report.cycles, report.given, report.records) == (3, 1, 6)
    assert len(report.tables) == 2, "the tables are compared all the same"


def test_after_a_range_nothing_is_read(books: WrittenBooks) -> None:
    own = [r for r in books.records[LEDGER.name] if b'"kind":"cycle"' in (r.value or b"")]
    second = int((own[1].value or b"").split(b'"decided_at":')[1].split(b",")[0])
    books.alter(LEDGER.name, b'"cost":"0.5"', b'"cost":"0.6"')
    report = books.audit(scope=Scope(until_us=second))
    assert texts(report) == []
    assert report.cycles == 1
    assert "not compared" in report.notes[0]


def test_one_customer_is_decided_alone(books: WrittenBooks) -> None:
    report = books.audit(scope=Scope(customer="globex"))
    assert texts(report) == []
    assert report.records == 2
    books.alter(LEDGER.name, b'"cost":"7"', b'"cost":"8"')
    books.alter(LEDGER.name, b'"cost":"2.5"', b'"cost":"2.6"')
    (line,) = texts(books.audit(scope=Scope(customer="globex")))
    assert "cost is '8', due is '7'" in line
    (line,) = texts(books.audit(scope=Scope(customer="acme")))
    assert "cost is '2.6', due is '2.5'" in line


def test_what_a_lost_generation_consumed_is_taken_as_recorded(books: WrittenBooks) -> None:
    view_context = books.context
    books.context = replace(view_context, generation=2)
    books.records["usage"].clear()
    del books.state.progress.consumed["usage"]
    books.offsets["usage"] = 0
    books.append(usage(event_id="e3", units=6, cost="0.5"), usage(event_id="e7", units=1))
    books.cycle()
    report = books.audit(lives=lambda generation, topic: generation == 2 or topic != USAGE.name)
    assert texts(report) == []
    assert (report.cycles, report.given) == (4, 3)
    assert report.duplicates == 2, "claims of the lost generation still hold"


# --- tables --------------------------------------------------------------------------------------


def test_a_table_is_compared_at_the_cycle_that_it_names(books: WrittenBooks) -> None:
    behind = books.image("behind")
    books.append(usage(event_id="e8"))
    books.cycle()
    report = books.audit(behind, books.image("present"))
    assert texts(report) == []
    assert "behind: cycle 3, 2 accounts" in report.tables[0]
    assert any("present: cycle 4, 2 accounts" in line for line in report.tables)


def test_an_altered_account_is_named_by_customer_and_field(books: WrittenBooks) -> None:
    accounts = books.accounts()
    accounts[b"acme"] = accounts[b"acme"].replace(b'"used_units":13', b'"used_units":12')
    report = books.audit(DictImage("store", accounts))
    assert texts(report) == [
        "partition 0, store, customer 'acme': used_units is 12, due is 13",
    ]


def test_a_table_that_follows_its_changelog_may_stand_in_the_middle_of_a_cycle(
    books: WrittenBooks,
) -> None:
    accounts = books.accounts()
    del accounts[max(accounts)]
    image = DictImage("store", accounts)
    image.settled = False
    report = books.audit(image)
    assert texts(report) == []
    assert any("follows its changelog" in note for note in report.notes)


def test_a_missing_and_a_strange_account_are_named(books: WrittenBooks) -> None:
    accounts = books.accounts()
    accounts[b"nobody"] = accounts.pop(b"globex")
    assert texts(books.audit(DictImage("store", accounts))) == [
        "partition 0, store, customer 'globex': missing",
        "partition 0, store, customer 'nobody': nothing in the log demands this row",
    ]


def test_a_progress_that_the_ledger_lacks_is_named(books: WrittenBooks) -> None:
    accounts = books.accounts()
    accounts[PROGRESS_KEY] = accounts[PROGRESS_KEY].replace(b'"cycle":3', b'"cycle":9')
    (line,) = texts(books.audit(DictImage("store", accounts)))
    assert "names cycle 9 of generation 1, which the ledger lacks" in line


def test_accounts_without_progress_are_named(books: WrittenBooks) -> None:
    accounts = books.accounts()
    del accounts[PROGRESS_KEY]
    (line,) = texts(books.audit(DictImage("store", accounts)))
    assert "progress: missing" in line


def test_claims_of_a_store_are_compared(books: WrittenBooks) -> None:
    good = books.image("store")
    claims = books.claims()
    gone, altered, *_ = claims
    del claims[gone]
    claims[altered] = claims[altered][:-1] + b"\x63"
    claims[b"?" * 16] = claims[altered]
    last = books.records[CLAIMS_CHANGELOG.name][-1].offset
    assert texts(books.audit(good)) == []
    lines = texts(books.audit(DictImage("store", books.accounts(), claims, last)))
    assert len(lines) == 3
    assert any(gone.hex() in line and "missing" in line for line in lines)
    assert any(altered.hex() in line and "due is" in line for line in lines)
    assert any("nobody claimed it" in line for line in lines)


# --- the catalog ---------------------------------------------------------------------------------


def test_the_catalog_is_as_of_the_recorded_offset() -> None:
    generation = catalog_record("generation", generation=1, partitions=8, topic_ids={})
    rules = catalog_record("rules", default_plan=[])
    history = CatalogHistory([(0, generation), (1, rules), (4, book(small={"input": "3"}))], 5)
    assert history.context(2).prices.version == ""
    assert history.context(4).catalog_offset == 4
    assert history.context(5).prices.version == "test@1"
    assert history.context(4).prices.version == ""
    with pytest.raises(ValueError, match="no rules"):
        history.context(1)
    with pytest.raises(ValueError, match="ends at offset 5"):
        history.context(6)
