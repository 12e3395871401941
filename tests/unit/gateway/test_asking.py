"""Tries within one deadline, and the two steps of a preflight that names a task."""

from collections import deque

import pytest

import schemas.rpc as rpc
from schemas.partitioner import partition_of
from streams.gateway.asking import TASK_TRIES_MAX, TRY_AGAIN
from streams.gateway.problems import ProblemError
from tests.gateway_fakes import PARTITIONS, World, approved, error, refusal, released

ASK = rpc.PreflightAsk(
    account_kind="customer",
    account_id="acme",
    source="http",
    idempotency_key="k1",
    denomination="unit",
    estimate="5",
    agent_id="a1",
    ceiling="9",
    ttl_ms=60_000,
)
WITH_TASK = rpc.PreflightAsk(
    account_kind="customer",
    account_id="acme",
    source="http",
    idempotency_key="k1",
    estimate="5",
    task_ref="job-1",
    task_ceiling="100",
)


def of_task(**changes: object) -> rpc.PreflightAnswer:
    return approved(**{"reservation_id": "1-2-4", "ceiling": "100", "used": "0", **changes})


async def test_an_ask_goes_to_the_partition_of_its_account(world: World) -> None:
    await world.asking.preflight(ASK, 1)
    [(partition, ask, _)] = world.owners.asked
    assert (partition, ask) == (partition_of(b"acme", PARTITIONS), ASK)


@pytest.mark.parametrize("code", sorted(TRY_AGAIN))
async def test_an_owner_that_moves_is_asked_again_within_the_deadline(
    world: World, code: str
) -> None:
    world.owners.queued = deque([error(code), error(code), approved()])
    made = await world.asking.preflight(ASK, 1)
    assert made.answer.approved
    assert len(world.owners.asked) == 3
    timeouts = [timeout for _, _, timeout in world.owners.asked]
    assert timeouts == sorted(timeouts, reverse=True)
    assert timeouts[0] == 1


@pytest.mark.parametrize("code", ["lagging", "overloaded", "conflict", "too_many_holds"])
async def test_what_asking_again_would_not_mend_is_passed_on_at_once(
    world: World, code: str
) -> None:
    world.owners.queued = deque([error(code, retry_after_ms=2500)])
    with pytest.raises(ProblemError) as caught:
        await world.asking.preflight(ASK, 1)
    assert caught.value.code == code
    assert caught.value.retry_after_seconds == 3
    assert len(world.owners.asked) == 1


async def test_the_deadline_ends_the_tries(world: World) -> None:
    world.owners.otherwise = lambda _p, _a: error("not_ready")
    started = world.time.now()
    with pytest.raises(ProblemError) as caught:
        await world.asking.preflight(ASK, 2)
    assert (caught.value.code, caught.value.status) == ("not_ready", 503)
    assert caught.value.retry_after_seconds >= 1
    assert 1.5 < world.time.now() - started <= 2
    assert len(world.owners.asked) < 30


async def test_an_unknown_outcome_on_the_way_is_not_forgotten(world: World) -> None:
    world.owners.queued = deque([error("unknown_outcome")])
    world.owners.otherwise = lambda _p, _a: error("not_mine")
    answer = await world.asking.ask(ASK, 1)
    assert isinstance(answer, rpc.ErrorAnswer)
    assert answer.code == "unknown_outcome"


# --- P8 -------------------------------------------------------------------------------------------


async def test_the_task_holds_first_then_the_customer(world: World) -> None:
    world.owners.queued = deque([of_task(), approved()])
    made = await world.asking.preflight(WITH_TASK, 1)
    task, customer = world.owners.asks
    assert isinstance(task, rpc.PreflightAsk)
    assert isinstance(customer, rpc.PreflightAsk)
    assert (task.account_kind, task.account_id, task.task_ceiling) == ("task", "job-1", "100")
    assert world.owners.asked[0][0] == partition_of(b"job-1", PARTITIONS)
    assert (customer.account_kind, customer.account_id) == ("customer", "acme")
    assert customer.task_reservation_id == "1-2-4"
    assert customer.task_ceiling is None
    assert made.answer.approved
    assert made.task is not None
    assert not made.refused_by_task


async def test_a_task_that_refuses_ends_it_before_the_customer_is_asked(world: World) -> None:
    world.owners.queued = deque([refusal("task_ceiling_exceeded")])
    made = await world.asking.preflight(WITH_TASK, 1)
    assert made.refused_by_task
    assert made.answer.reason == "task_ceiling_exceeded"
    assert len(world.owners.asked) == 1


async def test_a_customer_that_refuses_gives_the_hold_of_the_task_back(world: World) -> None:
    world.owners.queued = deque([of_task(), refusal("budget_exhausted"), released()])
    made = await world.asking.preflight(WITH_TASK, 1)
    assert made.answer.reason == "budget_exhausted"
    assert world.owners.asks[2] == rpc.ReleaseAsk("task", "job-1", "1-2-4")


@pytest.mark.parametrize("code", ["lagging", "overloaded", "conflict", "too_many_holds"])
async def test_a_customer_that_certainly_did_not_decide_gives_it_back_too(
    world: World, code: str
) -> None:
    world.owners.queued = deque([of_task(), error(code), released()])
    with pytest.raises(ProblemError):
        await world.asking.preflight(WITH_TASK, 1)
    assert world.owners.asks[2] == rpc.ReleaseAsk("task", "job-1", "1-2-4")


async def test_with_an_unknown_outcome_the_task_keeps_its_hold(world: World) -> None:
    # The customer's hold may stand, and the next try with this key will be told so.
    world.owners.queued = deque([of_task()])
    world.owners.otherwise = lambda _p, _a: error("unknown_outcome")
    with pytest.raises(ProblemError) as caught:
        await world.asking.preflight(WITH_TASK, 1)
    assert caught.value.code == "unknown_outcome"
    assert not [ask for ask in world.owners.asks if isinstance(ask, rpc.ReleaseAsk)]


@pytest.mark.parametrize("state", ["released", "expired"])
async def test_a_hold_that_was_given_back_is_not_taken_for_one_that_stands(
    world: World, state: str
) -> None:
    world.owners.queued = deque(
        [of_task(replayed=True, hold_state=state), of_task(reservation_id="1-2-8"), approved()]
    )
    made = await world.asking.preflight(WITH_TASK, 1)
    first, second, customer = world.owners.asks
    assert isinstance(first, rpc.PreflightAsk)
    assert isinstance(second, rpc.PreflightAsk)
    assert isinstance(customer, rpc.PreflightAsk)
    assert first.idempotency_key == "k1"
    assert second.idempotency_key not in ("k1", "")
    assert len(second.idempotency_key.encode()) <= 128
    assert customer.idempotency_key == "k1"
    assert customer.task_reservation_id == "1-2-8"
    assert made.answer.approved


async def test_a_key_is_not_tried_for_ever(world: World) -> None:
    world.owners.otherwise = lambda _p, _a: of_task(replayed=True, hold_state="released")
    with pytest.raises(ProblemError) as caught:
        await world.asking.preflight(WITH_TASK, 1)
    assert caught.value.code == "conflict"
    keys = {ask.idempotency_key for ask in world.owners.asks if isinstance(ask, rpc.PreflightAsk)}
    assert len(keys) == len(world.owners.asks) == TASK_TRIES_MAX


async def test_a_repeat_is_answered_the_stored_decision_and_holds_nothing_more(
    world: World,
) -> None:
    world.owners.queued = deque([of_task(replayed=True), approved(replayed=True)])
    made = await world.asking.preflight(WITH_TASK, 1)
    assert made.answer.replayed
    assert len(world.owners.asked) == 2
    # The task's first hold expired; the customer's decision is the old one all the same.
    world.owners.queued = deque(
        [
            of_task(replayed=True, hold_state="expired"),
            of_task(reservation_id="1-2-9"),
            approved(replayed=True, hold_state="expired"),
            released(),
        ]
    )
    await world.asking.preflight(WITH_TASK, 1)
    assert world.owners.asks[-1] == rpc.ReleaseAsk("task", "job-1", "1-2-9")


# --- R1 -------------------------------------------------------------------------------------------


async def test_a_record_waits_for_the_entry_of_its_own_offset(world: World) -> None:
    world.owners.otherwise = lambda _p, _a: rpc.RecordAnswer("accepted", approved().fresh)
    await world.asking.record("usage", "acme", b"{}", 1)
    recorded = await world.asking.record("usage", "acme", b"{}", 1)
    ask = world.owners.asks[1]
    assert isinstance(ask, rpc.AwaitAsk)
    assert (ask.topic, ask.offset, ask.account_id) == ("usage", 1, "acme")
    assert 0 < ask.timeout_ms < 1000
    assert world.inbound.records[1] == ("usage", b"acme", b"{}")
    assert recorded.decided is not None


@pytest.mark.parametrize("code", ["not_mine", "lagging", "unknown_outcome"])
async def test_a_record_that_nobody_can_speak_for_is_accepted_and_undecided(
    world: World, code: str
) -> None:
    world.owners.otherwise = lambda _p, _a: error(code)
    recorded = await world.asking.record("usage", "acme", b"{}", 0.1)
    assert recorded.answer is None
    assert recorded.decided is None
    assert len(world.inbound.records) == 1


async def test_a_log_that_does_not_answer_is_a_problem_to_retry(world: World) -> None:
    world.inbound.losing = {0}
    with pytest.raises(ProblemError) as caught:
        await world.asking.record("usage", "acme", b"{}", 1)
    assert (caught.value.code, caught.value.status) == ("log_unavailable", 503)
    world.inbound.down = True
    with pytest.raises(ProblemError):
        await world.asking.record("usage", "acme", b"{}", 1)
    assert not world.owners.asked
