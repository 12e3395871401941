"""`/v1/preflights`: may this be spent, give it back, hold it longer."""

from typing import Final

import schemas.rpc as rpc
from streams.gateway import told
from streams.gateway.asks import change, preflight_ask
from streams.gateway.messages import (
    ExtendBody,
    HoldChange,
    PreflightBody,
    PreflightTold,
    ReleaseBody,
)
from streams.gateway.ports import Scope
from streams.gateway.replies import Response, json_response
from streams.gateway.routes import Described, Request, Route
from streams.gateway.services import Services
from streams.gateway.validation import check_account, parse_body

JSON: Final = "application/json"
OWNER_PROBLEMS: Final = (
    *("not_mine", "not_ready", "lagging", "unknown_outcome", "overloaded", "customer_not_allowed"),
)
"""Codes of every route that asks an owner."""

_BODY_PROBLEMS: Final = ("malformed", "empty", "too_deep", "unknown_field", "invalid_field")


async def post_preflight(services: Services, request: Request) -> Response:
    """A decision: approved and held, or refused with its reason; 200 either way."""
    body = parse_body(PreflightBody, request.body)
    request.caller.require_customer(body.customer_id)
    made = await services.asking.preflight(preflight_ask(body), services.decision_seconds)
    return json_response(200, told.decision(made, body.task_ref))


async def post_release(services: Services, request: Request) -> Response:
    """Gives a hold back, nothing charged."""
    body = parse_body(ReleaseBody, request.body)
    request.caller.require_customer(body.customer_id)
    ask = rpc.ReleaseAsk(
        account_kind="customer",
        account_id=body.customer_id,
        reservation_id=_reservation(request),
    )
    return await _change(services, ask)


async def post_extend(services: Services, request: Request) -> Response:
    """Holds on for longer."""
    body = parse_body(ExtendBody, request.body)
    request.caller.require_customer(body.customer_id)
    ask = rpc.ExtendAsk(
        account_kind="customer",
        account_id=body.customer_id,
        reservation_id=_reservation(request),
        ttl_ms=body.ttl_seconds * 1000,
    )
    return await _change(services, ask)


def _reservation(request: Request) -> str:
    return check_account("reservation_id", request.params["reservation_id"])


async def _change(services: Services, ask: rpc.ReleaseAsk | rpc.ExtendAsk) -> Response:
    answer = await change(services.asking, ask, services.decision_seconds)
    return json_response(200 if answer.committed else 202, told.hold_change(answer))


ROUTES: Final = (
    Route(
        "POST",
        "/v1/preflights",
        post_preflight,
        Scope.PREFLIGHT,
        name="postPreflight",
        summary="May this be spent? An approval holds the estimate",
        accepts={JSON: PreflightBody},
        answers={200: Described("Decided: approved or refused", PreflightTold)},
        problems=(
            *_BODY_PROBLEMS,
            *OWNER_PROBLEMS,
            *("conflict", "too_many_holds", "task_ceiling_required", "task_unit_mismatch"),
        ),
    ),
    Route(
        "POST",
        "/v1/preflights/{reservation_id}/release",
        post_release,
        Scope.PREFLIGHT,
        name="releasePreflight",
        summary="Give a hold back before it was used",
        accepts={JSON: ReleaseBody},
        answers={
            200: Described("What became of it", HoldChange),
            202: Described("In the log, not yet decided", HoldChange),
        },
        problems=(*_BODY_PROBLEMS, *OWNER_PROBLEMS, "not_found"),
    ),
    Route(
        "POST",
        "/v1/preflights/{reservation_id}/extend",
        post_extend,
        Scope.PREFLIGHT,
        name="extendPreflight",
        summary="Hold for longer, never shorter",
        accepts={JSON: ExtendBody},
        answers={
            200: Described("What became of it", HoldChange),
            202: Described("In the log, not yet decided", HoldChange),
        },
        problems=(*_BODY_PROBLEMS, *OWNER_PROBLEMS, "not_found"),
    ),
)
