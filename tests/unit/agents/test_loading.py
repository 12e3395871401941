"""Open holds are looked for while the owner answers and its cycles commit: whatever the order, what
is known of them in the end is what the tables say."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import Final

import pytest

from schemas.rpc import ErrorAnswer, ExtendAsk, ReleaseAsk
from schemas.structs import Expiry
from streams.agents import loading, rows
from streams.agents.expiries import Deadline, Expiries
from streams.agents.loading import load_expiries
from streams.agents.rows import rows_with_holds
from streams.domain.appends import encode_account
from streams.domain.budget import Account
from streams.domain.holds import Hold
from streams.errors import FaultError
from streams.ports import Changes, Table
from tests.builders import NOON_US, SECOND_US, usage
from tests.owned import (
    PARTITION,
    OwnedPartition,
    ScannedStore,
    Shared,
    bodies,
    other_customers,
    preflight,
    settled,
)

CUSTOMERS: Final = sorted(other_customers(250))
"""In the order of their rows: a scan of one row per turn has long to go from the first to the
last."""
FIRST, LAST = CUSTOMERS[0], CUSTOMERS[-1]

MINUTE_MS: Final = 60_000


class WatchedStore(ScannedStore):
    """Knows how far its scans are. `live` rows are read as they stand when the scan reaches them;
    otherwise all are those of its beginning."""

    live = False
    failing = False

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[bytes] = []
        self.open_scans: list[int] = []

    def scan(self, table: Table, partition: int) -> Generator[tuple[bytes, bytes], None, None]:
        """All rows."""
        self.open_scans.append(partition)
        try:
            for key, row in list(self._rows[table, partition].items()):
                if self.failing and self.seen:
                    raise FaultError("the table is damaged", action="Restore it.")
                self.seen.append(key)
                yield key, self._rows[table, partition][key] if self.live else row
        finally:
            self.open_scans.remove(partition)


@pytest.fixture(autouse=True)
def one_row_per_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "SCANNED_AT_ONCE", 1)
    monkeypatch.setattr(loading, "SLICE_SECONDS", -1.0)
    monkeypatch.setattr(loading, "REST_SECONDS", 0.0)


@pytest.fixture
async def former() -> AsyncIterator[OwnedPartition]:
    """An owner that leaves an open hold of each customer."""
    async with OwnedPartition(shared=Shared(store=WatchedStore())) as made:
        await made.take()
        for customer in CUSTOMERS:
            await made.decide("k", customer, ttl_ms=MINUTE_MS)
        await made.cycle()
        seen(made).clear()
        yield made


@pytest.fixture
async def heir(former: OwnedPartition) -> AsyncIterator[OwnedPartition]:
    async with OwnedPartition(shared=former.shared, nonces=["f" * 16]) as made:
        yield made


def store_of(owned: OwnedPartition) -> WatchedStore:
    store = owned.shared.store
    assert isinstance(store, WatchedStore)
    return store


def seen(owned: OwnedPartition) -> list[bytes]:
    return store_of(owned).seen


def expiries_of(owned: OwnedPartition) -> Expiries:
    seat = owned.desk._owners[PARTITION]._seat
    assert seat is not None
    return seat.expiries


def known(expiries: Expiries) -> list[Deadline]:
    """What would expire, and when."""
    return sorted(one for one in expiries._queue if expiries._is_current(one))


def as_tables_say(owned: OwnedPartition) -> list[Deadline]:
    fresh = Expiries()
    for account in rows_with_holds(owned.shared.store, PARTITION):
        if account is not None:
            fresh.load(account)
    return known(fresh)


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not reached():
            await settled(1)


async def begin_scan(heir: OwnedPartition) -> None:
    """Takes the partition; the scan has looked at the first row when this returns."""
    await heir.take()
    await until(lambda: FIRST.encode() in seen(heir))


async def end_scan(heir: OwnedPartition) -> None:
    assert not expiries_of(heir).is_loaded, "whatever was done was done while rows were loaded"
    await until(lambda: expiries_of(heir).is_loaded)


# --- what happens to holds meanwhile -----------------------------------------------------------


async def hold_of(owned: OwnedPartition, customer: str) -> str:
    answer = await owned.decide("k", customer, ttl_ms=MINUTE_MS)
    assert answer.replayed
    return answer.reservation_id


async def place(owned: OwnedPartition, customer: str) -> None:
    assert (await owned.decide("another", customer, ttl_ms=2 * MINUTE_MS)).approved
    await owned.cycle()


async def settle(owned: OwnedPartition, customer: str) -> None:
    name = await hold_of(owned, customer)
    await owned.cycle(usage(customer_id=customer, units=1, reservation_id=name))


async def release(owned: OwnedPartition, customer: str) -> None:
    name = await hold_of(owned, customer)
    asked = asyncio.ensure_future(owned.ask(ReleaseAsk("customer", customer, name)))
    await until(lambda: bool(owned.inbox))
    await owned.cycle()
    await asked


async def extend(owned: OwnedPartition, customer: str) -> None:
    name = await hold_of(owned, customer)
    asked = asyncio.ensure_future(owned.ask(ExtendAsk("customer", customer, name, 5 * MINUTE_MS)))
    await until(lambda: bool(owned.inbox))
    await owned.cycle()
    await asked


async def place_and_release(owned: OwnedPartition, customer: str) -> None:
    placed = await owned.decide("another", customer)
    await owned.cycle()
    ask = ReleaseAsk("customer", customer, placed.reservation_id)
    asked = asyncio.ensure_future(owned.ask(ask))
    await until(lambda: bool(owned.inbox))
    await owned.cycle()
    await asked


Change = Callable[[OwnedPartition, str], Awaitable[None]]
CHANGES: Final[tuple[Change, ...]] = (place, settle, release, extend, place_and_release)


@pytest.mark.parametrize("live", [False, True], ids=["rows as at first", "rows as they become"])
@pytest.mark.parametrize("change", CHANGES)
async def test_a_cycle_in_the_middle_of_the_scan_counts_on_either_side_of_it(
    heir: OwnedPartition, change: Change, live: bool
) -> None:
    store_of(heir).live = live
    await begin_scan(heir)
    await change(heir, FIRST)
    await change(heir, LAST)
    assert LAST.encode() not in seen(heir)
    await end_scan(heir)
    assert known(expiries_of(heir)) == as_tables_say(heir)


@pytest.mark.parametrize("change", CHANGES)
async def test_a_cycle_before_the_scan_begins_counts(heir: OwnedPartition, change: Change) -> None:
    async with heir.desk._loading:
        await heir.take()
        await change(heir, FIRST)
        assert seen(heir) == []
    await end_scan(heir)
    assert known(expiries_of(heir)) == as_tables_say(heir)


async def test_what_the_former_owner_appended_and_did_not_fold_counts(
    former: OwnedPartition, heir: OwnedPartition
) -> None:
    former.clock.time_us += 61 * SECOND_US
    heir.clock.time_us = former.clock.time_us
    await until(lambda: expiries_of(former).is_loaded)
    await former.desk.sweep()
    await until(lambda: bool(former.inbox))
    seen(former).clear()
    await begin_scan(heir)
    await end_scan(heir)
    assert known(expiries_of(heir)) == as_tables_say(heir) == []


async def test_nothing_is_looked_for_before_the_lease_is_folded(heir: OwnedPartition) -> None:
    await heir.lease()
    await settled()
    assert seen(heir) == [], "the take would wait for it, and the first cycles"
    await heir.cycle()
    await until(lambda: bool(seen(heir)))


# --- what does not wait for it, and what does --------------------------------------------------


async def test_an_owner_answers_while_it_looks_for_open_holds_and_lets_none_expire(
    heir: OwnedPartition,
) -> None:
    await begin_scan(heir)
    heir.clock.time_us += 61 * SECOND_US
    assert (await heir.decide("k2", FIRST)).approved
    await heir.cycle()
    await heir.desk.sweep()
    await settled()
    assert heir.inbox == []
    await end_scan(heir)
    await heir.desk.sweep()
    await until(lambda: bool(heir.inbox))
    assert {type(body) for body in bodies(heir)[-len(CUSTOMERS) :]} == {Expiry}


async def test_a_hold_that_was_extended_meanwhile_expires_at_its_later_end(
    heir: OwnedPartition,
) -> None:
    await begin_scan(heir)
    await extend(heir, LAST)
    await end_scan(heir)
    expired: list[list[str]] = []
    for seconds in (61, 300):
        heir.clock.time_us = NOON_US + seconds * SECOND_US
        await heir.desk.sweep()
        await until(lambda: bool(heir.inbox))
        appended = bodies(heir)[-len(heir.inbox) :]
        expired.append([body.account_id for body in appended if isinstance(body, Expiry)])
        await heir.cycle()
    assert [sorted(names) for names in expired] == [CUSTOMERS[:-1], [LAST]]


async def test_others_have_their_turns_while_rows_are_looked_at(heir: OwnedPartition) -> None:
    await heir.take()
    turns = 0
    while not expiries_of(heir).is_loaded:
        await asyncio.sleep(0)
        turns += 1
    assert turns > len(CUSTOMERS) // 2


async def test_one_partition_is_looked_at_after_the_other() -> None:
    store, lock = WatchedStore(), asyncio.Lock()
    for partition in range(3):
        hold = Hold(f"1-{partition}-1", "unit", 1, 1, NOON_US, NOON_US)
        account = Account("acme", holds={hold.reservation_id: hold})
        changes = [(b"%d" % number, encode_account(account)) for number in range(20)]
        store.write(Table.ACCOUNTS, partition, Changes(changes, 1))
    made = [Expiries() for _ in range(3)]
    loads = [load_expiries(one, store, at, lock) for at, one in enumerate(made)]
    under_way = asyncio.gather(*loads)
    most = 0
    while not under_way.done():
        most = max(most, len(store.open_scans))
        await asyncio.sleep(0)
    assert (most, [len(one) for one in made]) == (1, [1, 1, 1])


# --- how it ends otherwise ---------------------------------------------------------------------


async def test_a_partition_that_is_given_up_is_read_no_further(heir: OwnedPartition) -> None:
    await begin_scan(heir)
    assert store_of(heir).open_scans == [PARTITION]
    expiries = expiries_of(heir)
    await heir.desk.release()
    assert store_of(heir).open_scans == [], "its next owner must be able to open the table"
    read = len(seen(heir))
    await settled()
    assert (len(seen(heir)), expiries.is_loaded) == (read, False)


async def test_a_partition_that_is_given_up_before_its_scan_is_not_read_at_all(
    heir: OwnedPartition,
) -> None:
    async with heir.desk._loading:
        await heir.take()
        await heir.desk.release()
    await settled()
    assert seen(heir) == []


async def test_a_fault_of_the_scan_loses_the_partition(heir: OwnedPartition) -> None:
    store_of(heir).failing = True
    await heir.take()
    await until(lambda: bool(heir.halted))
    (fault,) = heir.halted
    assert isinstance(fault, FaultError)
    answer = await heir.ask(preflight("k2", FIRST))
    assert isinstance(answer, ErrorAnswer)
    assert answer.code == "unknown_outcome"
    assert store_of(heir).open_scans == []


async def test_an_owner_that_is_replaced_while_it_loads_lets_nothing_expire(
    former: OwnedPartition, heir: OwnedPartition
) -> None:
    await begin_scan(heir)
    async with OwnedPartition(shared=former.shared, nonces=["e" * 16]) as next_heir:
        await next_heir.take()
        await end_scan(heir)
        heir.clock.time_us += 61 * SECOND_US
        await heir.desk.sweep()
        await until(lambda: bool(heir.halted))
        assert not any(isinstance(body, Expiry) for body in bodies(heir))
        await until(lambda: expiries_of(next_heir).is_loaded)
        assert known(expiries_of(next_heir)) == as_tables_say(next_heir)
