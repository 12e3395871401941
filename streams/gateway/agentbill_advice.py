"""AgentBill's `/checkpoint`, `/step` and `/budget`: advice, from what stands. Holds nothing."""

from typing import Final
from weakref import WeakKeyDictionary

from schemas import rpc
from schemas.envelope import SCHEMA_VERSION
from schemas.structs import Usage
from schemas.topics import USAGE
from streams.gateway import agentbill_told as told
from streams.gateway.accounts import look_up
from streams.gateway.agentbill_bodies import CUSTOMER_DEFAULT, CheckpointBody, StepBody, read
from streams.gateway.agentbill_usage import SOURCE, encoded
from streams.gateway.asking import Asking
from streams.gateway.replies import Response, json_response
from streams.gateway.routes import Request
from streams.gateway.services import Services
from streams.gateway.steps import Baselines
from streams.gateway.validation import check_account

_baselines: Final[WeakKeyDictionary[Asking, Baselines]] = WeakKeyDictionary()
"""Of each gateway of the process, found by the one thing that it alone has."""


async def post_checkpoint(services: Services, request: Request) -> Response:
    """Whether a run may go on, having used so much that is not recorded yet. Decides nothing.

    What the agent's own holds set aside is the run's own money.
    """
    body = read(CheckpointBody, request.body)
    request.caller.require_customer(body.customer_id)
    account = await look_up(services, rpc.LookupAsk("customer", body.customer_id, holds=True))
    left = told.customer_remaining(account, "unit", body.agent_id)
    own = sum(
        int(hold.open)
        for hold in account.holds
        if hold.denomination == "unit" and hold.agent_id == body.agent_id
    )
    reason = None
    if body.ceiling is not None and body.units_so_far > body.ceiling:
        reason = "ceiling_exceeded"
    elif left is not None and body.units_so_far > left + own:
        reason = "budget_exhausted"
    fields = {
        "approved": reason is None,
        "reason": reason,
        "units_so_far": body.units_so_far,
        "remaining_units": left,
    }
    return json_response(200, fields)


async def post_step(services: Services, request: Request) -> Response:
    """Keeps a step of a run, without charging it, and compares it with those before."""
    body = read(StepBody, request.body)
    request.caller.require_customer(body.customer_id)
    usage = Usage(
        schema_version=SCHEMA_VERSION,
        event_id=services.new_id(),
        source=f"{SOURCE}-step",
        customer_id=body.customer_id,
        agent_id=body.agent_id,
        metadata={"step": body.step_name, "step_units": body.units},
    )
    [place] = await services.asking.append(
        USAGE.name, [(body.customer_id.encode(), encoded(usage))]
    )
    baselines = _baselines.setdefault(services.asking, Baselines())
    judgement = baselines.judge(body.customer_id, body.agent_id, body.step_name, body.units)
    fields = {
        "recorded": place is not None,
        "anomaly": judgement.anomaly,
        "baseline_units": judgement.baseline,
        "deviation_pct": judgement.deviation_percent,
    }
    return json_response(200, fields)


async def get_budget(services: Services, request: Request) -> Response:
    """What a customer has left in units, and whether a preflight for one would be refused."""
    named = request.query.get("customer_id", "") or CUSTOMER_DEFAULT
    customer_id = check_account("customer_id", named)
    request.caller.require_customer(customer_id)
    account = await look_up(services, rpc.LookupAsk("customer", customer_id))
    return json_response(200, told.told_budget(customer_id, account))
