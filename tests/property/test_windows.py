"""Whatever comes in whatever order: shares sum to the cost, order does not matter, time only moves
rows about, and the worker's way of loading windows changes nothing."""

import random
from dataclasses import replace as changed

import pytest

from schemas.structs import (
    InboundFact,
    Signal,
    SignalEntry,
    Usage,
    UsageEntry,
    Void,
    VoidEntry,
)
from streams.domain.folding import fold_recorded
from streams.domain.state import PartitionState, Progress
from streams.domain.windows import split
from tests.builders import DAY_US, SECOND_US, context, signal, usage
from tests.property.seed import SEED
from tests.windowed import MINUTE_US, QUIET_US, Windowed

CUSTOMERS = ("ann", "bob")
RULES = context(window_costs_max=6, window_signals_max=3, windows_open_max=4, window_days=1)
"""Limits small enough to be met."""
WIDE = context()


def events(chance: random.Random, count: int) -> list[Usage | Signal]:
    """Costs and signals of a few traces and scopes, each with an id of its own."""
    found: list[Usage | Signal] = []
    for number in range(count):
        customer = chance.choice(CUSTOMERS)
        named = {
            "trace_id": chance.choice((None, "t1", "t1", "t2", "t3")),
            "scope_id": chance.choice((None, None, "1", "2")),
        }
        if chance.random() < 0.6:
            amount = f"0.{chance.randrange(10**12):012d}"
            found.append(usage(customer, f"e{number}", cost=amount, **named))
        else:
            more = {"cost_tracing": chance.random() < 0.7, "weight": chance.randrange(1, 9)}
            found.append(signal(customer, f"s{number}", **named, **more))
    return found


def void_of(entry: SignalEntry, chance: random.Random) -> Void:
    return Void(
        schema_version=1,
        event_id=f"void {entry.event_id}",
        source="admin",
        customer_id=entry.customer_id,
        signal_source=entry.source,
        signal_event_id=entry.event_id,
        signal_entry=entry.entry_id,
        signal_decided_at=entry.decided_at,
        signal_name=entry.signal_name,
        trace_id=entry.trace_id or None,
        scope_id=entry.scope_id or None,
        cost=chance.choice(("unattributed", "move")),
    )


def run(
    books: Windowed, chance: random.Random, arriving: list[Usage | Signal], *, voids: bool
) -> None:
    """These events in cycles of some, with time passing in between."""
    arriving = list(arriving)
    while arriving:
        size = chance.randrange(1, 6)
        batch: list[InboundFact] = [*arriving[:size]]
        del arriving[:size]
        known = [e for e in books.entries if isinstance(e, SignalEntry)]
        if voids and known and chance.random() < 0.3:
            batch.append(void_of(chance.choice(known), chance))
        pauses = (SECOND_US, SECOND_US, MINUTE_US, 2 * QUIET_US, DAY_US // 2)
        books.cycle(*batch, after_us=chance.choice(pauses))
        check_sums(books)


def check_sums(books: Windowed) -> None:
    """The rows of a cost sum to it from the first one on."""
    costs = books.costs()
    sums: dict[str, int] = {}
    for (cost, _), amount in books.carried().items():
        assert 0 <= amount <= costs[cost], "nobody carries less than nothing, or more than all"
        sums[cost] = sums.get(cost, 0) + amount
    for row in books.rows:
        if row.role != "signal":
            assert row.amount != "0", "a row that says nothing"
            assert sums.get(row.cost_entry, 0) == costs[row.cost_entry]


def settled(books: Windowed) -> None:
    for _ in range(3):
        books.quiet()


def by_event(books: Windowed) -> dict[tuple[str, str], int]:
    """What is carried, by the ids of the events."""
    names = {
        e.entry_id: f"{e.customer_id} {e.event_id}"
        for e in books.entries
        if isinstance(e, UsageEntry | SignalEntry)
    }
    return {
        (names[cost], names.get(who, "")): pico for (cost, who), pico in books.carried().items()
    }


@pytest.mark.parametrize("number", range(60))
def test_every_cost_is_shared_out_whole_at_every_moment(number: int) -> None:
    chance = random.Random(f"{SEED} sums {number}")
    books = Windowed(chance.choice((RULES, WIDE)))
    run(books, chance, events(chance, 60), voids=True)
    settled(books)
    assert {row.cost_entry for row in books.rows if row.role != "signal"} == set(books.costs())
    voided = {e.signal_entry for e in books.entries if isinstance(e, VoidEntry)}
    gone = {row.signal_entry for row in books.rows if "window_gone" in row.flags}
    carriers = {who for _, who in books.carried()}
    assert not carriers & (voided - gone)
    assert all(account.windows == 0 for account in books.state.accounts.values())


@pytest.mark.parametrize("number", range(40))
def test_any_order_of_arrival_comes_to_the_same_shares(number: int) -> None:
    chance = random.Random(f"{SEED} orders {number}")
    arriving = events(chance, 40)
    found = []
    for _ in range(3):
        books = Windowed(WIDE)
        run(books, chance, in_another_order(arriving, chance), voids=False)
        settled(books)
        found.append(by_event(books))
    assert found[0] == found[1] == found[2]


def in_another_order(arriving: list[Usage | Signal], chance: random.Random) -> list[Usage | Signal]:
    """Shuffled, but signals among themselves: a last pico-dollar goes by their order."""
    shuffled = list(arriving)
    chance.shuffle(shuffled)
    signals = iter([e for e in arriving if isinstance(e, Signal)])
    return [next(signals) if isinstance(e, Signal) else e for e in shuffled]


@pytest.mark.parametrize("number", range(40))
def test_loading_what_a_cycle_can_look_at_makes_no_difference(number: int) -> None:
    for rules in (RULES, WIDE):
        rows = []
        for loaded in (True, False):
            chance = random.Random(f"{SEED} loading {number}")
            books = Windowed(rules, loaded=loaded)
            run(books, chance, events(chance, 60), voids=True)
            settled(books)
            rows.append((books.rows, books.table))
        assert rows[0] == rows[1]


@pytest.mark.parametrize("number", range(20))
def test_folding_what_is_recorded_attributes_the_same(number: int) -> None:
    chance = random.Random(f"{SEED} recorded {number}")
    books = Windowed(RULES, loaded=False)
    run(books, chance, events(chance, 50), voids=True)
    settled(books)
    state, rows, cycle = PartitionState(Progress()), [], list(books.entries[:1])
    for entry in [*books.entries[1:], None]:
        if entry is None or type(entry).__name__ == "CycleEntry":
            rows += fold_recorded(state, cycle, RULES)
            state.windows.touched.clear()
            cycle = []
        if entry is not None:
            cycle.append(entry)
    assert rows == books.rows
    assert state.windows == changed(books.state.windows, touched=set())


@pytest.mark.parametrize("number", range(20))
def test_letting_time_pass_again_changes_nothing(number: int) -> None:
    chance = random.Random(f"{SEED} again {number}")
    books = Windowed(WIDE)
    run(books, chance, events(chance, 40), voids=True)
    settled(books)
    count = len(books.rows)
    books.quiet()
    assert len(books.rows) == count


def test_parts_sum_to_the_amount_and_follow_their_weights() -> None:
    chance = random.Random(f"{SEED} split")
    for _ in range(2_000):
        pico = chance.randrange(-(10 ** chance.randrange(1, 20)), 10 ** chance.randrange(1, 20))
        weights = [chance.randrange(1, 1_000_000) for _ in range(chance.randrange(1, 20))]
        parts = split(pico, weights)
        assert sum(parts) == pico
        total = sum(weights)
        assert all(
            abs(part * total - pico * w) <= total for part, w in zip(parts, weights, strict=True)
        )
