"""What stops a worker and what never does: our own faults on many customers' records, and nothing
else that a record can hold."""

import logging
from dataclasses import replace

import pytest

from schemas import codec
from schemas.errors import RejectCode
from schemas.structs import CycleEntry
from schemas.topics import BUDGETS, DEAD_LETTERS, LEDGER, USAGE
from streams.adapters.memory import (
    MemoryBroker,
    MemoryCatalog,
    MemoryClock,
    MemoryCycleLog,
    MemoryStore,
)
from streams.agents.cycle import CycleOutcome, PartitionCycle, TopicSlice
from streams.agents.refusals import (
    INTERNAL_REFUSALS_MAX,
    LINES_MAX,
    STRICKEN_MAX,
    WINDOW_RECORDS,
    RefusalShare,
)
from streams.domain import pipeline
from streams.domain.facts import Fact, Rejected, SourceRecord, UsageFact
from streams.errors import FaultError
from tests.builders import NOON_US, context, fact, record, replay, usage


def stumbled(count: int, customers: int, first: int = 0) -> list[Rejected]:
    """Internal refusals of so many customers' records."""
    return [
        Rejected(
            SourceRecord(USAGE.name, first + n, NOON_US, f"c{n % customers}".encode(), b"{}"),
            RejectCode.INTERNAL,
            "our own fault: KeyError",
        )
        for n in range(count)
    ]


def fine(count: int, first: int = 0) -> list[Fact | Rejected]:
    return [fact(usage(event_id=f"e{n}"), first + n) for n in range(count)]


def check(share: RefusalShare, *cycles: list[Rejected]) -> None:
    for rejected in cycles:
        share.check(rejected, rejected)


def test_a_worker_stops_where_many_customers_records_are_hit_by_our_own_fault() -> None:
    share = RefusalShare(3)
    customers = STRICKEN_MAX + 1
    check(share, stumbled(INTERNAL_REFUSALS_MAX, customers))
    with pytest.raises(FaultError, match="stumbled over 21 of the last 21 records, of 5") as caught:
        check(share, stumbled(1, 1, first=100))
    assert "replay --code internal" in caught.value.action


def test_one_odd_producer_stops_nobody_however_much_it_sends() -> None:
    check(RefusalShare(0), *[stumbled(100, STRICKEN_MAX)] * 20)


def test_what_producers_get_wrong_never_stops_a_worker() -> None:
    codes = [code for code in RejectCode if code is not RejectCode.INTERNAL]
    share = RefusalShare(0)
    for n in range(50):
        wrong = [replace(one, code=codes[n % len(codes)]) for one in stumbled(100, 50)]
        share.check(wrong, wrong)


def test_internal_refusals_are_forgotten_after_a_window_of_records() -> None:
    def after(records: int) -> RefusalShare:
        share = RefusalShare(0)
        check(share, stumbled(INTERNAL_REFUSALS_MAX, 9))
        share.check(fine(records), [])
        return share

    check(after(WINDOW_RECORDS - 1), stumbled(1, 1))
    with pytest.raises(FaultError):
        check(after(WINDOW_RECORDS - 2), stumbled(1, 1))


def test_customers_are_told_apart_by_what_a_record_says_or_by_its_key() -> None:
    share = RefusalShare(0)
    facts = [fact(usage(f"c{n}", f"e{n}"), n) for n in range(INTERNAL_REFUSALS_MAX + 1)]
    same = [fact(usage("acme", f"e{n}"), n) for n in range(INTERNAL_REFUSALS_MAX + 1)]
    share.check(same, [Rejected(one.record, RejectCode.INTERNAL, "") for one in same])
    with pytest.raises(FaultError):
        share.check(facts, [Rejected(one.record, RejectCode.INTERNAL, "") for one in facts])


def test_an_internal_refusal_is_logged_without_what_the_record_holds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    one = stumbled(1, 1)[0]
    one.record.value = b"secret"
    RefusalShare(7).check([one], [one])
    assert "partition 7: the record at offset 0 of usage" in caplog.text
    assert "secret" not in caplog.text


def test_a_flood_of_internal_refusals_does_not_flood_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    many = stumbled(5_000, 1)
    RefusalShare(0).check(many, many)
    assert len(caplog.records) == LINES_MAX + 1
    assert "4,980 more" in caplog.text


# --- in a cycle ----------------------------------------------------------------------------------


class Partition:
    """A partition in memory, one cycle after the other."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self._log = MemoryCycleLog(self.broker)
        self._under = replace(context(), partitions=1)
        self._cycle: PartitionCycle | None = None
        self._next: dict[str, int] = {}

    async def run(self, *records: SourceRecord) -> CycleOutcome:
        """One cycle over these records, each topic from where it was."""
        if self._cycle is None:
            await self._log.fence([0])
            self._cycle = PartitionCycle(
                0, MemoryStore(), self._log, MemoryClock(NOON_US), MemoryCatalog(self._under)
            )
        slices = []
        for topic in (BUDGETS.name, USAGE.name):
            found = [one for one in records if one.topic == topic]
            start = self._next.get(topic, 0)
            self._next[topic] = found[-1].offset + 1 if found else start
            slices.append(TopicSlice(topic, start, self._next[topic], found))
        return await self._cycle.run(slices)

    def ledger(self) -> list[object]:
        """All entries but the cycles' own."""
        found = [codec.decode_entry(v) for _, v in self.broker.topics[LEDGER.name, 0]]
        return [entry for entry in found if not isinstance(entry, CycleEntry)]


async def test_nothing_of_the_cycle_that_stops_a_worker_is_committed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stumbles(found: UsageFact, *_rest: object) -> object:
        raise KeyError(found.body.customer_id)

    partition = Partition()
    monkeypatch.setattr(pipeline, "usage_entry", stumbles)
    await partition.run(*(record(usage(f"c{n}", "e"), n) for n in range(INTERNAL_REFUSALS_MAX)))
    committed = dict(partition.broker.offsets)
    assert committed[USAGE.name, 0] == INTERNAL_REFUSALS_MAX
    with pytest.raises(FaultError, match="KeyError in tests"):
        await partition.run(record(usage("one more", "e"), INTERNAL_REFUSALS_MAX))
    assert partition.broker.offsets == committed
    letters = partition.broker.topics[DEAD_LETTERS.name, 0]
    assert len(letters) == INTERNAL_REFUSALS_MAX
    assert codec.decode_dead_letter(letters[0][1]).code is RejectCode.INTERNAL


async def test_a_cycle_loads_the_claim_of_the_record_that_a_replay_carries() -> None:
    # The event was accepted in an earlier cycle: only the store knows of it.
    partition = Partition()
    await partition.run(record(usage(units=3), 0))
    letter = record(usage(units=3), 9)
    outcome = await partition.run(record(replay(letter, partition=5), 0))
    assert outcome.entry.accepted == 1
    kinds = [type(entry).__name__ for entry in partition.ledger()]
    assert kinds == ["UsageEntry", "ResolutionEntry"]
