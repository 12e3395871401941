"""AgentBill's `/tasks`: jobs and their ceilings."""

from schemas import codec, rpc
from schemas.budget import Denomination
from schemas.envelope import SCHEMA_VERSION
from schemas.structs import Ceiling
from schemas.topics import BUDGETS
from streams.gateway import agentbill_told as told
from streams.gateway.accounts import look_up
from streams.gateway.agentbill_bodies import CeilingBody, read
from streams.gateway.agentbill_usage import SOURCE
from streams.gateway.decimals import asked_dollars_or_count
from streams.gateway.problems import ProblemError
from streams.gateway.replies import Response
from streams.gateway.routes import Request
from streams.gateway.services import Services
from streams.gateway.validation import check_account


async def get_task(services: Services, request: Request) -> Response:
    """How a job stands."""
    request.caller.require_unbound()
    task_ref = check_account("task_ref", request.params["task_ref"])
    account = await look_up(services, rpc.LookupAsk("task", task_ref))
    return _told_task(task_ref, account)


def _told_task(task_ref: str, account: rpc.AccountAnswer) -> Response:
    task = account.task
    if task is None or not task.denomination:
        raise ProblemError("not_found", f"no job {task_ref!r} with a ceiling")
    return told.told_task(task_ref, task)


async def put_ceiling(services: Services, request: Request) -> Response:
    """Opens a job with a ceiling, or changes that of one that exists."""
    request.caller.require_unbound()
    task_ref = check_account("task_ref", request.params["task_ref"])
    body = read(CeilingBody, request.body)
    if (body.ceiling_units is None) == (body.ceiling_usd is None):
        raise ProblemError(
            "invalid_field", "send either ceiling_units or ceiling_usd", field="ceiling_units"
        )
    denomination: str | None = "usd" if body.ceiling_usd is not None else body.unit
    if denomination is None:
        task = (await look_up(services, rpc.LookupAsk("task", task_ref))).task
        denomination = (task.denomination if task is not None else "") or "unit"
    amount = asked_dollars_or_count(denomination, body.ceiling_usd, body.ceiling_units)
    assert amount is not None, "one of both was sent"
    fact = Ceiling(
        schema_version=SCHEMA_VERSION,
        event_id=services.new_id(),
        source=SOURCE,
        customer_id=task_ref,
        denomination=Denomination(denomination),
        amount=amount,
    )
    recorded = await services.asking.record(
        BUDGETS.name, task_ref, codec.encode(fact), services.record_seconds, "task"
    )
    answer = recorded.decided
    if answer is not None and answer.status == "refused":
        if answer.code == "unit_mismatch":
            raise ProblemError("task_unit_mismatch", answer.reason, field="unit")
        raise ProblemError("refused", f"{answer.code}: {answer.reason}", field=answer.field)
    if answer is None or answer.account is None:
        raise ProblemError("unavailable", "the ceiling is in the log and will count in a moment")
    return _told_task(task_ref, answer.account)
