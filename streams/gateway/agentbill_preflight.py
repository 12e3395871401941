"""AgentBill's `/preflight`: may this call be made?"""

import asyncio
from typing import Final

from schemas import rpc
from schemas.money import format_amount
from streams.gateway import agentbill_told as told
from streams.gateway.agentbill_bodies import PreflightBody, read
from streams.gateway.agentbill_usage import SOURCE
from streams.gateway.asking import problem_of
from streams.gateway.decimals import asked_amount, asked_dollars_or_count, pico_of
from streams.gateway.problems import ProblemError, problem_headers
from streams.gateway.replies import Response, json_response
from streams.gateway.routes import Request
from streams.gateway.services import Services

ESTIMATE_DEFAULT_PICO_USD: Final = 10**11
"""Ten cents: what a call on a job in dollars holds before the job's own calls say better."""


async def post_preflight(services: Services, request: Request) -> Response:
    """Decides a call before it is made. Refusals are answered with status 200."""
    body = read(PreflightBody, request.body)
    request.caller.require_customer(body.customer_id)
    key = body.idempotency_key or services.new_id()
    deadline = asyncio.get_running_loop().time() + services.decision_seconds
    try:
        return await _decide(services, body, key, _denomination(body), deadline)
    except ProblemError as problem:
        if problem.code == "unknown_outcome" and body.idempotency_key is not None:
            message = f"the preflight {key!r} is still being decided; ask again with the same key"
            fields = {"error": "preflight_in_progress", "message": message}
            return json_response(409, fields, problem_headers(problem))
        if problem.code != "task_unit_mismatch" or body.unit is not None or body.task_ref is None:
            raise
        # Who names no unit means the job's own.
        task = (await _job(services, body.task_ref, deadline)).task
        if task is None or not task.denomination or _in_dollars(body):
            raise
        return await _decide(services, body, key, task.denomination, deadline)


def _in_dollars(body: PreflightBody) -> bool:
    return body.task_ceiling_usd is not None or body.estimated_usd is not None


def _denomination(body: PreflightBody) -> str:
    if not _in_dollars(body):
        return body.unit or "unit"
    if body.unit not in (None, "usd"):
        raise ProblemError("invalid_field", "unit: a figure in dollars means usd", field="unit")
    return "usd"


async def _decide(
    services: Services, body: PreflightBody, key: str, denomination: str, deadline: float
) -> Response:
    estimate, estimate_source = await _estimate(services, body, denomination, deadline)
    task_ceiling = asked_dollars_or_count(denomination, body.task_ceiling_usd, body.task_ceiling)
    ask = rpc.PreflightAsk(
        account_kind="customer",
        account_id=body.customer_id,
        source=SOURCE,
        idempotency_key=key,
        denomination=denomination,
        estimate=estimate,
        agent_id=body.agent_id,
        task_ref=body.task_ref,
        ceiling=None if body.ceiling is None else asked_amount(denomination, body.ceiling),
        task_ceiling=task_ceiling,
    )
    decision = await services.asking.preflight(ask, _left(deadline))
    dollars = (body.task_ceiling_usd, body.estimated_usd)
    return told.told_preflight(
        decision,
        task_ref=body.task_ref,
        ceiling=body.ceiling,
        estimate_source=estimate_source,
        rounded=any(figure is not None and figure.rounded for figure in dollars),
        upgrade_url=services.upgrade_url,
    )


async def _estimate(
    services: Services, body: PreflightBody, denomination: str, deadline: float
) -> tuple[str | None, str]:
    """What the call is to hold, and whose estimate that is.

    With a key of the caller's own it follows from the body alone: asked again, it must be the same.
    """
    estimate = asked_dollars_or_count(denomination, body.estimated_usd, body.estimated_units)
    if estimate is not None or denomination != "usd":
        return estimate, "caller"
    if body.idempotency_key is None and body.task_ref is not None:
        account = await _job(services, body.task_ref, deadline)
        task = account.task
        if task is not None and task.denomination == "usd" and account.events:
            mean = pico_of(task.used) // account.events
            if mean > 0:
                return format_amount(mean), "job_mean"
    return format_amount(ESTIMATE_DEFAULT_PICO_USD), "default"


async def _job(services: Services, task_ref: str, deadline: float) -> rpc.AccountAnswer:
    answer = await services.asking.ask(rpc.LookupAsk("task", task_ref), _left(deadline))
    if isinstance(answer, rpc.AccountAnswer):
        return answer
    assert isinstance(answer, rpc.ErrorAnswer), "a look-up is answered by an account"
    raise problem_of(answer)


def _left(deadline: float) -> float:
    """The seconds that all steps of a preflight share; the client gives up after five."""
    return max(0.0, deadline - asyncio.get_running_loop().time())
