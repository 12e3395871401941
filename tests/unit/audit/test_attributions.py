"""The audit of what trace windows attribute: planted faults are found, each by itself."""

from dataclasses import replace
from typing import Any

import pytest

from schemas.topics import ATTRIBUTIONS, LEDGER, USAGE
from streams.adapters.memory_books import DictImage
from streams.audit.replay import OF_ALL_CUSTOMERS, Scope
from streams.audit.report import CANNOT_TELL, DIFFERENT, EQUAL, exit_code
from streams.domain.windows import is_window_row
from tests.builders import SECOND_US, signal, usage
from tests.unit.audit.written_books import WrittenBooks, make_context, texts

CLOSING = {"trace_lateness_seconds": 0, "trace_grace_seconds": 60}


@pytest.fixture
def books() -> WrittenBooks:
    """Two customers' traces close in the second cycle, a cost comes late in the third, and a window
    is open at the end."""
    made = WrittenBooks(make_context(**CLOSING))
    made.append(
        usage(event_id="e1", cost="1.25", trace_id="t1"),
        usage(event_id="e2", cost="0.5", trace_id="t1"),
        signal(event_id="s1", trace_id="t1", cost_tracing=True),
        signal(event_id="s2", trace_id="t1", cost_tracing=True, weight=2),
        usage("globex", event_id="e1", cost="7", trace_id="t9", scope_id="11"),
    )
    made.cycle()
    later(made)
    made.append(usage(event_id="e3", cost="3", trace_id="t1"))
    made.cycle()
    made.append(usage(event_id="e4", cost="9", trace_id="t2"))
    made.cycle()
    return made


def later(books: WrittenBooks) -> None:
    """An event long after all others closes what is open."""
    books.now_us += 600 * SECOND_US
    books.append(usage("initech", event_id=f"tick{books.now_us}", cost="0"))
    books.cycle()


def rows(books: WrittenBooks) -> list[Any]:
    return books.records[ATTRIBUTIONS.name]


def test_attributions_and_windows_of_a_worker_are_equal(books: WrittenBooks) -> None:
    report = books.audit()
    assert texts(report) == []
    assert exit_code([report]) == EQUAL
    assert len(rows(books)) == 2 * 2 + 1 + 2
    assert any("3 accounts, 4 trace windows" in line for line in report.tables), report.tables


def test_a_removed_attribution_is_named(books: WrittenBooks) -> None:
    books.remove(ATTRIBUTIONS.name, b'"sequence":2,')
    report = books.audit()
    assert texts(report) == ["partition 0, attributions, record: missing: 1-attribution-0-2"]
    assert exit_code([report]) == DIFFERENT


def test_an_altered_amount_is_named_with_both_values(books: WrittenBooks) -> None:
    altered = books.alter(ATTRIBUTIONS.name, b'"amount":"7"', b'"amount":"8"')
    place = f"partition 0, attributions, offset {altered.offset}: 1-attribution-0-4"
    assert texts(books.audit()) == [f"{place}: amount is '8', due is '7'"]


def test_a_doubled_attribution_is_named(books: WrittenBooks) -> None:
    found = rows(books)[1]
    rows(books).insert(2, found)
    what = "nothing in the log demands this record, '1-attribution-0-1'"
    assert texts(books.audit()) == [f"partition 0, attributions, offset {found.offset}: {what}"]


def test_a_copy_behind_attributions_of_the_next_cycle_is_named(books: WrittenBooks) -> None:
    found = rows(books)[0]
    assert found.value is not None
    books.put(ATTRIBUTIONS.name, found.key, found.value.replace(b'"cycle":2', b'"cycle":9'))
    assert texts(books.audit()) == [], "a cycle under way"
    made = books.put(ATTRIBUTIONS.name, found.key, found.value)
    assert texts(books.audit()) == [
        f"partition 0, attributions, offset {made.offset}: nothing in the log demands this record"
    ]


def test_an_attribution_under_another_customer_is_named(books: WrittenBooks) -> None:
    rows(books)[0] = replace(rows(books)[0], key=b"globex")
    assert "key is b'globex', due is b'acme'" in texts(books.audit())[0]


def test_a_stranger_among_the_attributions_is_named(books: WrittenBooks) -> None:
    rows(books)[3:3] = [replace(rows(books)[3], value=b"hello")]
    assert "attributions" in texts(books.audit())[0]
    assert "none of Tollgate's records" in texts(books.audit())[0]


def test_one_entry_less_does_not_make_all_later_attributions_differ(books: WrittenBooks) -> None:
    books.remove(LEDGER.name, b'"cost":"0.5"')
    assert texts(books.audit()) == ["partition 0, ledger, record: missing: 1-usage-0-1-0"]


def test_an_altered_and_a_missing_window_are_named(books: WrittenBooks) -> None:
    accounts = books.accounts()
    first, second, *_ = sorted(key for key in accounts if is_window_row(key))
    accounts[first] = accounts[first].replace(b'"closed":true', b'"closed":false')
    del accounts[second]
    lines = texts(books.audit(DictImage("store", accounts)))
    assert len(lines) == 2
    assert "window" in lines[0]
    assert "closed" in lines[0]
    assert lines[1].endswith("missing")


def test_a_customer_alone_is_audited_without_attributions_and_says_so(books: WrittenBooks) -> None:
    books.alter(ATTRIBUTIONS.name, b'"amount":"7"', b'"amount":"8"')
    for customer in ("acme", "globex", "initech"):
        report = books.audit(scope=Scope(customer=customer))
        assert texts(report) == []
        assert OF_ALL_CUSTOMERS in report.notes


def test_cycles_whose_inbound_records_are_gone_are_attributed_again_from_their_entries(
    books: WrittenBooks,
) -> None:
    def audit() -> Any:
        return books.audit(lives=lambda _generation, topic: topic != USAGE.name)

    report = audit()
    assert texts(report) == []
    assert report.given == report.cycles
    books.alter(ATTRIBUTIONS.name, b'"amount":"7"', b'"amount":"8"')
    (line,) = texts(audit())
    assert "amount is '8', due is '7'" in line


def test_what_a_lost_generation_attributed_goes_on_in_the_next(books: WrittenBooks) -> None:
    books.context = replace(books.context, generation=2)
    books.records[USAGE.name].clear()
    books.state.progress.consumed.clear()
    books.offsets[USAGE.name] = books.offsets["signals"] = 0
    books.records["signals"].clear()
    later(books)
    assert b'"generation":2' in (rows(books)[-1].value or b"")
    lost = ("usage", "signals")
    report = books.audit(lives=lambda generation, topic: generation == 2 or topic not in lost)
    assert texts(report) == []


def test_without_the_catalog_a_recorded_cycle_cannot_be_folded(books: WrittenBooks) -> None:
    def gone(_offset: int) -> Any:
        raise ValueError("the catalog ends at offset 1")

    report = books.audit(scope=Scope(since_us=books.now_us), contexts=gone)
    assert "cannot be read" in report.cannot_tell
    assert exit_code([report]) == CANNOT_TELL
