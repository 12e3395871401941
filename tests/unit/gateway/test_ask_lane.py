"""One partition of asks: their order, their time, and the position that never passes an ask without
an answer."""

import asyncio
from collections import deque
from typing import Any

import pytest

import schemas.rpc as rpc
from schemas.structs import AnsweredPreflight, AnsweredProblem
from schemas.times import MICROSECONDS, format_time
from streams.gateway import ask_lane, asks
from streams.gateway.asks import WAITED_SECONDS, WAITED_SECONDS_MAX
from streams.gateway.problems import CODES
from streams.metrics import GATEWAY_ASKS_AGAIN, GATEWAY_ASKS_OPEN, GATEWAY_PROBLEMS
from tests.ask_lanes import NEIGHBOURS, FakeAskLog, GatedOwners, Lane
from tests.gateway_fakes import approved, error


@pytest.fixture
def lane() -> Lane:
    return Lane()


# --- order --------------------------------------------------------------------------------------


async def test_one_customer_is_asked_about_in_the_order_of_the_log_and_others_meanwhile(
    lane: Lane,
) -> None:
    lane.owners = gated = GatedOwners({"acme": asyncio.Event()})
    for _ in range(3):
        lane.put()
    lane.put(customer_id=NEIGHBOURS[0])
    lane.put(customer_id=NEIGHBOURS[1])
    async with lane.running():
        await lane.until(lambda: len(lane.answers) == 2)
        assert {answer.ask_offset for answer in lane.answers} == {3, 4}
        assert gated.keys() == ["k0"]
        assert lane.log.positions == []
        assert lane.metrics.value(GATEWAY_ASKS_OPEN) == 5
        gated.shut["acme"].set()
        await lane.until(lambda: len(lane.answers) == 5)
        await lane.until(lambda: lane.log.positions[-1:] == [5])
    assert gated.keys() == ["k0", "k1", "k2"]
    assert [answer.ask_offset for answer in lane.answers] == [3, 4, 0, 1, 2]
    assert lane.metrics.value(GATEWAY_ASKS_OPEN) == 0


async def test_the_window_bounds_what_is_open(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask_lane, "WINDOW_RECORDS", 4)
    monkeypatch.setattr(ask_lane, "TAKEN_MAX", 3)
    lane.owners = gated = GatedOwners({"acme": asyncio.Event()})
    for number in range(10):
        lane.put(customer_id="acme" if not number else NEIGHBOURS[number])
    async with lane.running():
        await lane.until(lambda: len(lane.answers) == 3)
        # Nothing more is taken while the first one keeps the position.
        for _ in range(20):
            await asyncio.sleep(0)
        assert (lane.log.wanted, len(lane.log.waiting)) == ([3, 1], 6)
        gated.shut["acme"].set()
        await lane.until(lambda: len(lane.answers) == 10)
    assert lane.log.positions[-1] == 10


# --- when nobody can decide ---------------------------------------------------------------------

TRANSIENT = [code for code, kind in CODES.items() if kind.status == 503]


@pytest.mark.parametrize("code", ["not_mine", "not_ready", "lagging", "overloaded"])
async def test_what_cannot_be_decided_now_is_asked_again_until_it_is(lane: Lane, code: str) -> None:
    assert code in TRANSIENT
    patience = lane.time.now() + WAITED_SECONDS - 5

    def later(_partition: int, _ask: rpc.Ask) -> rpc.Answer:
        return approved() if lane.time.now() > patience else error(code)

    lane.owners.otherwise = later
    lane.put()
    [answer] = await lane.answered(1)
    assert isinstance(answer, AnsweredPreflight)
    assert lane.metrics.value(GATEWAY_ASKS_AGAIN, code) > 3
    assert {ask.idempotency_key for ask in lane.owners.asks} == {"k0"}


@pytest.mark.parametrize(
    ("before", "waited"),
    [(None, WAITED_SECONDS), (20, 20), (100, 100), (10_000, WAITED_SECONDS_MAX)],
)
async def test_nobody_is_asked_after_the_time_until_which_it_is_waited_for(
    lane: Lane, before: int | None, waited: int
) -> None:
    lane.owners.otherwise = lambda _partition, _ask: error("not_ready")
    started = lane.time.now()
    text = None if before is None else format_time(lane.now_us() + before * MICROSECONDS)
    lane.put(ask_before=text)
    [answer] = await lane.answered(1)
    assert isinstance(answer, AnsweredProblem)
    assert answer.code == "too_late"
    assert waited <= lane.time.now() - started < waited + 2
    assert max(timeout for _, _, timeout in lane.owners.asked) == pytest.approx(1)
    assert lane.log.positions == [1]


async def test_an_ask_that_was_found_too_late_is_not_asked_at_all(lane: Lane) -> None:
    lane.put()
    lane.time.seconds += WAITED_SECONDS
    lane.put()
    first, second = await lane.answered(2)
    assert isinstance(first, AnsweredProblem)
    assert (first.code, first.idempotency_key) == ("too_late", "k0")
    assert isinstance(second, AnsweredPreflight)
    assert [ask.idempotency_key for ask in lane.owners.asks] == ["k1"]
    assert lane.metrics.value(GATEWAY_PROBLEMS, "too_late") == 1


async def test_after_an_unknown_outcome_it_is_not_said_that_nothing_was_decided(
    lane: Lane,
) -> None:
    lane.owners.queued.append(error("unknown_outcome"))
    lane.owners.otherwise = lambda _partition, _ask: error("lagging")
    lane.put()
    [answer] = await lane.answered(1)
    assert isinstance(answer, AnsweredProblem)
    assert answer.code == "unknown_outcome"


# --- faults -------------------------------------------------------------------------------------


async def test_an_answer_that_is_not_acknowledged_is_appended_again(lane: Lane) -> None:
    lane.inbound.losing = {0, 1}
    lane.put()
    async with lane.running():
        await lane.until(lambda: lane.log.positions == [1])
    assert len(lane.answers) == 3
    assert len(set(map(repr, lane.answers))) == 1
    assert len(lane.owners.asks) == 1


async def test_a_log_that_takes_nothing_is_waited_for(lane: Lane) -> None:
    lane.inbound.down = True
    lane.put()
    async with lane.running():
        waited_until = lane.time.now() + 10
        await lane.until(lambda: lane.time.now() > waited_until)
        assert lane.log.positions == []
        lane.inbound.down = False
        await lane.until(lambda: lane.log.positions == [1])


async def test_a_broker_in_trouble_is_asked_again(lane: Lane) -> None:
    lane.log.troubles = 3
    lane.put()
    assert len(await lane.answered(1)) == 1


@pytest.mark.parametrize("place", ["read_ask", "decide"])
async def test_our_own_fault_over_one_ask_stops_nobody_else(
    lane: Lane, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    right = getattr(asks, place)

    def wrong(first: Any, second: Any, *rest: Any) -> Any:
        record = first if place == "read_ask" else second
        if record.offset == 0:
            raise KeyError("a secret of acme")
        return right(first, second, *rest)

    monkeypatch.setattr(ask_lane, place, wrong)
    lane.put()
    lane.put()
    found = {answer.ask_offset: answer for answer in await lane.answered(2)}
    fault = found[0]
    assert isinstance(fault, AnsweredProblem)
    assert (fault.code, "KeyError" in fault.detail) == ("internal", True)
    assert not [word for word in ("secret", "replay") if word in fault.detail]
    assert isinstance(found[1], AnsweredPreflight)
    assert lane.log.positions[-1] == 2


@pytest.mark.parametrize("killed", ["before_the_answer", "before_the_position"])
async def test_an_heir_asks_again_under_the_same_key(lane: Lane, killed: str) -> None:
    """What the owner decided for the first one it answers again: see its own tests."""
    lane.put()
    record = lane.log.waiting[0]
    if killed == "before_the_answer":
        lane.inbound.down = True
    async with lane.running():
        await lane.until(lambda: bool(lane.owners.asks))
        if killed == "before_the_position":
            await lane.until(lambda: bool(lane.answers))
    lane.inbound.down = False
    lane.log = FakeAskLog(waiting=deque([record]))
    lane.owners.queued.append(approved(replayed=True))
    before = len(lane.answers)
    *_, answer = await lane.answered(before + 1)
    assert isinstance(answer, AnsweredPreflight)
    assert (answer.replayed, answer.reservation_id, answer.ask_offset) == (True, "1-3-9", 0)
    first, second = lane.owners.asks
    assert first == second


async def test_a_lane_that_ends_counts_its_open_asks_no_more(lane: Lane) -> None:
    lane.owners = GatedOwners({"acme": asyncio.Event()})
    lane.put()
    lane.put()
    async with lane.running():
        await lane.until(lambda: lane.metrics.value(GATEWAY_ASKS_OPEN) == 2)
    assert lane.metrics.value(GATEWAY_ASKS_OPEN) == 0
