"""`POST /v1/autohive/results`: what an integration's runner serialised, as usage into the log.

The reading of a result is that of `schemas.client.autohive`. What an action returned beside its
cost is dropped here: it reaches neither the log nor a problem.
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal

from pydantic import ConfigDict

from schemas.client.autohive import Run, Taken, usage_of_item
from schemas.client.errors import NotAResultError
from schemas.client.events import ready
from schemas.errors import RejectError
from streams.gateway.bodies import split_items
from streams.gateway.decimals import NumberText, parse_numbers
from streams.gateway.events import (
    EVENTS_BYTES_MAX,
    JSON,
    Item,
    answer_by_item,
    append_items,
    item_result,
    not_acknowledged,
)
from streams.gateway.messages import ItemTold, Sent, Told
from streams.gateway.ports import AuthError, Caller, Scope
from streams.gateway.problems import ProblemError
from streams.gateway.replies import Response
from streams.gateway.routes import Described, Request, Route
from streams.gateway.services import Services
from streams.gateway.validation import rejected
from streams.metrics import GATEWAY_PROBLEMS

RESULTS_MAX: Final = 250
"""Results of one request. Each takes four times the work of an event that is appended as it came,
and nothing else is answered meanwhile."""


class RunnerResult(Sent):
    """The runner's output, as it is. Only the type and `result.cost_usd` are kept."""

    model_config = ConfigDict(extra="allow")

    type: Literal["action", "action_error", "validation_error", "error"]
    result: dict[str, Any]
    version: str | None = None


class ResultBody(Run):
    """A result, and what it does not say itself."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "customer_id": "acme",
                    "integration": "exa",
                    "action": "search",
                    "run_id": "run-77",
                    "result": {
                        "version": "2.0.0",
                        "type": "action",
                        "result": {"data": {}, "cost_usd": 0.015},
                    },
                }
            ]
        }
    )

    result: RunnerResult


class WarningTold(Told):
    """Something to look at, that kept nothing from being recorded."""

    code: Literal["cost_missing", "billing_not_declared"]
    text: str


class ResultTold(ItemTold):
    """What became of one result. `rounded`: its cost had more than twelve decimals."""

    rounded: bool = False
    warnings: tuple[WarningTold, ...] = ()


class ResultsTold(Told):
    """Results by item, in the order in which they were sent."""

    accepted: int
    refused: int
    unavailable: int
    items: list[ResultTold]


async def post_results(services: Services, request: Request) -> Response:
    """One result or up to RESULTS_MAX: told item by item, in their order."""
    parts, is_array = split_items(request.body, RESULTS_MAX)
    read = [_read(part, request.caller) for part in parts]
    items = [item for item, _ in read]
    places = await append_items(services, items)
    if not is_array:
        if isinstance(items[0], ProblemError):
            raise items[0]
        if places[0] is None:
            raise not_acknowledged()
    results = []
    for index, ((item, taken), place) in enumerate(zip(read, places, strict=True)):
        if isinstance(item, ProblemError):
            services.metrics.add(GATEWAY_PROBLEMS, item.code)
        results.append(item_result(index, item, place) | _flags(taken))
    return answer_by_item(results)


def _read(part: bytes, caller: Caller) -> tuple[Item, Taken | None]:
    try:
        taken = usage_of_item(_with_exact_cost(parse_numbers(part)))
        record = ready(taken.usage)
        caller.require_customer(taken.usage.customer_id)
    except ProblemError as problem:
        return problem, None
    except RejectError as fault:
        return rejected(fault), None
    except NotAResultError as fault:
        return ProblemError("invalid_field", fault.message, field=fault.field), None
    except AuthError as error:
        return ProblemError(error.code, error.message, field="customer_id"), None
    return (record.topic, taken.usage.customer_id, record.value, record.event_id), taken


def _with_exact_cost(item: dict[str, Any]) -> dict[str, Any]:
    """The item with the numbers named `cost_usd` as decimals of exactly their text."""
    told = item.get("result")
    if not isinstance(told, Mapping):
        return item
    told = _exact(told)
    if isinstance(told.get("result"), Mapping):
        told["result"] = _exact(told["result"])
    return item | {"result": told}


def _exact(fields: Mapping[str, Any]) -> dict[str, Any]:
    cost = fields.get("cost_usd")
    if not isinstance(cost, NumberText):
        return dict(fields)
    try:
        return {**fields, "cost_usd": Decimal(cost.text)}
    except InvalidOperation:
        # An exponent beyond everything: refused where costs are read.
        return {**fields, "cost_usd": Decimal("NaN")}


def _flags(taken: Taken | None) -> dict[str, Any]:
    if taken is None:
        return {}
    warnings = [{"code": one.code, "text": one.text} for one in taken.warnings]
    return {"rounded": taken.rounded, "warnings": warnings}


ROUTES: Final = (
    Route(
        "POST",
        "/v1/autohive/results",
        post_results,
        Scope.INGEST,
        name="postAutohiveResults",
        summary="Append what Autohive integrations used: one result, or up to 250",
        group="autohive",
        accepts={JSON: {"anyOf": [ResultBody, [ResultBody]]}},
        answers={
            202: Described("All of them are in the log", ResultsTold),
            207: Described("Some of them are in the log", ResultsTold),
        },
        problems=(
            *("malformed", "empty", "unknown_field", "invalid_field", "too_many_items"),
            *("too_deep", "refused", "customer_not_allowed", "log_unavailable"),
        ),
        body_bytes_max=EVENTS_BYTES_MAX,
    ),
)
"""The protocol, for the application and the description of it."""
