"""What an ask of the log becomes: the question to the owner, and the answer."""

import json
from typing import Any

import pytest

import schemas.rpc as rpc
from schemas.errors import RejectCode
from schemas.limits import EVENT_BYTES_MAX, ID_BYTES_MAX
from schemas.partitioner import partition_of
from schemas.structs import AnsweredChange, AnsweredPreflight, AnsweredProblem
from streams.metrics import GATEWAY_ASKS
from tests.ask_lanes import ACME, Lane
from tests.gateway_fakes import PARTITIONS, approved, error, refusal, released


@pytest.fixture
def lane() -> Lane:
    return Lane()


async def test_a_decision_is_told_whole_and_the_position_moves_past_its_ask(lane: Lane) -> None:
    lane.put(denomination="usd", ttl_seconds=60, ceiling="9", agent_id="a1")
    [answer] = await lane.answered(1)
    [ask] = lane.owners.asks
    assert ask == rpc.PreflightAsk(
        account_kind="customer",
        account_id="acme",
        source="bot",
        idempotency_key="k0",
        denomination="usd",
        estimate="5",
        agent_id="a1",
        ceiling="9",
        ttl_ms=60_000,
    )
    assert isinstance(answer, AnsweredPreflight)
    assert (answer.ask_partition, answer.ask_offset) == (ACME, 0)
    assert (answer.customer_id, answer.source, answer.idempotency_key) == ("acme", "bot", "k0")
    assert (answer.approved, answer.reservation_id, answer.remaining) == (True, "1-3-9", "999")
    assert (answer.as_of.lease, answer.as_of.usage_offset) == (7, 40)
    assert answer.answered_at == lane.now_us()
    assert [key for _, key, _ in lane.inbound.records] == [b"acme"]
    assert lane.log.positions == [1]


async def test_a_refusal_has_a_reason_and_no_reservation(lane: Lane) -> None:
    lane.owners.queued.append(refusal("budget_exhausted", reservation_id=""))
    lane.put()
    [answer] = await lane.answered(1)
    assert isinstance(answer, AnsweredPreflight)
    assert (answer.approved, answer.reason) == (False, "budget_exhausted")
    assert (answer.reservation_id, answer.hold_state) == (None, None)


async def test_an_ask_with_a_task_is_told_with_the_part_of_the_task(lane: Lane) -> None:
    lane.owners.queued += [approved(reservation_id="1-2-4", ceiling="8", used="3"), approved()]
    lane.put(task_ref="job-1", task_ceiling="8")
    [answer] = await lane.answered(1)
    of_task, of_customer = lane.owners.asks
    assert (of_task.account_id, of_customer.task_reservation_id) == ("job-1", "1-2-4")
    assert isinstance(answer, AnsweredPreflight)
    assert answer.task is not None
    assert (answer.task.task_ref, answer.task.reservation_id) == ("job-1", "1-2-4")
    assert (answer.task.ceiling, answer.task.used) == ("8", "3")


async def test_holds_are_given_back_and_extended_over_the_log_as_well(lane: Lane) -> None:
    lane.owners.queued += [released(), released("open", changed=True, released="0", expires_at=9)]
    lane.put({"kind": "release", "customer_id": "acme", "reservation_id": "1-3-9"})
    lane.put(
        {"kind": "extension", "customer_id": "acme", "reservation_id": "1-3-9", "ttl_seconds": 60}
    )
    first, second = await lane.answered(2)
    assert lane.owners.asks == [
        rpc.ReleaseAsk("customer", "acme", "1-3-9"),
        rpc.ExtendAsk("customer", "acme", "1-3-9", 60_000),
    ]
    assert isinstance(first, AnsweredChange)
    assert isinstance(second, AnsweredChange)
    assert (first.state, first.released, first.expires_at) == ("released", "1", None)
    assert (second.state, second.expires_at) == ("open", 9)


async def test_what_is_not_committed_yet_is_told_as_such(lane: Lane) -> None:
    lane.owners.queued.append(released(committed=False))
    lane.put({"kind": "release", "customer_id": "acme", "reservation_id": "1-3-9"})
    [answer] = await lane.answered(1)
    assert isinstance(answer, AnsweredChange)
    assert (answer.decided, answer.state, answer.changed) == (False, None, None)


FINAL = [
    *("conflict", "invalid", "too_many_holds", "task_ceiling_required", "task_unit_mismatch"),
    "internal",
]


@pytest.mark.parametrize("code", FINAL)
async def test_what_asking_again_would_not_mend_is_answered_with_its_code(
    lane: Lane, code: str
) -> None:
    lane.owners.queued.append(error(code))
    lane.put()
    [answer] = await lane.answered(1)
    assert isinstance(answer, AnsweredProblem)
    assert answer.code == ("invalid_field" if code == "invalid" else code)
    assert (answer.customer_id, answer.source, answer.idempotency_key) == ("acme", "bot", "k0")
    assert lane.log.positions == [1]
    assert lane.metrics.value(GATEWAY_ASKS, "preflight", "problem") == 1


async def test_a_hold_that_never_was_is_not_found(lane: Lane) -> None:
    lane.owners.queued.append(released("not_found"))
    lane.put({"kind": "release", "customer_id": "acme", "reservation_id": "1-3-9"})
    [answer] = await lane.answered(1)
    assert isinstance(answer, AnsweredProblem)
    assert (answer.code, answer.reservation_id) == ("not_found", "1-3-9")


GOOD = {"schema_version": 1, "customer_id": "acme", "source": "s", "idempotency_key": "k"}


def bad(**changes: Any) -> bytes:
    return json.dumps(GOOD | changes).encode()


UNREADABLE: list[tuple[bytes | None, bytes | None, RejectCode, str]] = [
    (b"acme", None, RejectCode.EMPTY, ""),
    (b"acme", b"{", RejectCode.MALFORMED, ""),
    (b"acme", b"[]", RejectCode.MALFORMED, ""),
    (b"acme", b"[" * 5_000, RejectCode.MALFORMED, ""),
    (b"acme", b" " * (EVENT_BYTES_MAX + 1), RejectCode.OVERSIZED, ""),
    (b"acme", bad(schema_version=2), RejectCode.UNKNOWN_VERSION, "schema_version"),
    (b"acme", bad(estimat="5"), RejectCode.UNKNOWN_FIELD, "estimat"),
    (b"acme", bad(kind="refund"), RejectCode.INVALID_FIELD, "kind"),
    (b"acme", bad(kind=["release"]), RejectCode.INVALID_FIELD, "kind"),
    (b"acme", bad(estimate=5), RejectCode.INVALID_FIELD, "estimate"),
    (b"acme", bad(estimate="0.0000000000001"), RejectCode.INVALID_FIELD, "estimate"),
    (b"acme", bad(idempotency_key="é" * 100), RejectCode.INVALID_FIELD, "idempotency_key"),
    (b"acme", bad(task_ref="\0job"), RejectCode.INVALID_FIELD, "task_ref"),
    (b"acme", bad(ask_before="soon"), RejectCode.INVALID_FIELD, "ask_before"),
    (b"acme", bad(ttl_seconds=0), RejectCode.INVALID_FIELD, "ttl_seconds"),
    (b"acme", bad(kind="release"), RejectCode.UNKNOWN_FIELD, "source"),
    (b"umbra", bad(), RejectCode.WRONG_KEY, "customer_id"),
    (None, bad(), RejectCode.WRONG_KEY, "customer_id"),
]


@pytest.mark.parametrize(
    ("key", "value", "code", "path"), UNREADABLE, ids=[str(n) for n in range(len(UNREADABLE))]
)
async def test_what_is_no_ask_is_answered_with_the_reason_and_never_asked(
    lane: Lane, key: bytes | None, value: bytes | None, code: RejectCode, path: str
) -> None:
    offset = lane.put_bytes(key, value)
    lane.put()
    told, _ = await lane.answered(2)
    assert isinstance(told, AnsweredProblem)
    assert (told.code, told.field) == (code, path)
    assert (told.ask_partition, told.ask_offset) == (ACME, offset)
    assert [ask.idempotency_key for ask in lane.owners.asks] == ["k1"]
    assert lane.inbound.records[0][1] == (key or b"")


async def test_a_key_on_another_partition_than_murmur2_gives_is_told_so(lane: Lane) -> None:
    elsewhere = next(
        name
        for name in (f"customer-{number}" for number in range(100))
        if partition_of(name.encode(), PARTITIONS) != ACME
    )
    lane.put(customer_id=elsewhere)
    [told] = await lane.answered(1)
    assert isinstance(told, AnsweredProblem)
    assert told.code == RejectCode.WRONG_PARTITION
    assert "murmur2_random" in told.detail


async def test_a_key_that_can_be_no_customer_is_not_carried_on(lane: Lane) -> None:
    """A key may be as long as a record: with it, the answer would fit no topic, ever."""
    lane.put_bytes(b"k" * (ID_BYTES_MAX + 1), bad())
    lane.put_bytes(b"k" * ID_BYTES_MAX, bad())
    await lane.answered(2)
    assert [len(key) for _, key, _ in lane.inbound.records] == [0, ID_BYTES_MAX]
