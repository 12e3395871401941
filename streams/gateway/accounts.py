"""`/v1/customers` and `/v1/tasks`: what is left, what is held, and the facts of administration."""

from functools import partial
from typing import Final

import schemas.rpc as rpc
from schemas.money import format_amount, parse_amount, parse_signed_amount
from schemas.topics import BUDGETS
from streams.gateway import told
from streams.gateway.asking import problem_of
from streams.gateway.bodies import parse_object
from streams.gateway.messages import (
    SOURCE,
    AdministeredTold,
    BudgetTold,
    CeilingBody,
    GrantBody,
    HoldsTold,
    LimitBody,
    TaskTold,
)
from streams.gateway.ports import Scope
from streams.gateway.preflights import JSON, OWNER_PROBLEMS
from streams.gateway.problems import ProblemError
from streams.gateway.replies import Response, json_response
from streams.gateway.routes import Described, Request, Route
from streams.gateway.services import Services
from streams.gateway.validation import budget_record, check_account, refused


async def get_budget(services: Services, request: Request) -> Response:
    """What a customer has left, as of its last committed cycle and the holds since."""
    return json_response(200, told.budget(await _customer(services, request, with_holds=False)))


async def get_holds(services: Services, request: Request) -> Response:
    """The open holds of a customer."""
    account = await _customer(services, request, with_holds=True)
    return json_response(
        200,
        {
            "customer_id": account.account_id,
            "holds": told.holds(account),
            "as_of": account.fresh,
        },
    )


async def _customer(services: Services, request: Request, with_holds: bool) -> rpc.AccountAnswer:
    customer_id = check_account("customer_id", request.params["customer_id"])
    request.caller.require_customer(customer_id)
    return await look_up(services, rpc.LookupAsk("customer", customer_id, with_holds))


async def look_up(services: Services, ask: rpc.LookupAsk) -> rpc.AccountAnswer:
    """How an account stands. Raises ProblemError where its owner cannot say."""
    answer = await services.asking.ask(ask, services.decision_seconds)
    if isinstance(answer, rpc.AccountAnswer):
        return answer
    if isinstance(answer, rpc.ErrorAnswer):
        raise problem_of(answer)
    raise ProblemError("internal", "an owner gave an answer of another kind than asked for")


async def get_task(services: Services, request: Request) -> Response:
    """How a task stands."""
    request.caller.require_unbound()
    task_ref = check_account("task_ref", request.params["task_ref"])
    account = await look_up(services, rpc.LookupAsk("task", task_ref, holds=True))
    task = account.task
    if not account.known or task is None:
        raise ProblemError("not_found", "no call has named this task and it has no ceiling")
    # Decimal texts of any denomination are subtracted exactly on the scale of money.
    ceiling, used = parse_amount(task.ceiling), parse_signed_amount(task.used)
    left = max(ceiling - used - parse_signed_amount(task.held), 0)
    return json_response(200, told.task(account, task, format_amount(left), used > ceiling))


async def post_grant(services: Services, request: Request) -> Response:
    """An allowance. Its event id is required: the same one twice grants once."""
    return await _administer(services, request, "grant", None)


async def put_limit(services: Services, request: Request) -> Response:
    """The limit of a customer or of one of its agents, from now on."""
    return await _administer(services, request, "limit", services.new_id())


async def _administer(
    services: Services, request: Request, kind: str, event_id: str | None
) -> Response:
    customer_id = check_account("customer_id", request.params["customer_id"])
    request.caller.require_customer(customer_id)
    return await _append(services, request, kind, "customer", customer_id, event_id)


async def put_ceiling(services: Services, request: Request) -> Response:
    """The ceiling of a task, whether a call has named it yet or not."""
    request.caller.require_unbound()
    task_ref = check_account("task_ref", request.params["task_ref"])
    return await _append(services, request, "ceiling", "task", task_ref, services.new_id())


async def _append(
    services: Services,
    request: Request,
    kind: str,
    account_kind: rpc.AccountKind,
    account_id: str,
    event_id: str | None,
) -> Response:
    event_id, value = budget_record(kind, account_id, event_id, parse_object(request.body), SOURCE)
    recorded = await services.asking.record(
        BUDGETS.name, account_id, value, services.record_seconds, account_kind
    )
    answer = recorded.decided
    if answer is not None and answer.status == "refused":
        raise refused(answer.code, answer.reason, answer.field)
    return json_response(202 if answer is None else 200, told.administered(recorded, event_id))


_lookup: Final = partial(Route, "GET", scope=Scope.READ)
_LOOKUP_PROBLEMS: Final = (*OWNER_PROBLEMS, "invalid_field")

_administration: Final = partial(
    Route,
    scope=Scope.ADMIN,
    answers={
        200: Described("Decided", AdministeredTold),
        202: Described("In the log, not yet decided", AdministeredTold),
    },
    problems=(
        *("malformed", "empty", "too_deep", "unknown_field", "invalid_field"),
        *("refused", "conflict", "customer_not_allowed", "log_unavailable"),
    ),
)

ROUTES: Final = (
    _lookup(
        "/v1/customers/{customer_id}/budget",
        get_budget,
        name="getBudget",
        summary="What a customer has left",
        answers={200: Described("The budget", BudgetTold)},
        problems=_LOOKUP_PROBLEMS,
    ),
    _lookup(
        "/v1/customers/{customer_id}/holds",
        get_holds,
        name="getHolds",
        summary="The open holds of a customer",
        answers={200: Described("The holds", HoldsTold)},
        problems=_LOOKUP_PROBLEMS,
    ),
    _administration(
        "POST",
        "/v1/customers/{customer_id}/grants",
        post_grant,
        name="postGrant",
        summary="Grant units, tokens or dollars",
        accepts={JSON: GrantBody},
    ),
    _administration(
        "PUT",
        "/v1/customers/{customer_id}/limits",
        put_limit,
        name="putLimit",
        summary="Limit a customer or one of its agents",
        accepts={JSON: LimitBody},
    ),
    _lookup(
        "/v1/tasks/{task_ref}",
        get_task,
        name="getTask",
        summary="How a task stands",
        answers={200: Described("The task", TaskTold)},
        problems=(*_LOOKUP_PROBLEMS, "not_found"),
    ),
    _administration(
        "PUT",
        "/v1/tasks/{task_ref}/ceiling",
        put_ceiling,
        name="putCeiling",
        summary="Set or change the ceiling of a task",
        accepts={JSON: CeilingBody},
    ),
)
