"""AgentBill's `/events`: what a call used, answered from its committed entry (R1)."""

import asyncio
from typing import Any, Final

from schemas import rpc
from schemas.topics import USAGE
from streams.gateway import agentbill_told as told
from streams.gateway.agentbill_bodies import EventBody, read
from streams.gateway.agentbill_usage import counts_tokens, encoded, usage_of
from streams.gateway.decimals import told_count
from streams.gateway.exhausted import was_spent_before
from streams.gateway.problems import ProblemError
from streams.gateway.replies import Response, json_response
from streams.gateway.routes import Request
from streams.gateway.services import Services

LOOKUP_SECONDS: Final = 1.0
"""For the look at a job before its event is appended. With `RECORD_SECONDS` and the wait for the
job it stays below the 5 s after which these clients give up."""

TASK_COUNTED_SECONDS: Final = 0.4
"""How long the answer to an event waits for its job to have counted it: the job may live in another
partition, whose cycle follows that of the customer."""

TASK_LOOK_SECONDS: Final = 0.02
"""Between two looks at the job meanwhile."""


async def post_event(services: Services, request: Request) -> Response:
    """Records what a call used, and settles or releases its reservation."""
    body = read(EventBody, request.body)
    request.caller.require_customer(body.customer_id)
    job = None
    if body.task_ref is not None:
        job = await _job(services, body)
    denomination = None if job is None or job.task is None else job.task.denomination or None
    usage = usage_of(body, denomination)
    recorded = await services.asking.record(
        USAGE.name, body.customer_id, encoded(usage), services.record_seconds
    )
    counted = denomination or ("token" if counts_tokens(body, None) else "unit")
    answer = recorded.decided
    if answer is None:
        return _undecided(body)
    if answer.status == "duplicate" or (answer.status == "refused" and answer.code == "conflict"):
        # A conflict too: `wrap()` reads this as a reused response id and records under another key.
        fields = {
            "event_id": None,
            "status": "duplicate_ignored",
            "customer_created": False,
            "customer_remaining_units": told.remaining(answer.account, counted),
        }
        return json_response(200, fields)
    if answer.status == "refused":
        raise ProblemError("refused", f"{answer.code}: {answer.reason}", field=answer.field)
    if body.success and was_spent_before(answer, usage):
        message = f"Customer {body.customer_id!r} had no budget left; the event was recorded."
        fields = {
            "error": "budget_exhausted",
            "message": message,
            "customer_id": body.customer_id,
        }
        return json_response(402, fields)
    return await _told_event(services, body, job, counted, answer)


async def _job(services: Services, body: EventBody) -> rpc.AccountAnswer | None:
    """How the job of an event stands before it; None where that is neither known nor needed.

    Which tokens or units an event means follows from its job, unless it reports its tokens.
    """
    assert body.task_ref is not None, "asked only for an event with a job"
    answer = await services.asking.ask(rpc.LookupAsk("task", body.task_ref), LOOKUP_SECONDS)
    if isinstance(answer, rpc.AccountAnswer):
        return answer
    if counts_tokens(body, None) or not body.success:
        return None
    raise ProblemError(
        "unavailable", "what the job counts is not known just now; send the same event again"
    )


def _undecided(body: EventBody) -> Response:
    fields: dict[str, Any] = {
        "event_id": None,
        "status": "recorded" if body.success else "released",
        "customer_created": False,
        "customer_remaining_units": None,
        "decided": False,
    }
    if body.task_ref is not None and body.success:
        fields |= told.task_figures(None)
    return json_response(200, fields)


async def _told_event(
    services: Services,
    body: EventBody,
    job: rpc.AccountAnswer | None,
    counted: str,
    answer: rpc.RecordAnswer,
) -> Response:
    entry = answer.entry or rpc.EntryTold("", "usage")
    fields: dict[str, Any] = {"customer_created": entry.customer_created}
    if body.success:
        fields |= {
            "event_id": entry.entry_id,
            "status": "recorded",
            "customer_remaining_units": told.remaining(answer.account, counted),
        }
        if body.task_ref is not None:
            fields |= told.task_figures(await _counted(services, body.task_ref, job))
    else:
        fields["status"] = "released"
    if body.reservation_id is not None:
        kind = entry.denomination or counted
        fields["reservation_status"] = entry.settlement or "not_found"
        fields["reservation_released_units"] = told_count(kind, entry.released)
    return json_response(200, fields)


async def _counted(
    services: Services, task_ref: str, before: rpc.AccountAnswer | None
) -> rpc.TaskTold | None:
    """How a job stands once it has counted an event; None where it has not in time, or has no
    ceiling.

    The job lives in its own partition and counts an event a cycle after the customer did. That it
    has counted one more than before is told from its committed state, never guessed.
    """
    if before is None:
        return None
    try:
        async with asyncio.timeout(TASK_COUNTED_SECONDS):
            while True:
                ask = rpc.LookupAsk("task", task_ref)
                now = await services.asking.ask(ask, TASK_COUNTED_SECONDS)
                if isinstance(now, rpc.AccountAnswer) and now.events > before.events:
                    return now.task if now.task is not None and now.task.denomination else None
                await asyncio.sleep(TASK_LOOK_SECONDS)
    except TimeoutError:
        return None
