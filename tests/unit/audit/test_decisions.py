"""Decisions made again at the point that they saw: those of a real owner are right, and each that
was altered, forged or removed is named."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest

from schemas import codec
from schemas.rpc import ExtendAsk, PreflightAsk, ReleaseAsk
from schemas.topics import PREFLIGHTS
from streams.agents.cycle import FOLD_ORDER, TopicSlice
from streams.audit.replay import Scope
from streams.audit.report import DIFFERENT, EQUAL, PartitionReport, exit_code
from streams.domain.decisions import body_hash
from streams.domain.facts import SourceRecord
from tests.builders import HOUR_US, SECOND_US, grant, usage
from tests.owned import CUSTOMER, PARTITION, OwnedPartition, Shared, other_customers, settled
from tests.simulation.handovers import SimulatedOwner, World
from tests.simulation.test_handovers import ForgetfulOwner, UnfencedOwner
from tests.unit.audit.owned_books import OwnedBooks
from tests.unit.audit.written_books import texts

SEEDS: Final = 12
DECISIONS: Final = 13
"""Of the two owners."""
TASK: Final = other_customers(1)[0]
"""A task whose account lies in the same partition."""

Change = Callable[[dict[str, Any]], Any]


async def _lived() -> OwnedBooks:
    """Two owners, one after the other: approvals, refusals of every kind, usage between decision
    and fold, a task, a release, an extension, an expiry, an answer given twice."""
    shared = Shared()
    async with await OwnedPartition(shared=shared).take() as first:
        await _first_life(first)
    async with await OwnedPartition(shared=shared, nonces=["a" * 16]).take() as second:
        second.clock.time_us = shared.topic.now_us
        replayed = await second.decide("k1", estimate="3")
        assert replayed.replayed
        await second.decide("k9", estimate="1.0", ttl_ms=60_000)
        second.clock.time_us += 2 * HOUR_US
        shared.topic.now_us = second.clock.time_us
        await second.desk.sweep()
        await settled()
        await second.cycle()
        await second.decide("k10", estimate="2")
        return OwnedBooks.of(shared, second.context)


async def _first_life(owner: OwnedPartition) -> None:
    def passes(seconds: int = 1) -> None:
        # The log tells its time in milliseconds, so that what was decided lies behind its append.
        owner.clock.time_us += seconds * SECOND_US + 7
        owner.shared.topic.now_us = owner.clock.time_us // 1_000 * 1_000

    await owner.decide("k1", estimate="3")
    passes()
    await owner.decide("k2", estimate="4")
    refused = await owner.decide("k3", estimate="4")
    assert refused.reason == "budget_exhausted"
    passes()
    await owner.cycle(usage(event_id="e1", units=2, reservation_id=f"1-{PARTITION}-1"))
    await owner.decide("k4", estimate="4")
    over = await owner.decide("k5", estimate="2", ceiling="1.0")
    assert over.reason == "ceiling_exceeded"
    await owner.decide("k6")
    passes()
    await owner.cycle(grant(amount="5", denomination="usd", priority=1))
    await owner.decide("k7", denomination="usd", estimate="4.50", agent_id="writer")
    task: Any = {"account_kind": "task", "account_id": TASK, "task_ref": TASK}
    await owner.ask(PreflightAsk(source="t", idempotency_key="t1", task_ceiling="9", **task))
    more = PreflightAsk(source="t", idempotency_key="t2", estimate="9", task_ceiling="9", **task)
    await owner.ask(more)
    name = f"1-{PARTITION}-2"
    for ask in (ExtendAsk("customer", CUSTOMER, name, 7_000_000), more):
        asyncio.get_running_loop().create_task(owner.ask(ask))
    await settled()
    await owner.cycle()
    release = ReleaseAsk("customer", CUSTOMER, name)
    released = asyncio.get_running_loop().create_task(owner.ask(release))
    await settled()
    await owner.cycle()
    await released
    await owner.decide("k8", customer=TASK)
    passes()
    await owner.decide("k0")


@pytest.fixture(scope="module")
def lived() -> OwnedBooks:
    return asyncio.run(_lived())


@pytest.fixture
def books(lived: OwnedBooks) -> OwnedBooks:
    return OwnedBooks(lived.contexts, {topic: list(kept) for topic, kept in lived.records.items()})


def decisions(report: PartitionReport) -> list[str]:
    """The differences that are about decisions, without what all of them begin with."""
    start = f"partition {PARTITION}, decisions, "
    return [line.removeprefix(start) for line in texts(report) if line.startswith(start)]


def test_what_an_owner_decided_is_decided_again_alike(books: OwnedBooks) -> None:
    report = books.audit()
    assert texts(report) == []
    assert report.decisions == len(books.decisions()) == DECISIONS
    assert (report.decisions_given, report.waiting) == (0, 1)
    assert exit_code([report]) == EQUAL


@pytest.mark.parametrize("make", [SimulatedOwner, UnfencedOwner])
def test_owners_that_are_paused_and_killed_between_two_steps_decide_alike(
    make: type[SimulatedOwner],
) -> None:
    seen = 0
    for seed in range(SEEDS):
        world = World(seed, make)
        asyncio.run(world.run())
        report = audited(world)
        assert texts(report) == [], f"seed {seed}"
        seen += report.decisions
    assert seen > 10 * SEEDS


def test_an_owner_that_forgets_its_own_holds_overspends_and_is_found() -> None:
    for seed in range(200):
        world = World(seed, ForgetfulOwner)
        asyncio.run(world.run())
        lines = decisions(audited(world))
        if any("approved" in line and "left: due is budget_exhausted" in line for line in lines):
            return
    raise AssertionError("never found")


def audited(world: World) -> PartitionReport:
    """What the audit says of a simulated world."""
    context = world.make(world.shared, world.points, []).context
    return OwnedBooks.of(world.shared, context).audit(image=False)


# --- planted faults ------------------------------------------------------------------------------


def altered(books: OwnedBooks, key: str, change: Change) -> list[str]:
    """What the audit says of a decision that was altered."""
    offset = books.offset_of(key)
    books.rewrite(offset, change)
    report = books.audit()
    assert exit_code([report]) == DIFFERENT
    account = codec.decode_preflights(books.preflights[offset].value).account_id  # type: ignore[union-attr]
    place = f"offset {offset}, customer {account!r}: "
    return [line.removeprefix(place) for line in decisions(report) if line.startswith(place)]


def test_an_approval_beyond_the_budget_is_overspend(books: OwnedBooks) -> None:
    def forge(body: dict[str, Any]) -> None:
        del body["reason"]
        body["approved"] = True

    assert altered(books, "k3", forge) == ["approved 4 unit with 3 left: due is budget_exhausted"]


def test_an_approval_over_its_own_ceiling_is_named(books: OwnedBooks) -> None:
    def forge(body: dict[str, Any]) -> None:
        del body["reason"]
        body["approved"] = True

    assert altered(books, "k5", forge) == ["approved 2 unit over its own ceiling of 1.0"]


def test_an_estimate_raised_beyond_the_budget_is_overspend_and_has_another_hash(
    books: OwnedBooks,
) -> None:
    lines = altered(books, "k2", lambda body: body.update(estimate="8"))
    assert lines[0] == "approved 8 unit with 7 left: due is budget_exhausted"
    assert lines[1].startswith("body_hash is ")


@pytest.mark.parametrize(
    ("key", "fields", "said"),
    [
        ("k2", {"remaining": "9"}, "remaining is '9', due is '3'"),
        ("k2", {"approved": False, "reason": "budget_exhausted"}, "approved is False, due is True"),
        ("k3", {"reason": "free_tier_exceeded"}, "reason is 'free_tier_exceeded', due is 'budget"),
        ("k2", {"seen_offset": 1}, "seen_offset is 1, due is 2"),
        ("k2", {"seen_catalog_offset": 0}, "saw the catalog up to 0, cycle 1 further"),
        ("k2", {"seen_catalog_offset": 9}, "the catalog that it saw cannot be read"),
        ("k2", {"decided_at": 5}, "decided_at is 5, which is before what it saw"),
        ("k7", {"agent_id": "another"}, "body_hash is "),
        ("k7", {"asked_estimate": "4.500"}, "body_hash is "),
        ("k9", {"expires_at": 2**50}, "no decision can be made of it: ttl_ms"),
        ("k4", {"idempotency_key": "k2"}, "'k2' had been decided at offset 2"),
        ("k2", {"idempotency_key": "k1"}, "'k1' had been decided at offset 1"),
    ],
)
def test_each_altered_field_is_named(
    books: OwnedBooks, key: str, fields: dict[str, Any], said: str
) -> None:
    lines = altered(books, key, lambda body: body.update(fields))
    assert any(line.startswith(said) for line in lines), lines


def test_a_forged_record_with_the_right_hash_is_found_by_what_is_left(books: OwnedBooks) -> None:
    def forge(body: dict[str, Any]) -> None:
        body["estimate"] = "2"
        ask = PreflightAsk("customer", CUSTOMER, "test", "k2", "unit", "2")
        body["body_hash"] = body_hash(ask)

    assert altered(books, "k2", forge) == ["remaining is '3', due is '5'"]


def test_a_task_opened_with_more_than_its_ceiling_is_overspend(books: OwnedBooks) -> None:
    offset = books.offset_of("t2")

    def forge(body: dict[str, Any]) -> None:
        del body["reason"]
        body["approved"] = True

    books.rewrite(offset, forge)
    place = f"offset {offset}, task {TASK!r}: "
    assert f"{place}approved 9 unit with 8 left: due is task_ceiling_exceeded" in decisions(
        books.audit()
    )


def test_bytes_in_another_order_are_a_difference(books: OwnedBooks) -> None:
    offset = books.offset_of("k1")
    found = books.preflights[offset]
    value = (found.value or b"").replace(b'{"kind":"preflight",', b'{"kind": "preflight",')
    books.preflights[offset] = SourceRecord(
        found.topic, offset, found.appended_at_us, found.key, value
    )
    (line,) = decisions(books.audit())
    assert line.endswith("is written otherwise than an owner writes it")


def test_a_removed_decision_is_named_by_the_ledger(books: OwnedBooks) -> None:
    offset = books.offset_of("k2")
    del books.preflights[offset]
    lines = texts(books.audit())
    name = f"1-preflights-{PARTITION}-{offset}-0"
    assert any(f"nothing in the log demands this record, '{name}'" in line for line in lines), lines


def test_a_decision_that_saw_what_came_after_it_is_one_difference(books: OwnedBooks) -> None:
    offset = books.offset_of("k4")
    books.rewrite(offset, lambda body: body.update(seen_cycle=99))
    assert decisions(books.audit()) == [
        f"offset {offset}, customer '{CUSTOMER}': folded by cycle 3, saw cycle 99"
    ]


def test_a_decision_that_saw_less_than_those_before_it_is_named(books: OwnedBooks) -> None:
    offset = books.offset_of("k5")
    books.rewrite(offset, lambda body: body.update(seen_cycle=1))
    assert f"offset {offset}, customer '{CUSTOMER}': saw cycle 1, those before it cycle 2" in (
        decisions(books.audit())
    )


def test_a_decision_under_a_lease_that_is_over_is_not_looked_at(books: OwnedBooks) -> None:
    last = books.preflights[-1]
    books.rewrite(last.offset, lambda body: body.update(nonce="0" * 16, remaining="77"))
    report = books.audit()
    assert texts(report) == []
    assert report.decisions == DECISIONS - 1


# --- parts of it ---------------------------------------------------------------------------------


def test_one_customer_is_decided_again_alone(books: OwnedBooks) -> None:
    report = books.audit(Scope(customer=TASK))
    assert texts(report) == []
    assert report.decisions == 3
    books.rewrite(books.offset_of("k2"), lambda body: body.update(remaining="9"))
    books.rewrite(books.offset_of("k8"), lambda body: body.update(remaining="7"))
    (line,) = decisions(books.audit(Scope(customer=TASK)))
    assert line.endswith("remaining is '7', due is '9'")


def test_decisions_before_a_range_are_taken_as_they_stand(books: OwnedBooks) -> None:
    _, k4 = next(one for one in books.decisions() if one[1].idempotency_key == "k4")
    books.rewrite(books.offset_of("k2"), lambda body: body.update(remaining="9"))
    report = books.audit(Scope(since_us=k4.decided_at))
    assert decisions(report) == []
    assert 0 < report.decisions < DECISIONS


def test_where_the_oldest_decisions_are_gone_the_others_are_decided_again(
    books: OwnedBooks,
) -> None:
    report = books.audit(from_offset=books.offset_of("k6"), image=False)
    assert texts(report) == []
    assert report.given == 3, "what those cycles folded is gone"
    assert 0 < report.decisions < DECISIONS


class SecondGeneration(OwnedPartition):
    """An owner in a generation that kept all topics."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared=shared, nonces=["b" * 16])
        self.context = replace(self.context, generation=2, catalog_offset=3)
        around: Any = self.desk._around
        cycle: Any = self._cycle
        around.catalog.current = cycle._catalog.current = self.context

    async def begin(self) -> None:
        """Folds `preflights` from its beginning, as an owner does who enters a generation."""
        await self.lease()
        records, self.inbox = self.inbox, []
        ends = {topic: len(kept) for topic, kept in self.shared.inbound.items()}
        for begin, end in ((0, 3), (3, 14), (14, len(records))):
            slices = [TopicSlice(topic, ends[topic], ends[topic]) for topic in FOLD_ORDER]
            slices[1] = TopicSlice(PREFLIGHTS.name, begin, end, records[begin:end])
            self.desk.committed(PARTITION, await self._cycle.run(slices))


async def _two_generations() -> OwnedBooks:
    shared = Shared()
    async with await OwnedPartition(shared=shared).take() as first:
        await _first_life(first)
        before = first.context
    async with await OwnedPartition(shared=shared, nonces=["a" * 16]).take() as heir:
        await heir.decide("k9")
        await heir.cycle()
        await heir.decide("k10")
    second = SecondGeneration(shared)
    async with second:
        await second.begin()
        await second.decide("k20", estimate="2")
        await second.cycle()
        return OwnedBooks.of(shared, before, second.context)


def test_a_generation_that_keeps_the_topic_reads_it_again() -> None:
    books = asyncio.run(_two_generations())
    report = books.audit()
    assert texts(report) == []
    assert report.decisions == len(books.decisions()) == DECISIONS + 1
    books.rewrite(books.offset_of("k20"), lambda body: body.update(remaining="77"))
    assert "remaining is '77', due is '" in decisions(books.audit())[0]
