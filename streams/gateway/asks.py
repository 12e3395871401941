"""An ask, from wherever it came: to the owner, and back as the record that answers it on the log.

`preflight_ask` and `change` serve HTTP as well; the rest is about records of `asks` and `answers`:
what a record asks, until when, and what its answer says. No loop and no Kafka: see `ask_lane`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import schemas.rpc as rpc
from schemas.ask import AskedExtension, AskedPreflight, AskedRelease, PreflightFields
from schemas.budget import Denomination
from schemas.codec import AskRecord, decode_asked, to_plain
from schemas.envelope import SCHEMA_VERSION
from schemas.errors import RejectError
from schemas.limits import ID_BYTES_MAX
from schemas.structs import (
    AnsweredChange,
    AnsweredPreflight,
    AnsweredProblem,
    AnswerRecord,
    AsOf,
    TaskAnswered,
)
from schemas.times import MICROSECONDS, parse_time_us
from streams.domain.decoding import customer_key
from streams.domain.facts import SourceRecord
from streams.gateway.asking import Asking, Decision, problem_of
from streams.gateway.problems import ProblemError

WAITED_SECONDS: Final = 60
"""How long after its append an ask is decided that does not say `ask_before`: longer than any
hand-over and any restart, and shorter than anybody waits who may not go on without an answer. Money
is not set aside for an agent that has left."""

WAITED_SECONDS_MAX: Final = 240
"""The longest that any ask is waited for. What cannot be decided keeps what follows it on its
partition waiting once the window is full, and after 300 s without a fetch Kafka takes the partition
away."""

TOO_LATE: Final = "too_late"


@dataclass(frozen=True, slots=True)
class OpenAsk:
    """An ask that can be asked, and waits for its answer."""

    partition: int
    offset: int
    key: bytes
    asked: AskRecord
    due_us: int
    """Until when it is asked."""

    @property
    def customer_id(self) -> str:
        """Whose it is: what one customer asks is asked in its order."""
        return self.asked.customer_id


# --- to the owner -------------------------------------------------------------------------------


def preflight_ask(sent: PreflightFields) -> rpc.PreflightAsk:
    """What the owner of the customer is asked."""
    return rpc.PreflightAsk(
        account_kind="customer",
        account_id=sent.customer_id,
        source=sent.source,
        idempotency_key=sent.idempotency_key,
        denomination=sent.denomination,
        estimate=sent.estimate,
        agent_id=sent.agent_id,
        task_ref=sent.task_ref,
        ceiling=sent.ceiling,
        task_ceiling=sent.task_ceiling if sent.task_ref is not None else None,
        ttl_ms=sent.ttl_seconds * 1000 if sent.ttl_seconds is not None else None,
    )


async def change(
    asking: Asking, ask: rpc.ReleaseAsk | rpc.ExtendAsk, seconds: float
) -> rpc.ReleaseAnswer:
    """What became of a release or an extension. Raises ProblemError where there is no such hold, or
    nobody could say so in time."""
    answer = await asking.ask(ask, seconds)
    if isinstance(answer, rpc.ErrorAnswer):
        raise problem_of(answer)
    if not isinstance(answer, rpc.ReleaseAnswer):
        raise ProblemError("internal", "an owner gave an answer of another kind than asked for")
    if answer.committed and answer.state == "not_found":
        raise ProblemError("not_found", "the customer has no such reservation")
    return answer


# --- from the log -------------------------------------------------------------------------------


def read_ask(record: SourceRecord, partition: int, partitions: int) -> OpenAsk:
    """The ask that a record of `asks` is. Raises RejectError, by the same codes and in the same
    order as the worker does for its topics."""
    asked = decode_asked(record.value)
    customer = customer_key(record, asked.customer_id, partition, partitions)
    due_us = record.appended_at_us + WAITED_SECONDS * MICROSECONDS
    if asked.ask_before is not None:
        last_us = record.appended_at_us + WAITED_SECONDS_MAX * MICROSECONDS
        due_us = min(parse_time_us(asked.ask_before), last_us)
    return OpenAsk(partition, record.offset, customer, asked, due_us)


async def decide(
    asking: Asking, ask: OpenAsk, seconds: float, now_us: Callable[[], int]
) -> AnswerRecord:
    """Asks the owner and tells what it said. Raises ProblemError where nothing was decided."""
    asked = ask.asked
    if isinstance(asked, AskedPreflight):
        made = await asking.preflight(preflight_ask(asked), seconds)
        return told_decision(ask, asked, made, now_us())
    change_ask: rpc.ReleaseAsk | rpc.ExtendAsk
    if isinstance(asked, AskedRelease):
        change_ask = rpc.ReleaseAsk("customer", asked.customer_id, asked.reservation_id)
    else:
        change_ask = rpc.ExtendAsk(
            "customer", asked.customer_id, asked.reservation_id, asked.ttl_seconds * 1000
        )
    answer = await change(asking, change_ask, seconds)
    return told_change(ask, answer, now_us())


# --- answers ------------------------------------------------------------------------------------


def told_decision(
    ask: OpenAsk, asked: AskedPreflight, made: Decision, now_us: int
) -> AnsweredPreflight:
    """The answer to a preflight."""
    answer, task = made.answer, made.task
    return AnsweredPreflight(
        **_place(ask.partition, ask.offset, now_us),
        customer_id=asked.customer_id,
        source=asked.source,
        idempotency_key=asked.idempotency_key,
        approved=answer.approved,
        reason=answer.reason or None,
        reservation_id=answer.reservation_id or None,
        denomination=Denomination(answer.denomination),
        estimate=answer.estimate,
        remaining=answer.remaining,
        decided_at=answer.decided_at,
        expires_at=answer.expires_at,
        replayed=answer.replayed,
        hold_state=answer.hold_state or None,
        task=None if task is None else _task(asked.task_ref or "", task),
        as_of=AsOf(**to_plain(answer.fresh)),
    )


def told_change(ask: OpenAsk, answer: rpc.ReleaseAnswer, now_us: int) -> AnsweredChange:
    """The answer to a release or an extension."""
    decided = answer.committed
    return AnsweredChange(
        **_place(ask.partition, ask.offset, now_us),
        customer_id=ask.customer_id,
        reservation_id=answer.reservation_id,
        decided=decided,
        state=answer.state if decided else None,
        changed=answer.changed if decided else None,
        released=answer.released if decided else None,
        expires_at=answer.expires_at or None if decided else None,
        as_of=AsOf(**to_plain(answer.fresh)),
    )


def told_problem(ask: OpenAsk, code: str, detail: str, now_us: int) -> AnsweredProblem:
    """The answer to an ask that was not decided."""
    asked = ask.asked
    names: dict[str, Any] = {"customer_id": asked.customer_id}
    if isinstance(asked, AskedPreflight):
        names |= {"source": asked.source, "idempotency_key": asked.idempotency_key}
    if isinstance(asked, AskedRelease | AskedExtension):
        names["reservation_id"] = asked.reservation_id
    return AnsweredProblem(
        **_place(ask.partition, ask.offset, now_us), code=code, detail=detail, **names
    )


def told_refusal(partition: int, offset: int, fault: RejectError, now_us: int) -> AnsweredProblem:
    """The answer to a record that is no ask."""
    return AnsweredProblem(
        **_place(partition, offset, now_us),
        code=fault.code.value,
        detail=fault.reason,
        field=fault.field,
    )


def answer_key(key: bytes | None) -> bytes:
    """Under which key a record that is no ask is answered: its own, where that can be a customer's
    id, else none."""
    return key if key is not None and len(key) <= ID_BYTES_MAX else b""


def _place(partition: int, offset: int, now_us: int) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "ask_partition": partition,
        "ask_offset": offset,
        "answered_at": now_us,
    }


def _task(task_ref: str, task: rpc.PreflightAnswer) -> TaskAnswered:
    return TaskAnswered(
        task_ref=task_ref,
        reservation_id=task.reservation_id or None,
        approved=task.approved,
        reason=task.reason or None,
        ceiling=task.ceiling,
        used=task.used,
        remaining=task.remaining,
    )
