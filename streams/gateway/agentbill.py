"""AgentBill's protocol: `/preflight`, `/events`, `/tasks`, `/checkpoint`, `/step`, `/budget`.

Its clients work unmodified: field names, codes and refusals at HTTP 200 are theirs
(docs/agentbill.md). The endpoints translate to asks and usage facts and back, and decide nothing.
"""

from functools import partial
from typing import Final

from streams.gateway.agentbill_advice import get_budget, post_checkpoint, post_step
from streams.gateway.agentbill_bodies import (
    BudgetTold,
    CeilingBody,
    CheckpointBody,
    CheckpointTold,
    ErrorTold,
    EventBody,
    EventTold,
    PreflightBody,
    PreflightTold,
    StepBody,
    StepTold,
    TaskTold,
)
from streams.gateway.agentbill_events import post_event
from streams.gateway.agentbill_jobs import get_task, put_ceiling
from streams.gateway.agentbill_preflight import post_preflight
from streams.gateway.ports import Scope
from streams.gateway.problems import ProblemError, problem_headers
from streams.gateway.replies import Response, json_response
from streams.gateway.routes import Described, Parameter, Route


def refuse(problem: ProblemError) -> Response:
    """A problem in AgentBill's form.

    409 means "still being decided" to its clients, which try again; what contradicts what is there
    is 422 to them.
    """
    status = 422 if problem.status == 409 else problem.status
    return json_response(
        status, {"error": problem.code, "message": problem.detail}, problem_headers(problem)
    )


_BAD_BODY: Final = ("malformed", "empty", "too_deep", "invalid_field", "customer_not_allowed")
_NOT_NOW: Final = ("not_mine", "not_ready", "lagging", "unknown_outcome", "overloaded")
_route: Final = partial(Route, group="agentbill", refuse=refuse)
"""All of the protocol say their problems in its own form."""


def _problem(description: str) -> Described:
    return Described(description, ErrorTold)


ROUTES: Final = (
    _route(
        "POST",
        "/preflight",
        post_preflight,
        Scope.PREFLIGHT,
        name="agentbillPreflight",
        summary="May this call be made?",
        accepts={"application/json": PreflightBody},
        answers={
            200: Described("Approved or refused", PreflightTold),
            409: _problem("A preflight with this key is still being decided"),
            422: _problem("The first call of a job without a ceiling, another unit, another body"),
        },
        problems=(*_BAD_BODY, *_NOT_NOW),
    ),
    _route(
        "POST",
        "/events",
        post_event,
        Scope.INGEST,
        name="agentbillEvent",
        summary="What a call used",
        accepts={"application/json": EventBody},
        answers={
            200: Described("Recorded, released, or known already", EventTold),
            402: _problem("Recorded; the balance was spent before"),
        },
        problems=(*_BAD_BODY, *_NOT_NOW, "refused", "log_unavailable", "unavailable"),
    ),
    _route(
        "PUT",
        "/tasks/{task_ref*}/ceiling",
        put_ceiling,
        Scope.ADMIN,
        name="agentbillCeiling",
        summary="Opens a job, or changes its ceiling",
        accepts={"application/json": CeilingBody},
        answers={200: Described("The job", TaskTold)},
        problems=(
            *(*_BAD_BODY, *_NOT_NOW, "refused", "log_unavailable", "unavailable"),
            *("task_unit_mismatch", "not_found"),
        ),
    ),
    _route(
        "GET",
        "/tasks/{task_ref*}",
        get_task,
        Scope.READ,
        name="agentbillTask",
        summary="How a job stands",
        answers={200: Described("The job", TaskTold)},
        problems=(*_NOT_NOW, "not_found", "invalid_field", "customer_not_allowed"),
    ),
    _route(
        "POST",
        "/checkpoint",
        post_checkpoint,
        Scope.READ,
        name="agentbillCheckpoint",
        summary="May the run go on?",
        accepts={"application/json": CheckpointBody},
        answers={200: Described("Advice", CheckpointTold)},
        problems=(*_BAD_BODY, *_NOT_NOW),
    ),
    _route(
        "POST",
        "/step",
        post_step,
        Scope.INGEST,
        name="agentbillStep",
        summary="What one step of a run used",
        accepts={"application/json": StepBody},
        answers={200: Described("Advice", StepTold)},
        problems=(*_BAD_BODY, "log_unavailable"),
    ),
    _route(
        "GET",
        "/budget",
        get_budget,
        Scope.READ,
        name="agentbillBudget",
        summary="What a customer has left in units",
        answers={200: Described("The budget", BudgetTold)},
        problems=(*_NOT_NOW, "invalid_field", "bad_query", "customer_not_allowed"),
        parameters=(Parameter("customer_id", "query", "Whose; `default` where it is missing"),),
    ),
)
"""The protocol, for the application and the description of it."""
