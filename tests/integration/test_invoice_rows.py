"""Entries about terms and invoices in the real ClickHouse: field by field, in the audit's eyes, and
through the views that analysts read."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from schemas import codec
from schemas.codec import join_rows
from schemas.money import format_amount, parse_signed_amount
from schemas.structs import (
    CreditEntry,
    InvoiceCloseEntry,
    InvoiceIssueEntry,
    InvoiceVoidEntry,
    TermsEntry,
    VoidEntry,
)
from streams.adapters.audited_rows import ClickHouseAuditedRows
from streams.adapters.clickhouse import ClickHouse
from streams.adapters.clickhouse_rows import ClickHouseRows, describe, insert_statement
from streams.errors import SetupError
from streams.invoicing.billing import KINDS, Plain, place_of, read_billing
from streams.ports import NO_ROWS
from streams.shipped import clickhouse_migrations
from streams.sink.migrations import migrate, read_migrations
from tests.builders import json_of, signal, usage
from tests.embedded_waiting import until
from tests.invoice_facts import (
    MONTHS,
    Invoiced,
    close,
    credit,
    issue,
    line,
    terms,
    totals_of,
    void_invoice,
)
from tests.sinks import clickhouse_database, migrated_database

REASON = 'a "long" outage,\n\tC:\\temp, l\'été {a:b} \u2028 💶'

LINES = [
    line(1, "12.50", item="calls", title="Calls", card="pro@1", metric="calls", quantity="5"),
    line(2, "-2.50", line_kind="discount", item="launch", label="2025-12", corrects="acme-0000"),
    line(3, "0.000000000001", "EUR", item="cost", group='büro "1"', quantity="-0.5", metric="cost"),
    line(4, "99999999999999999999999999.999999999999", "JPY", line_kind="fee"),
]
TOTALS = [
    {"currency": "USD", "amount": "10.00"},
    {"currency": "EUR", "amount": "0.000000000001"},
    {"currency": "JPY", "amount": "99999999999999999999999999.999999999999"},
]


def void_of_signal(books: Invoiced) -> Any:
    fields = {
        "kind": "void",
        "signal_source": "crm",
        "signal_event_id": "s1",
        "signal_entry": "1-signals-0-0-0",
        "signal_decided_at": books.now_us,
        "signal_occurred_at": MONTHS[3],
        "signal_name": "ticket_closed",
    }
    return codec.decode_budget(json_of("acme", "v1", fields))


def ledger() -> list[Any]:
    """Every new kind of entry, and some that were there."""
    books = Invoiced()
    books.tell(usage(units=2), signal(), terms(zone="Europe/Berlin", anchor_day=15))
    books.tell(terms("t2", card=None, plan="standard", effective_from=MONTHS[1]))
    books.tell(credit(currency="EUR", reason=REASON), close(0), void_of_signal(books))
    books.tell(issue(lines=LINES, totals=TOTALS), void_invoice(reissue=True, reason="wrong card"))
    books.tell(close(0, reissues="acme-0001"))
    books.tell(issue("acme-0003", lines=[line(1, "8")], totals=totals_of([line(1, "8")])))
    books.tell(close(1), credit("c2", number="acme-0003"))
    books.tell(close(0, customer="bolt-1"))
    return books.entries


ENTRIES = ledger()
ENCODED = codec.encode_all(ENTRIES)


@pytest.fixture(scope="module")
def filled(stack: Any) -> Iterator[ClickHouse]:
    with migrated_database(stack.endpoints(), "invoice_rows") as clickhouse:
        rows = ClickHouseRows(clickhouse)
        rows._insert("ledger", 1, 0, NO_ROWS, join_rows(ENCODED))
        yield clickhouse


@pytest.mark.parametrize(
    "kind",
    [TermsEntry, CreditEntry, InvoiceCloseEntry, InvoiceIssueEntry, InvoiceVoidEntry, VoidEntry],
)
def test_every_entry_arrives_field_by_field(filled: ClickHouse, kind: Any) -> None:
    compared = 0
    for entry in ENTRIES:
        if not isinstance(entry, kind):
            continue
        names = list(kind.__struct_fields__)
        selected = ", ".join(_read(name) for name in names)
        answer = filled.query(
            f"SELECT {selected} FROM ledger WHERE entry_id = {{e:String}}",
            {"e": entry.entry_id},
        )
        (row,) = answer.rows
        for name, found in zip(names, row, strict=True):
            assert _plain(found) == _due(getattr(entry, name)), name
            compared += 1
    assert compared


def test_what_is_known_of_a_customer_is_what_its_entries_say(filled: ClickHouse) -> None:
    assert known(filled) == told()
    without = [one | {"lines": []} if "lines" in one else one for one in told()]
    assert known(filled, with_lines=False) == without


def test_rows_from_before_the_column_of_entries_say_the_same(stack: Any) -> None:
    with clickhouse_database(stack.endpoints(), "invoice_rows_before") as clickhouse:
        migrations = read_migrations(clickhouse_migrations())
        [at] = [one.number for one in migrations if one.name == "billing_entry"]
        migrate(clickhouse, migrations[: at - 1])
        ClickHouseRows(clickhouse)._insert("ledger", 1, 0, NO_ROWS, join_rows(ENCODED))
        with pytest.raises(SetupError) as refused:
            known(clickhouse)
        assert "tollgate migrate" in refused.value.action
        for statement in migrations[at - 1].statements:
            clickhouse.execute(statement)
        assert known(clickhouse) == told()
        done = "SELECT min(is_done) FROM system.mutations WHERE database = currentDatabase()"
        until(lambda: clickhouse.query(done).rows == [(1,)], "the old rows have the column")
        assert known(clickhouse) == told()


def test_what_the_sink_gives_is_what_the_table_makes_of_the_row(filled: ClickHouse) -> None:
    shape = describe(filled, "ledger")
    assert [name for name, _ in shape.derived] == ["billing_entry", "billing_lines"]
    for name, expression in shape.derived:
        assert f"`{name}`" in insert_statement("ledger", shape, 1, 0, NO_ROWS)
        differ = f"SELECT countIf({name} != {expression}), countIf({name} != '') > 0 FROM ledger"
        assert filled.query(differ).rows == [(0, True)]


def known(clickhouse: ClickHouse, *, with_lines: bool = True) -> list[Plain]:
    """The entries about invoices out of the table, in the order of the ledger."""
    billings = read_billing(clickhouse, ["acme", "bolt-1"], with_lines=with_lines).values()
    kinds = ("terms", "credits", "closes", "issues", "voids")
    return sorted(
        (one for billing in billings for name in kinds for one in getattr(billing, name)),
        key=place_of,
    )


def told() -> list[Plain]:
    """The same as they were written, with what may be left out on the wire, and amounts in their
    one form."""
    plain = map(codec.to_plain, ENTRIES)
    return [
        in_form(KINDS[one["kind"]](**one).model_dump()) for one in plain if one["kind"] in KINDS
    ]


def in_form(one: Plain) -> Plain:
    """An entry or a part of one, with its amounts as `format_amount` writes them."""
    for name, value in one.items():
        if isinstance(value, list):
            one[name] = [in_form(part) for part in value]
        elif name == "amount":
            one[name] = format_amount(parse_signed_amount(value))
    return one


TIMES = ("decided_at", "appended_at", "occurred_at", "terms_from", "period_from", "period_to")


def _read(name: str) -> str:
    times = (*TIMES, "after_end", "billed_to")
    return f"toUnixTimestamp64Micro({name})" if name in times else f"`{name}`"


def _plain(found: Any) -> Any:
    if isinstance(found, Decimal):
        return found
    if isinstance(found, list | tuple):
        return [_plain(one) for one in found]
    if isinstance(found, dict):
        return [_plain(one) for one in found.values()]
    return found


def _due(value: Any) -> Any:
    if isinstance(value, list):
        return [[_due(getattr(one, name)) for name in one.__struct_fields__] for one in value]
    return Amount(value) if isinstance(value, str) else value


class Amount(str):
    """A text of an entry, that a decimal of the table may equal."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return Decimal(self) == other if isinstance(other, Decimal) else str(self) == other


def test_the_audit_finds_the_rows_equal_and_sees_an_amount_inside_a_line(
    filled: ClickHouse,
) -> None:
    audited, last = ClickHouseAuditedRows(filled), len(ENTRIES) - 1
    values = codec.encode_all(ENTRIES)
    sums = audited.sum_rows("ledger", 1, 0, 0, last, 1_000)
    assert audited.sum_expected("ledger", values) == sums[0]
    assert audited.compare("ledger", 1, 0, 0, last, values, 20) == []
    spoilt = [value.replace(b'"0.000000000001"', b'"0.000000000002"', 1) for value in values]
    assert audited.sum_expected("ledger", spoilt) != sums[0]
    due, found = audited.compare("ledger", 1, 0, 0, last, spoilt, 20)
    differing = [name for name in due.columns if due.columns[name] != found.columns[name]]
    assert differing == ["lines"]


def rows_of(clickhouse: ClickHouse, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in clickhouse.query(sql).rows]


def test_the_view_of_invoices_has_a_row_for_each_number(filled: ClickHouse) -> None:
    found = rows_of(
        filled,
        "SELECT number, document, status, label, reissues, voids, credit_note, to_reissue, "
        "line_count, issued_at IS NULL, voided_at IS NULL FROM invoices "
        "ORDER BY customer_id, number",
    )
    assert [row[:9] for row in found] == [
        ("acme-0001", "invoice", "voided", "2026-01", "", "", "acme-0002", True, 4),
        ("acme-0002", "credit_note", "closed", "2026-01", "", "acme-0001", "", False, 0),
        ("acme-0003", "invoice", "issued", "2026-01", "acme-0001", "", "", False, 1),
        ("acme-0004", "invoice", "closed", "2026-02", "", "", "", False, 0),
        (found[4][0], "invoice", "closed", "2026-01", "", "", "", False, 0),
    ]
    assert [bool(row[9]) for row in found] == [False, True, False, True, True]
    assert [bool(row[10]) for row in found] == [False, True, True, True, True]


def test_the_view_of_lines_has_a_row_for_each_line_of_each_document(filled: ClickHouse) -> None:
    found = rows_of(
        filled,
        "SELECT number, line, line_kind, corrects, label, item, `group`, metric, quantity, amount, "
        "currency, toUnixTimestamp64Micro(from_at), toUnixTimestamp64Micro(to_at) "
        "FROM invoice_lines ORDER BY number, line",
    )
    assert [row[:2] for row in found] == [
        *(("acme-0001", n) for n in (1, 2, 3, 4)),
        ("acme-0003", 1),
    ]
    assert found[1][2:6] == ("discount", "acme-0000", "2025-12", "launch")
    assert found[2][6:11] == ('büro "1"', "cost", *map(Decimal, ("-0.5", "0.000000000001")), "EUR")
    assert {row[11:] for row in found} == {MONTHS[:2]}


def test_the_views_of_terms_and_credits_say_what_was_told(filled: ClickHouse) -> None:
    found = rows_of(filled, "SELECT plan, card, zone, anchor_day FROM terms ORDER BY sequence")
    assert found == [("", "pro", "Europe/Berlin", 15), ("standard", "", "UTC", 1)]
    found = rows_of(
        filled, "SELECT amount, currency, reason, number FROM credits ORDER BY sequence"
    )
    assert found == [(Decimal(5), "EUR", REASON, ""), (Decimal(5), "USD", "", "acme-0003")]
