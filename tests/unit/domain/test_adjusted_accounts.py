"""streams.domain.adjusting: what corrections mean for limits, tasks and invoices."""

from typing import Any

import pytest

from schemas import codec
from schemas.money import PICO, parse_signed_amount
from schemas.structs import AdjustmentEntry, SettlementEntry, Transfer, UsageEntry
from schemas.topics import TRANSFERS
from streams.domain.appends import cycle_appends, transfer_records
from streams.domain.canonical import limit_fact, transfer_fact
from streams.domain.drafts import LineKey, draft
from streams.domain.facts import SourceRecord
from streams.domain.limits import used_at
from streams.domain.months import month
from streams.domain.replay import fold_entries
from streams.domain.state import PartitionState
from tests.builders import (
    DAY_US,
    NOON_US,
    cycle,
    json_of,
    of_kind,
    record,
    state,
)
from tests.corrected import RULES, Books


@pytest.fixture
def books() -> Books:
    return Books()


# --- limits, tasks, invoices ---------------------------------------------------------------------


def limit(books: Books, **fields: Any) -> None:
    body = codec.decode_budget(
        json_of(
            "acme",
            f"l{books.offset}",
            {"kind": "limit", "denomination": "usd", "amount": "50"} | fields,
        )
    )
    books.take(limit_fact(record(body, books.next_offset(), books.at_us), body))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "days", "used"),
    [
        ({}, 5, 8),
        ({"resets": "day"}, 0, 8),
        ({"resets": "day"}, 1, 5),  # the day that counted it is over
        ({"agent_id": "a1"}, 0, 8),
        ({"agent_id": "a2"}, 0, 0),
    ],
)
def test_a_limit_counts_the_difference_in_the_period_that_counted_the_charge(
    books: Books, fields: dict[str, Any], days: int, used: int
) -> None:
    books.use(1)
    limit(books, **fields)
    entry = books.use(10, agent_id="a1")
    books.at_us += days * DAY_US
    books.use(5, agent_id="a1")
    books.adjust(entry, "3")
    assert used_at(books.account.limits[0], books.at_us) == used * PICO


def test_a_limit_that_was_set_after_the_charge_never_counts_the_difference(books: Books) -> None:
    entry = books.use(10)
    limit(books)
    books.use(4)
    books.adjust(entry, "3")
    assert books.account.limits[0].used == 4 * PICO


def test_a_new_amount_of_a_limit_goes_on_counting_what_the_old_one_counted(books: Books) -> None:
    limit(books)
    entry = books.use(10)
    limit(books, amount="70")
    books.adjust(entry, "3")
    assert books.account.limits[0].used == 3 * PICO
    limit(books, resets="month")  # counts anew
    books.adjust(
        entry,
        "1",
        event_id=f"{entry.entry_id}#2",
        old_cost="3",
        old_provisional="0",
        was_unpriced=False,
    )
    assert books.account.limits[0].used == 0


def test_a_task_learns_of_the_difference_and_that_a_call_has_a_price_now(books: Books) -> None:
    entry = books.use(10, task_ref="job")
    sent = transfers(books, books.state)
    body = books.adjustment(entry, "2.5")
    sent += transfers(books, books.state, body)
    into = state()
    for offset, transfer in enumerate(sent):
        source = SourceRecord(TRANSFERS.name, offset, NOON_US, b"job", codec.encode(transfer))
        found = cycle(into, transfer_fact(source, transfer), context=RULES)
        assert len(of_kind(SettlementEntry, found.entries)) == 1
    task = into.tasks["job"]
    assert (task.calls, task.unpriced_calls, task.used_tokens) == (1, 0, 10)
    assert task.used_pico_usd == 2.5 * PICO


def transfers(books: Books, into: PartitionState, *facts: Any) -> list[Transfer]:
    """What the last cycle, or one of these facts, sends to tasks."""
    if facts:
        result = cycle(into, *facts, context=RULES, at_us=books.at_us)
        assert cycle_appends(into, result)[TRANSFERS.name]
        records = transfer_records(result.entries)
    else:
        records = transfer_records(books.entries)
    return [codec.decode_transfer(value) for _, value in records]


def test_an_invoice_shows_corrections_as_a_line_of_their_own(books: Books) -> None:
    books.grant("4")
    entry = books.use(10)
    books.at_us += 40 * DAY_US
    books.adjust(entry, "2.5")
    found = draft(books.entries, "acme", month(2026, 1))
    corrected = found.lines[LineKey("", "new", "adjusted", "USD")]
    assert (corrected.calls, corrected.tokens) == (0, 0)
    assert corrected.cost_pico == 2.5 * PICO
    assert corrected.provisional_pico == -10 * PICO
    assert corrected.covered_pico_usd == -1.5 * PICO
    assert found.cost_by_currency() == {"USD": 2.5 * PICO}
    assert found.provisional_by_currency() == {}
    assert found.totals().covered_pico_usd == 2.5 * PICO


def test_the_account_is_the_fold_of_its_entries(books: Books) -> None:
    books.grant("4")
    books.grant("3", resets="week")
    limit(books)
    entries = [books.use(tokens) for tokens in (2, 3, 10)]
    for entry, cost in zip(entries, ("1", "9.75", "0"), strict=True):
        books.adjust(entry, cost)
    decoded = [codec.decode_entry(codec.encode(entry)) for entry in books.entries]
    assert fold_entries(decoded).accounts["acme"] == books.account
    charged = sum(
        parse_signed_amount(entry.cost) + parse_signed_amount(entry.provisional)
        for entry in books.entries
        if isinstance(entry, UsageEntry | AdjustmentEntry)
    )
    assert charged == books.account.used_pico_usd == 10.75 * PICO
