"""Sums of many customers' spans as ClickHouse computes them, compared with the domain's over the
same entries; and which earlier periods it finds something late in."""

import random
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import pytest

from schemas.structs import UsageEntry, replace
from streams.adapters.clickhouse import ClickHouse
from streams.adapters.clickhouse_rows import ClickHouseRows
from streams.domain.invoices.tallies import Entry, Place, Span, Tally, place_of, tally
from streams.invoicing import tallies as sql
from streams.invoicing.asof import read_cut
from streams.invoicing.tallies import (
    END_OF_LEDGER,
    CustomerSpan,
    LateAsk,
    late_periods,
    tallies,
)
from tests.property.seed import SEED
from tests.random_ledger import CUSTOMERS, EDGES, LARGEST, insert_entries, plain_of, random_entries
from tests.rows import row

ROUNDS = 3
STRANGER = "nobody"


def random_place(rng: random.Random, entries: Sequence[Entry]) -> Place:
    """The place of an entry, one before all, or one behind all."""
    places = [place_of(entry) for entry in entries]
    return rng.choice([*places, *places, (0, 0), END_OF_LEDGER])


def random_spans(
    rng: random.Random, books: Mapping[str, Sequence[Entry]], count: int
) -> list[CustomerSpan]:
    """Spans of several customers mixed, some of them of the same customer, empty or overlapping."""
    times = [0, *EDGES, *(edge + 1 for edge in EDGES), 2**52]
    found = []
    for _ in range(count):
        customer = rng.choice([*CUSTOMERS, STRANGER])
        from_us, to_us = sorted(rng.choices(times, k=2))
        cut = random_place(rng, books.get(customer, ()))
        found.append(CustomerSpan(customer, from_us, to_us, cut))
    return found


def expected(books: Mapping[str, Sequence[Entry]], spans: Sequence[CustomerSpan]) -> list[Tally]:
    return [
        tally(books.get(span.customer_id, ()), [Span(span.from_us, span.to_us, span.cut)])[0]
        for span in spans
    ]


def replace_agents(entries: Sequence[Entry]) -> list[Entry]:
    """The entries as if one agent without a name had made all of them."""
    return [{**entry, "agent_id": ""} for entry in entries]


async def random_books(clickhouse: ClickHouse, number: int) -> dict[str, list[Mapping[str, Any]]]:
    entries = random_entries(SEED + number)
    await insert_entries(clickhouse, entries)
    return {customer: plain_of(entries, customer) for customer in CUSTOMERS}


@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.parametrize("at_once", [7, 1000])
async def test_sums_of_spans_are_what_the_domain_makes_of_the_same_entries(
    clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch, number: int, at_once: int
) -> None:
    books = await random_books(clickhouse, number)
    spans = random_spans(random.Random(SEED + number), books, 60)
    monkeypatch.setattr(sql, "SPANS_AT_ONCE", at_once)
    found = tallies(clickhouse, spans)
    assert found == expected(books, spans)
    assert sum(map(bool, found)) > 20
    together = [replace_agents(books.get(span.customer_id, ())) for span in spans]
    assert tallies(clickhouse, spans, by_agent=False) == [
        tally(entries, [Span(span.from_us, span.to_us, span.cut)])[0]
        for entries, span in zip(together, spans, strict=True)
    ]


@pytest.mark.parametrize("number", range(ROUNDS))
async def test_what_came_late_is_found_in_the_period_in_which_it_happened(
    clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    books = await random_books(clickhouse, number)
    rng = random.Random(SEED + number)
    monkeypatch.setattr(sql, "SPANS_AT_ONCE", 3)
    for _ in range(8):
        asks = []
        for customer in rng.sample([*CUSTOMERS, STRANGER], k=len(CUSTOMERS)):
            after, cut = sorted(random_place(rng, books.get(customer, ())) for _ in range(2))
            edges = tuple(sorted(rng.sample(EDGES, k=rng.randint(1, len(EDGES)))))
            asks.append(LateAsk(customer, after, cut, edges))
        late = [late_of(books.get(ask.customer_id, ()), ask) for ask in asks]
        assert late_periods(clickhouse, asks) == late


def late_of(entries: Sequence[Entry], ask: LateAsk) -> tuple[int, ...]:
    """The periods whose tallies differ between the two cuts, one entry at a time."""
    starts = [0, *ask.edges]
    found = []
    for period, (from_us, to_us) in enumerate(pairwise(starts)):
        late = [entry for entry in entries if ask.after < place_of(entry) <= ask.cut]
        if tally(late, [Span(from_us, to_us, END_OF_LEDGER)]) != [{}]:
            found.append(period)
    return tuple(found)


async def test_a_batch_is_cut_by_the_bytes_of_its_customers_ids(
    clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand ids of the longest kind are more than a server takes in one parameter."""
    books = await random_books(clickhouse, 0)
    ids = [f"{number:04d}" + "\\'\u00fc" * 31 for number in range(1000)]
    spans = [CustomerSpan(customer, 0, 2**52, END_OF_LEDGER) for customer in [*ids, CUSTOMERS[5]]]
    found = tallies(clickhouse, spans)
    assert found == expected(books, spans)
    assert found[-1]
    asks = [LateAsk(customer, (0, 0), END_OF_LEDGER, (2**52,)) for customer in ids]
    assert set(late_periods(clickhouse, asks)) == {()}


async def test_a_batch_is_cut_by_the_bytes_of_the_edges(clickhouse: ClickHouse) -> None:
    """A thousand customers with ten years of months are more than a server takes, too."""
    await random_books(clickhouse, 0)
    months = tuple(range(10**15, 10**15 + 120))
    asks = [LateAsk(f"{number}", (0, 0), END_OF_LEDGER, months) for number in range(1000)]
    asks.append(LateAsk(CUSTOMERS[0], (0, 0), END_OF_LEDGER, (*months, 2**52)))
    assert late_periods(clickhouse, asks) == [()] * 1000 + [(120,)]


async def test_a_sum_far_beyond_38_digits_is_exact(clickhouse: ClickHouse) -> None:
    costly = [
        replace(entry, generation=1, partition=0, customer_id="acme", cost=LARGEST, currency="USD")
        for entry in random_entries(SEED)
        if isinstance(entry, UsageEntry)
    ]
    entries = [replace(entry, sequence=number) for number, entry in enumerate(costly)]
    await insert_entries(clickhouse, entries)
    (found,) = tallies(clickhouse, [CustomerSpan("acme", 0, 2**52, END_OF_LEDGER)])
    assert sum(figures.cost_pico for figures in found.values()) == len(entries) * (10**38 - 1)
    assert len(entries) > 100


async def test_with_marks_a_tally_holds_what_was_there_when_they_were_read(
    clickhouse: ClickHouse,
) -> None:
    rows = ClickHouseRows(clickhouse)
    await rows.insert("ledger", 1, 0, -1, b"\n".join([row(0), row(1)]))
    as_of = read_cut(clickhouse)
    await rows.insert("ledger", 1, 0, 1, row(2))
    span = CustomerSpan("acme", 0, 2**52, END_OF_LEDGER)
    ask = LateAsk("acme", (1, 1), END_OF_LEDGER, (2**52,))
    calls = [
        sum(figures.calls for figures in tallies(clickhouse, [span], marks)[0].values())
        for marks in (as_of, None)
    ]
    assert calls == [2, 3]
    assert [late_periods(clickhouse, [ask], marks) for marks in (as_of, None)] == [[()], [(0,)]]


def test_nothing_asked_is_nothing_answered(clickhouse: ClickHouse) -> None:
    assert tallies(clickhouse, []) == []
    assert late_periods(clickhouse, []) == []
