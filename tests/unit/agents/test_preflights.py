"""What the owner of a partition decides: its lease, the overlay, groups, keys."""

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from schemas import codec
from schemas.partitioner import partition_of
from schemas.rpc import (
    AwaitAsk,
    ErrorAnswer,
    ReleaseAsk,
)
from schemas.structs import Lease, Preflight
from streams.adapters.memory_lease import MemoryLeaseLog
from streams.agents import groups, owner, rows
from streams.agents.rows import Rows
from streams.errors import FaultError
from streams.ports import Appended
from tests.builders import NOON_US, SECOND_US, usage
from tests.owned import (
    CUSTOMER,
    PARTITION,
    OwnedPartition,
    Shared,
    available,
    bodies,
    look,
    other_customers,
    preflight,
    settled,
)

# --- the lease ---------------------------------------------------------------------------------


async def test_nothing_is_answered_before_the_lease_is_folded() -> None:
    async with OwnedPartition() as owned:
        await owned.lease()
        for ask in (preflight("k"), look(), ReleaseAsk("customer", CUSTOMER, "1-0-0")):
            answer = await owned.ask(ask)
            assert isinstance(answer, ErrorAnswer)
            assert (answer.code, answer.retry_after_ms > 0) == ("not_ready", True)
        assert owned.desk.leases == {}
        await owned.cycle()
        assert (await owned.decide("k")).approved
        assert list(owned.desk.leases) == [PARTITION]


async def test_a_partition_of_somebody_else_is_not_answered(owned: OwnedPartition) -> None:
    answer = await owned.desk.ask((PARTITION + 1) % 8, preflight("k"), 1.0)
    assert isinstance(answer, ErrorAnswer)
    assert answer.code == "not_mine"


async def test_whoever_waits_when_the_partition_is_given_up_is_told_so(
    owned: OwnedPartition,
) -> None:
    waiting = asyncio.ensure_future(owned.ask(AwaitAsk("customer", CUSTOMER, "usage", 7, 60_000)))
    await settled()
    await owned.desk.release()
    answer = await waiting
    assert isinstance(answer, ErrorAnswer)
    assert answer.code == "not_mine"
    assert isinstance(await owned.ask(preflight("k")), ErrorAnswer)


async def test_an_owner_folds_what_the_former_one_decided_last() -> None:
    shared = Shared()
    former = await OwnedPartition(shared=shared).take()
    first = await former.decide("k1", estimate="7")
    # Not folded by its owner: no cycle follows. The heir's first one folds it.
    heir = await OwnedPartition(shared=shared, nonces=["f" * 16]).take()
    try:
        assert (await heir.decide("k1", estimate="7")).reservation_id == first.reservation_id
        assert not (await heir.decide("k2", estimate="4")).approved
        assert (await heir.decide("k3", estimate="3")).approved
    finally:
        await former.desk.release()
        await heir.desk.release()


async def test_a_log_that_does_not_end_with_the_own_lease_stops_the_take() -> None:
    class Overtaken(MemoryLeaseLog):
        async def append(self, partition: int, records: Sequence[Any]) -> Appended:
            appended = await super().append(partition, records)
            self._topic.records[partition][-1].value = codec.encode(
                Lease(
                    schema_version=1, nonce="e" * 16, owner="other:1", cycle=0, decided_at=NOON_US
                )
            )
            return appended

    shared = Shared()
    async with OwnedPartition(shared=shared, log=Overtaken(shared.topic)) as owned:
        with pytest.raises(FaultError, match="is not ours"):
            await owned.lease()


async def test_a_log_that_lost_decided_records_stops_the_take(owned: OwnedPartition) -> None:
    await owned.decide("k1")
    await owned.cycle()
    owned.shared.topic.records[PARTITION].clear()
    with pytest.raises(FaultError, match="lost records"):
        await OwnedPartition(shared=owned.shared).lease()


# --- decisions ---------------------------------------------------------------------------------


async def test_a_hold_counts_before_its_cycle_and_once_after_it(owned: OwnedPartition) -> None:
    first = await owned.decide("k1", estimate="6")
    assert (first.approved, first.remaining) == (True, "4")
    assert not (await owned.decide("k2", estimate="5")).approved
    assert available(await owned.ask(look())) == "4"
    await owned.cycle()
    assert available(await owned.ask(look())) == "4", "base and overlay count it once"
    second = await owned.decide("k3", estimate="4")
    assert (second.approved, second.remaining) == (True, "0")


async def test_a_group_is_decided_in_order_each_seeing_those_before_it(
    owned: OwnedPartition,
) -> None:
    answers = await asyncio.gather(*(owned.decide(f"k{n}", estimate="4") for n in range(4)))
    assert [answer.approved for answer in answers] == [True, True, False, False]
    assert [answer.remaining for answer in answers][:2] == ["6", "2"]
    assert {a.reason for a in answers[2:]} == {"budget_exhausted"}
    offsets = {r.appended_at_us for r in owned.inbox}
    assert len(offsets) == 1, "one batch"


async def test_a_refusal_has_no_reservation_and_is_a_record_all_the_same(
    owned: OwnedPartition,
) -> None:
    answer = await owned.decide("k1", estimate="11")
    assert (answer.approved, answer.reservation_id, answer.hold_state) == (False, "", "")
    assert isinstance(bodies(owned)[-1], Preflight)


async def test_a_reservation_is_called_by_its_position(owned: OwnedPartition) -> None:
    await owned.decide("k0")
    answer = await owned.decide("k1")
    assert answer.reservation_id == f"1-{PARTITION}-2"
    assert answer.fresh.lease == 0
    assert answer.fresh.preflights_offset == 3, "it has seen its own record"


async def test_settled_money_is_free_when_its_cycle_has_committed(owned: OwnedPartition) -> None:
    hold = await owned.decide("k1", estimate="10")
    used = usage(units=3, reservation_id=hold.reservation_id)
    owned.append(used)
    assert not (await owned.decide("k2", estimate="1")).approved
    await owned.cycle()
    assert (await owned.decide("k3", estimate="7")).approved
    assert not (await owned.decide("k4", estimate="1")).approved


async def test_a_customer_that_nobody_knows_gets_the_plan_once(owned: OwnedPartition) -> None:
    (newcomer,) = other_customers(1)
    first = await owned.decide("k1", newcomer, estimate="6")
    assert (first.approved, first.remaining) == (True, "4")
    await owned.cycle()
    assert not (await owned.decide("k2", newcomer, estimate="5")).approved


async def test_decisions_never_go_back_in_time(owned: OwnedPartition) -> None:
    owned.clock.time_us += 60 * SECOND_US
    await owned.decide("k1")
    owned.clock.time_us -= 120 * SECOND_US
    answer = await owned.decide("k2")
    assert answer.decided_at == NOON_US + 60 * SECOND_US


async def test_an_account_of_another_partition_is_refused(owned: OwnedPartition) -> None:
    reserved = (f"\0task\0{number}" for number in itertools.count())
    inside = next(name for name in reserved if partition_of(name.encode(), 8) == PARTITION)
    for customer in ("elsewhere", inside):
        answer = await owned.ask(preflight("k", customer))
        assert isinstance(answer, ErrorAnswer)
        assert answer.code == "invalid"
    assert len(bodies(owned)) == 1


async def test_what_the_fold_could_not_read_is_not_appended(owned: OwnedPartition) -> None:
    answer = await owned.ask(preflight("", estimate="1"))
    assert isinstance(answer, ErrorAnswer)
    assert answer.code == "invalid"
    assert len(bodies(owned)) == 1
    assert (await owned.decide("k1")).approved


async def test_a_full_partition_of_waiters_refuses_at_once(
    owned: OwnedPartition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, "WAITING_MAX", 2)
    asks = [asyncio.ensure_future(owned.ask(preflight(f"k{n}"))) for n in range(3)]
    codes = [getattr(await ask, "code", "decided") for ask in asks]
    assert codes == ["decided", "decided", "overloaded"]


async def test_many_asks_are_decided_in_bounded_groups(
    owned: OwnedPartition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "GROUP_ASKS_MAX", 3)
    monkeypatch.setattr(owner, "GROUP_ASKS_MAX", 3)
    answers = await asyncio.gather(*(owned.decide(f"k{n}") for n in range(10)))
    assert all(answer.approved for answer in answers)
    assert [a.reservation_id for a in answers] == [f"1-{PARTITION}-{n}" for n in range(1, 11)]


async def test_a_group_is_no_larger_than_a_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes: list[int] = []

    class Counting(MemoryLeaseLog):
        async def append(self, partition: int, records: Sequence[Any]) -> Appended:
            sizes.append(len(records))
            return await super().append(partition, records)

    monkeypatch.setattr(groups, "GROUP_BYTES_MAX", 1_000)
    shared = Shared()
    async with OwnedPartition(shared=shared, log=Counting(shared.topic)) as owned:
        await owned.take()
        answers = await asyncio.gather(*(owned.decide(f"k{n}") for n in range(10)))
    assert all(answer.approved for answer in answers)
    assert sum(sizes) == 11
    assert max(sizes) <= 4


async def test_the_rows_that_are_kept_decoded_are_bounded(
    owned: OwnedPartition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "ROWS_KEPT_MAX", 2)
    read = Rows(owned.shared.store, PARTITION)
    for key in (b"a", b"b", b"a", b"c"):
        assert read.read(key) is None
    assert list(read._kept) == [b"a", b"c"], "the one that was not asked for the longest is gone"


async def test_an_owner_that_lags_decides_nothing_and_still_repeats_decisions(
    owned: OwnedPartition,
) -> None:
    first = await owned.decide("k1")
    owned.waiting_since_us = NOON_US - 6 * SECOND_US
    answer = await owned.ask(preflight("k2"))
    assert isinstance(answer, ErrorAnswer)
    assert answer.code == "lagging"
    again = await owned.decide("k1")
    assert (again.reservation_id, again.fresh.lag_ms) == (first.reservation_id, 6_000)
    owned.waiting_since_us = NOON_US - 4 * SECOND_US
    assert (await owned.decide("k2")).approved


# --- losing the lease --------------------------------------------------------------------------


class Gapped(MemoryLeaseLog):
    """Somebody else's record gets in between, and nothing fences."""

    gap = 0

    async def append(self, partition: int, records: Sequence[Any]) -> Appended:
        for _ in range(self.gap):
            await super().append(partition, [(None, b"{}")])
        return await super().append(partition, records)


@pytest.mark.parametrize("fault", ["gap", "refused"])
async def test_nobody_is_answered_when_the_offset_is_not_the_next_one(fault: str) -> None:
    shared = Shared()
    log = Gapped(shared.topic)
    async with OwnedPartition(shared=shared, log=log) as owned:
        await owned.take()
        if fault == "gap":
            log.gap = 1
        else:
            shared.topic.written[PARTITION] = 99
        answers = await asyncio.gather(*(owned.ask(preflight(f"k{n}")) for n in range(3)))
        assert [getattr(answer, "code", "") for answer in answers] == 3 * ["unknown_outcome"]
        assert len(owned.halted) == 1
        assert owned.inbox == [], "nothing of it is handed to the cycle"
        assert isinstance(await owned.ask(look()), ErrorAnswer)
        appended = len(shared.topic.records[PARTITION])
        await owned.ask(preflight("k0"))
        assert len(shared.topic.records[PARTITION]) == appended, "nothing is appended again"


async def test_a_first_cycle_that_folds_another_lease_ends_the_owner() -> None:
    async with OwnedPartition() as owned:
        await owned.lease()
        record = owned.inbox[0]
        record.value = codec.encode(
            Lease(schema_version=1, nonce="e" * 16, owner="x:1", cycle=0, decided_at=NOON_US)
        )
        await owned.cycle()
        assert len(owned.halted) == 1
        assert isinstance(await owned.ask(preflight("k")), ErrorAnswer)


# --- keys --------------------------------------------------------------------------------------


async def test_a_key_has_one_decision_before_and_after_its_cycle(owned: OwnedPartition) -> None:
    first = await owned.decide("k1", estimate="3")
    before = await owned.decide("k1", estimate="3")
    await owned.cycle()
    after = await owned.decide("k1", estimate="3")
    assert len(bodies(owned)) == 2
    assert {a.reservation_id for a in (first, before, after)} == {first.reservation_id}
    assert [a.replayed for a in (first, before, after)] == [False, True, True]
    assert {(a.remaining, a.decided_at) for a in (first, before, after)} == {("7", NOON_US)}


async def test_the_same_key_twice_in_a_group_is_one_decision(owned: OwnedPartition) -> None:
    first, second = await asyncio.gather(owned.decide("k1"), owned.decide("k1"))
    assert first.reservation_id == second.reservation_id
    assert (first.replayed, second.replayed) == (False, True)
    assert len(bodies(owned)) == 2


async def test_a_key_with_other_content_is_a_conflict_before_and_after_its_cycle(
    owned: OwnedPartition,
) -> None:
    await owned.decide("k1", estimate="3")
    for _ in range(2):
        answer = await owned.ask(preflight("k1", estimate="4"))
        assert isinstance(answer, ErrorAnswer)
        assert answer.code == "conflict"
        await owned.cycle()


async def test_a_key_is_another_one_for_another_customer_or_source(owned: OwnedPartition) -> None:
    (other,) = other_customers(1)
    answers = [
        await owned.decide("k1"),
        await owned.decide("k1", other),
        await owned.decide("k1", source="elsewhere"),
    ]
    assert len({answer.reservation_id for answer in answers}) == 3


async def test_a_replayed_key_tells_what_became_of_its_hold(owned: OwnedPartition) -> None:
    hold = await owned.decide("k1", estimate="3")
    await owned.cycle(usage(units=1, reservation_id=hold.reservation_id))
    again = await owned.decide("k1", estimate="3")
    assert (again.approved, again.hold_state) == (True, "settled")


async def test_a_key_is_used_up_for_the_horizon_and_a_margin_for_clocks(
    owned: OwnedPartition,
) -> None:
    first = await owned.decide("k1")
    await owned.cycle()
    later = []
    for seconds in (0, 599, 601):
        now_us = NOON_US + owned.context.horizon_us + seconds * SECOND_US
        owned.clock.time_us = owned.shared.topic.now_us = now_us
        later.append(await owned.decide("k1"))
    assert [answer.replayed for answer in later] == [True, True, False]
    assert later[1].reservation_id == first.reservation_id != later[2].reservation_id
    outcome = await owned.cycle()
    assert outcome.entry.accepted == 1, "the fold takes it for new as well"
