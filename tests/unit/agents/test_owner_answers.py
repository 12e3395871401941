"""What an owner answers from committed entries: releases, extensions, records, expiries, tasks."""

import asyncio
from dataclasses import replace

import pytest

from schemas.rpc import (
    AwaitAsk,
    ErrorAnswer,
    ExtendAsk,
    PreflightAnswer,
    RecordAnswer,
    ReleaseAnswer,
    ReleaseAsk,
)
from schemas.structs import Expiry
from streams.adapters.memory import MemoryCatalog
from streams.agents import expiries
from tests.builders import NOON_US, SECOND_US, grant, usage
from tests.owned import (
    CUSTOMER,
    OwnedPartition,
    Shared,
    available,
    bodies,
    look,
    other_customers,
    preflight,
    settled,
)

# --- releases and extensions -------------------------------------------------------------------


async def asked(owned: OwnedPartition, *asks: ReleaseAsk | ExtendAsk) -> list[ReleaseAnswer]:
    """The answers to these, asked together, after a cycle."""
    waiting = [asyncio.ensure_future(owned.ask(ask)) for ask in asks]
    await settled()
    assert not any(one.done() for one in waiting), "answered before the commit (R1)"
    await owned.cycle()
    answers = [await one for one in waiting]
    assert all(isinstance(answer, ReleaseAnswer) for answer in answers)
    return answers  # type: ignore[return-value]


async def test_a_replay_between_a_release_and_its_commit_says_that_the_hold_is_going(
    owned: OwnedPartition,
) -> None:
    hold = await owned.decide("k1", estimate="10")
    waiting = asyncio.ensure_future(
        owned.ask(ReleaseAsk("customer", CUSTOMER, hold.reservation_id))
    )
    await settled()
    again = await owned.decide("k1", estimate="10")
    assert (again.replayed, again.hold_state) == (True, "released")
    await owned.cycle()
    await waiting


async def test_a_release_is_answered_from_its_entry_and_frees_the_money_then(
    owned: OwnedPartition,
) -> None:
    hold = await owned.decide("k1", estimate="10")
    waiting = asyncio.ensure_future(
        owned.ask(ReleaseAsk("customer", CUSTOMER, hold.reservation_id))
    )
    await settled()
    assert not waiting.done()
    assert not (await owned.decide("k2")).approved, "what frees money counts when it has committed"
    await owned.cycle()
    answer = await waiting
    assert isinstance(answer, ReleaseAnswer)
    assert (answer.state, answer.changed, answer.released) == ("released", True, "10")
    assert (await owned.decide("k3", estimate="10")).approved


async def test_two_releases_of_a_hold_are_one_record_and_one_change(owned: OwnedPartition) -> None:
    hold = await owned.decide("k1")
    ask = ReleaseAsk("customer", CUSTOMER, hold.reservation_id)
    answers = await asked(owned, ask, ask)
    assert sorted((a.state, a.changed) for a in answers) == [
        ("released", False),
        ("released", True),
    ]
    assert len(bodies(owned)) == 3
    again = await owned.ask(ask)
    assert isinstance(again, ReleaseAnswer)
    assert (again.state, again.changed) == ("released", False)


async def test_a_release_of_what_never_was_is_not_found(owned: OwnedPartition) -> None:
    for name in ("1-0-77", "nonsense"):
        answer = await owned.ask(ReleaseAsk("customer", CUSTOMER, name))
        assert isinstance(answer, ReleaseAnswer)
        assert (answer.state, answer.changed) == ("not_found", False)


async def test_a_release_whose_cycle_does_not_come_is_answered_as_undecided(
    owned: OwnedPartition,
) -> None:
    hold = await owned.decide("k1")
    answer = await owned.ask(ReleaseAsk("customer", CUSTOMER, hold.reservation_id), 0.01)
    assert isinstance(answer, ReleaseAnswer)
    assert (answer.committed, answer.changed, answer.state) == (False, False, "open")


async def test_a_release_is_not_known_when_the_partition_is_given_up(
    owned: OwnedPartition,
) -> None:
    hold = await owned.decide("k1")
    waiting = asyncio.ensure_future(
        owned.ask(ReleaseAsk("customer", CUSTOMER, hold.reservation_id))
    )
    await settled()
    await owned.desk.release()
    answer = await waiting
    assert isinstance(answer, ErrorAnswer)
    assert answer.code == "not_mine"


async def test_an_extension_lengthens_and_never_shortens(owned: OwnedPartition) -> None:
    hold = await owned.decide("k1", ttl_ms=60_000)
    longer = ExtendAsk("customer", CUSTOMER, hold.reservation_id, 120_000)
    (answer,) = await asked(owned, longer)
    expires = NOON_US + 120 * SECOND_US
    assert (answer.state, answer.changed, answer.expires_at) == ("open", True, expires)
    shorter = await owned.ask(ExtendAsk("customer", CUSTOMER, hold.reservation_id, 1_000))
    assert isinstance(shorter, ReleaseAnswer)
    assert (shorter.changed, shorter.expires_at) == (False, expires)


async def test_an_extension_of_a_hold_that_is_being_released_finds_it_closed(
    owned: OwnedPartition,
) -> None:
    hold = await owned.decide("k1")
    name = hold.reservation_id
    released, extended = await asked(
        owned, ReleaseAsk("customer", CUSTOMER, name), ExtendAsk("customer", CUSTOMER, name, 10**9)
    )
    assert released.changed
    assert (extended.state, extended.changed) == ("released", False)


# --- records -----------------------------------------------------------------------------------


async def test_a_record_is_answered_from_its_committed_entry(owned: OwnedPartition) -> None:
    hold = await owned.decide("k1", estimate="5")
    (appended,) = owned.append(usage(units=2, reservation_id=hold.reservation_id))
    ask = AwaitAsk("customer", CUSTOMER, "usage", appended.offset, 60_000)
    waiting = asyncio.ensure_future(owned.ask(ask))
    await settled()
    assert not waiting.done()
    await owned.cycle()
    for answer in (await waiting, await owned.ask(ask)):
        assert isinstance(answer, RecordAnswer)
        assert (answer.status, answer.was_exhausted) == ("accepted", False)
        assert answer.entry is not None
        assert (answer.entry.units, answer.entry.settlement) == (2, "settled")
        assert (answer.entry.released, answer.entry.denomination) == ("3", "unit")
        assert available(answer.account) == "8"


async def test_a_first_record_says_that_the_customer_is_new(owned: OwnedPartition) -> None:
    owned.append(usage(event_id="e1"), usage(event_id="e2"))
    await owned.cycle()
    answers = [
        await owned.ask(AwaitAsk("customer", CUSTOMER, "usage", offset, 1_000)) for offset in (0, 1)
    ]
    created = [a.entry.customer_created for a in answers if isinstance(a, RecordAnswer) and a.entry]
    assert created == [True, False]


async def test_a_repeated_record_is_a_duplicate_and_a_changed_one_is_refused(
    owned: OwnedPartition,
) -> None:
    owned.append(usage(units=1), usage(units=1), usage(units=2))
    await owned.cycle()
    answers = [
        await owned.ask(AwaitAsk("customer", CUSTOMER, "usage", offset, 1_000))
        for offset in range(3)
    ]
    assert [a.status for a in answers if isinstance(a, RecordAnswer)] == [
        "accepted",
        "duplicate",
        "refused",
    ]
    assert isinstance(answers[2], RecordAnswer)
    assert answers[2].code == "conflict"


async def test_a_record_after_the_budget_was_spent_says_so(owned: OwnedPartition) -> None:
    owned.append(usage(event_id="e1", units=10), usage(event_id="e2", units=1))
    await owned.cycle()
    answers = [
        await owned.ask(AwaitAsk("customer", CUSTOMER, "usage", offset, 1_000)) for offset in (0, 1)
    ]
    assert [a.was_exhausted for a in answers if isinstance(a, RecordAnswer)] == [False, True]


async def test_a_record_whose_cycle_does_not_come_is_undecided(owned: OwnedPartition) -> None:
    answer = await owned.ask(AwaitAsk("customer", CUSTOMER, "usage", 5, 10))
    assert isinstance(answer, RecordAnswer)
    assert (answer.status, answer.account) == ("undecided", None)


async def test_a_grant_is_answered_when_it_counts(owned: OwnedPartition) -> None:
    (appended,) = owned.append(grant(amount="5"))
    waiting = asyncio.ensure_future(
        owned.ask(AwaitAsk("customer", CUSTOMER, "budgets", appended.offset, 60_000))
    )
    await settled()
    await owned.cycle()
    answer = await waiting
    assert isinstance(answer, RecordAnswer)
    assert answer.entry is not None
    assert answer.entry.kind == "grant"
    assert available(answer.account) == "15"


# --- expiries ----------------------------------------------------------------------------------


async def test_a_hold_expires_when_its_time_is_over_and_its_usage_is_folded(
    owned: OwnedPartition,
) -> None:
    hold = await owned.decide("k1", estimate="10", ttl_ms=60_000)
    await owned.cycle()
    await owned.desk.sweep()
    await settled()
    assert owned.inbox == [], "not due"
    owned.clock.time_us += 61 * SECOND_US
    # Appended in time, and not folded when the deadline passes.
    owned.append(usage(event_id="late", units=4, reservation_id=hold.reservation_id))
    await owned.desk.sweep()
    await settled()
    assert owned.inbox == [], "a backlog of usage may settle it (P3)"
    await owned.cycle()
    await owned.desk.sweep()
    await settled()
    assert owned.inbox == [], "it has been settled"
    assert available(await owned.ask(look())) == "6"


async def test_an_expired_hold_frees_its_money_with_its_cycle(owned: OwnedPartition) -> None:
    hold = await owned.decide("k1", estimate="10", ttl_ms=60_000)
    await owned.cycle()
    owned.clock.time_us += 61 * SECOND_US
    for _ in range(3):
        await owned.desk.sweep()
        await settled()
    assert [type(body) for body in bodies(owned)[2:]] == [Expiry], "one expiry, however often"
    assert not (await owned.decide("k2")).approved
    await owned.cycle()
    again = await owned.decide("k1", estimate="10", ttl_ms=60_000)
    assert (again.reservation_id, again.hold_state) == (hold.reservation_id, "expired")
    assert (await owned.decide("k3", estimate="10")).approved


async def test_an_heir_lets_holds_expire_that_it_finds_in_the_tables() -> None:
    shared = Shared()
    former = await OwnedPartition(shared=shared).take()
    await former.decide("k1", ttl_ms=60_000)
    await former.cycle()
    heir = await OwnedPartition(shared=shared, nonces=["f" * 16]).take()
    try:
        await settled()  # open holds are looked for in the background
        heir.clock.time_us += 61 * SECOND_US
        await heir.desk.sweep()
        await settled()
        assert isinstance(bodies(heir)[-1], Expiry)
    finally:
        await former.desk.release()
        await heir.desk.release()


async def test_an_extended_hold_expires_later(owned: OwnedPartition) -> None:
    hold = await owned.decide("k1", ttl_ms=60_000)
    await owned.cycle()
    waiting = asyncio.ensure_future(
        owned.ask(ExtendAsk("customer", CUSTOMER, hold.reservation_id, 120_000))
    )
    await settled()
    owned.clock.time_us += 61 * SECOND_US
    await owned.desk.sweep()
    await settled()
    await owned.cycle()
    assert isinstance(await waiting, ReleaseAnswer)
    await owned.desk.sweep()
    await settled()
    assert not any(isinstance(body, Expiry) for body in bodies(owned))
    owned.clock.time_us += 60 * SECOND_US
    await owned.desk.sweep()
    await settled()
    assert isinstance(bodies(owned)[-1], Expiry)


async def test_what_a_barrier_lets_expire_is_bounded(
    owned: OwnedPartition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiries, "EXPIRIES_MAX", 2)
    for number in range(5):
        await owned.decide(f"k{number}", ttl_ms=60_000)
    await owned.cycle()
    owned.clock.time_us += 61 * SECOND_US
    for expected in (2, 4, 5):
        await owned.desk.sweep()
        await settled()
        await owned.cycle()
        assert sum(isinstance(body, Expiry) for body in bodies(owned)) == expected


# --- tasks -------------------------------------------------------------------------------------


async def test_a_task_is_open_for_the_next_call_before_its_cycle(owned: OwnedPartition) -> None:
    task = other_customers(1)[0]
    more = {"account_kind": "task", "task_ref": task}
    missing = await owned.ask(preflight("k0", task, **more))
    assert isinstance(missing, ErrorAnswer)
    assert missing.code == "task_ceiling_required"
    first = await owned.decide("k1", task, estimate="3", task_ceiling="5", **more)
    assert (first.approved, first.ceiling, first.used) == (True, "5", "0")
    second = await owned.decide("k2", task, estimate="3", **more)
    assert (second.approved, second.reason) == (False, "task_ceiling_exceeded")
    await owned.cycle()
    third = await owned.decide("k3", task, estimate="2", **more)
    assert (third.approved, third.ceiling) == (True, "5")
    assert isinstance(third, PreflightAnswer)


async def test_a_lookup_that_fails_asks_to_try_again(owned: OwnedPartition) -> None:
    catalog = owned.desk._around.catalog
    assert isinstance(catalog, MemoryCatalog)
    catalog.current = replace(owned.context, catalog_offset=0)
    answer = await owned.ask(look())
    assert isinstance(answer, ErrorAnswer)
    assert (answer.code, owned.halted) == ("not_ready", [])
