"""`POST /v1/events` and `POST /v1/records`: usage and signals into the log.

Events are answered once they are in the log (202); a record is answered from its committed entry
(R1). The bytes appended are those that the client sent, once the codec has found nothing wrong.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from schemas.signal import Signal
from schemas.topics import SIGNALS, USAGE
from schemas.usage import Usage
from streams.gateway import cloudevents, told
from streams.gateway.bodies import split_items
from streams.gateway.messages import EventsTold, RecordTold
from streams.gateway.ports import Appended, AuthError, Caller, Scope
from streams.gateway.problems import ProblemError
from streams.gateway.replies import Response, json_response
from streams.gateway.routes import Described, Parameter, Request, Route
from streams.gateway.services import Services
from streams.gateway.validation import check_record, refused
from streams.metrics import GATEWAY_APPENDED, GATEWAY_PROBLEMS

EVENTS_MAX: Final = 1_000
"""Events of one request. They are validated and appended together, 20 ms of work during which
nothing else is answered."""

EVENTS_BYTES_MAX: Final = 4 * 1024 * 1024
"""The body of such a request: 1,000 events of ten times the usual size."""

KINDS: Final = {"usage": USAGE.name, "signal": SIGNALS.name}
"""Values of the query parameter `type`, and the topics they are for."""

JSON: Final = "application/json"

Item = tuple[str, str, bytes, str] | ProblemError
"""An event that may be appended (topic, customer, bytes, event id), or what is wrong with it."""


async def post_events(services: Services, request: Request) -> Response:
    """One event or up to 1,000: results by event, in their order."""
    items, several = _items(request)
    checked = [_checked(item, request.caller) for item in items]
    places = await append_items(services, checked)
    if not several:
        return _single(checked[0], places[0])
    for item in checked:
        if isinstance(item, ProblemError):
            services.metrics.add(GATEWAY_PROBLEMS, item.code)
    results = [
        item_result(index, item, place)
        for index, (item, place) in enumerate(zip(checked, places, strict=True))
    ]
    return answer_by_item(results)


def _items(request: Request) -> tuple[Sequence[tuple[str, bytes] | ProblemError], bool]:
    """The topic and bytes of each event in a request, and whether it is a batch."""
    media_type = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
    if media_type == cloudevents.STRUCTURED:
        return [cloudevents.from_structured(request.body)], False
    if media_type == cloudevents.BATCHED:
        parts, is_array = split_items(request.body, EVENTS_MAX)
        if not is_array:
            raise ProblemError("malformed", "a batch is a JSON array")
        return [_tried_structured(part) for part in parts], True
    if cloudevents.BINARY_HEADER in request.headers:
        return [cloudevents.from_binary(request.headers, request.body)], False
    kind = request.query.get("type", "usage")
    if kind not in KINDS:
        raise ProblemError("bad_query", f"type: one of {', '.join(KINDS)}", field="type")
    parts, is_array = split_items(request.body, EVENTS_MAX)
    return [(KINDS[kind], part) for part in parts], is_array


def _tried_structured(part: bytes) -> tuple[str, bytes] | ProblemError:
    try:
        return cloudevents.from_structured(part)
    except ProblemError as problem:
        return problem


def _checked(item: tuple[str, bytes] | ProblemError, caller: Caller) -> Item:
    if isinstance(item, ProblemError):
        return item
    topic, value = item
    try:
        body = check_record(topic, value).body
        caller.require_customer(body.customer_id)
    except ProblemError as problem:
        return problem
    except AuthError as error:
        return ProblemError(error.code, error.message, field="customer_id")
    return topic, body.customer_id, value, body.event_id


async def append_items(services: Services, items: Sequence[Item]) -> list[Appended | None]:
    """Appends. Where each event stands now, None for one that was refused or whose append is not
    known."""
    places: list[Appended | None] = [None] * len(items)
    for topic in KINDS.values():
        chosen = [
            (index, item[1].encode(), item[2])
            for index, item in enumerate(items)
            if not isinstance(item, ProblemError) and item[0] == topic
        ]
        if not chosen:
            continue
        results = await services.asking.append(topic, [(key, value) for _, key, value in chosen])
        for (index, _, _), place in zip(chosen, results, strict=True):
            places[index] = place
        services.metrics.add(
            GATEWAY_APPENDED, topic, by=sum(place is not None for place in results)
        )
    return places


def not_acknowledged() -> ProblemError:
    """The problem of an event that may or may not be in the log."""
    return ProblemError(
        "log_unavailable", "the log did not acknowledge the event; send it again with the same id"
    )


def _single(item: Item, place: Appended | None) -> Response:
    if isinstance(item, ProblemError):
        raise item
    if place is None:
        raise not_acknowledged()
    return answer_by_item([item_result(0, item, place)])


def item_result(index: int, item: Item, place: Appended | None) -> dict[str, Any]:
    """The fields of an `ItemTold`."""
    if isinstance(item, ProblemError) or place is None:
        problem = item if isinstance(item, ProblemError) else not_acknowledged()
        return {
            "index": index,
            "status": "refused" if problem is item else "unavailable",
            "code": problem.code,
            "detail": problem.detail,
            "field": problem.field or None,
        }
    return {
        "index": index,
        "status": "accepted",
        "event_id": item[3],
        "topic": place.topic,
        "partition": place.partition,
        "offset": place.offset,
    }


def answer_by_item(results: Sequence[Mapping[str, Any]]) -> Response:
    """202 where all are in the log, 207 where some are; else a problem that lists them all."""
    counts = {
        status: sum(result["status"] == status for result in results)
        for status in ("accepted", "refused", "unavailable")
    }
    answer = {**counts, "items": results}
    if counts["accepted"]:
        return json_response(202 if counts["accepted"] == len(results) else 207, answer)
    if counts["unavailable"]:
        raise ProblemError(
            "log_unavailable", "no event is known to be in the log; send them again", extra=answer
        )
    raise ProblemError("refused", "every event was refused; `items` say why", extra=answer)


async def post_record(services: Services, request: Request) -> Response:
    """One usage record, answered with what is left."""
    item = _checked((USAGE.name, request.body), request.caller)
    if isinstance(item, ProblemError):
        raise item
    topic, customer_id, value, _ = item
    seconds = services.record_seconds
    if request.wait_seconds is not None:
        seconds = min(seconds, request.wait_seconds)
    recorded = await services.asking.record(topic, customer_id, value, seconds)
    answer = recorded.decided
    if answer is not None and answer.status == "refused":
        raise refused(answer.code, answer.reason, answer.field)
    return json_response(202 if answer is None else 200, told.record(recorded))


EXAMPLE: Final = {
    "schema_version": 1,
    "event_id": "call-0001",
    "source": "support-bot",
    "customer_id": "acme",
    "units": 1,
}

ROUTES: Final = (
    Route(
        "POST",
        "/v1/events",
        post_events,
        Scope.INGEST,
        name="postEvents",
        summary="Append usage or signals: one, or up to 1,000",
        accepts={
            JSON: {"anyOf": [Usage, Signal, [Usage], [Signal]], "examples": [[EXAMPLE]]},
            cloudevents.STRUCTURED: cloudevents.SCHEMA,
            cloudevents.BATCHED: {"type": "array", "items": cloudevents.SCHEMA},
        },
        answers={
            202: Described("All of them are in the log", EventsTold),
            207: Described("Some of them are in the log", EventsTold),
        },
        problems=(
            *("malformed", "empty", "unknown_version", "unknown_field", "invalid_field"),
            *("too_many_items", "too_deep", "refused", "customer_not_allowed", "log_unavailable"),
        ),
        parameters=(
            Parameter("type", "query", "What plain JSON holds: `usage` (default) or `signal`"),
        ),
        body_bytes_max=EVENTS_BYTES_MAX,
    ),
    Route(
        "POST",
        "/v1/records",
        post_record,
        Scope.INGEST,
        name="postRecord",
        summary="Append one usage record and answer from its committed entry",
        accepts={JSON: Usage},
        answers={
            200: Described("Decided", RecordTold),
            202: Described("In the log, not yet decided", RecordTold),
        },
        problems=(
            *("malformed", "empty", "unknown_version", "unknown_field", "invalid_field"),
            *("refused", "conflict", "customer_not_allowed", "log_unavailable"),
        ),
        parameters=(
            Parameter("prefer", "header", "`wait=N`: answer within N seconds, decided or not"),
        ),
    ),
)
