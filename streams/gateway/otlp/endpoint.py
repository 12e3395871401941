"""`POST …/v1/traces`: an OTLP exporter's spans, in protobuf or JSON, under any prefix.

Answered once everything that the spans say is in the log; what was not acknowledged is asked for
again (503), since a repeat counts once. A span that cannot be is refused alone.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from streams.gateway.otlp import answers, json_form, protobuf
from streams.gateway.otlp.limits import (
    BODY_BYTES_MAX,
    KEYLESS_BYTES_MAX,
    SPANS_PER_TURN,
)
from streams.gateway.otlp.memory import Memory, memory_of
from streams.gateway.otlp.reading import Reading, Taken
from streams.gateway.otlp.records import Outgoing
from streams.gateway.ports import Scope
from streams.gateway.problems import ProblemError
from streams.gateway.replies import Response
from streams.gateway.routes import Described, Headers, KeyInBody, Request, Route
from streams.gateway.services import Services
from streams.metrics import GATEWAY_APPENDED, GATEWAY_PROBLEMS


class PartialSuccess(BaseModel):
    """How many spans were refused, and why. None refused and a message is a warning."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    rejectedSpans: str = "0"  # noqa: N815 - the protocol's names
    errorMessage: str = ""  # noqa: N815


class TracesTold(BaseModel):
    """`ExportTraceServiceResponse`."""

    model_config = ConfigDict(frozen=True)

    partialSuccess: PartialSuccess | None = None  # noqa: N815


async def post_traces(services: Services, request: Request) -> Response:
    """The spans of one export."""
    as_json = answers.is_json(request.headers, request.body)
    form = json_form if as_json else protobuf
    memory = memory_of(services.asking)
    reading = Reading(request.caller, memory.holding)
    for number, span in enumerate(form.read(request.body), 1):
        reading.add(span)
        if not number % SPANS_PER_TURN:
            await asyncio.sleep(0)
    for number, seen in enumerate(reading.spans(), 1):
        reading.take(seen)
        if not number % SPANS_PER_TURN:
            await asyncio.sleep(0)
    taken = reading.taken
    await _append(services, memory, taken)
    if taken.refused:
        services.metrics.add(GATEWAY_PROBLEMS, "refused", by=len(taken.refused))
    return answers.success(taken, as_json=as_json)


async def _append(services: Services, memory: Memory, taken: Taken) -> None:
    """Appends everything. Raises ProblemError where something is not acknowledged."""
    bindings = {
        place: record for place, record in taken.bindings.items() if place not in memory.bound
    }
    by_topic: dict[str, list[Outgoing]] = {}
    for record in (*taken.records, *bindings.values()):
        by_topic.setdefault(record.topic, []).append(record)
    acknowledged = await asyncio.gather(
        *(_append_to(services, topic, records) for topic, records in by_topic.items())
    )
    if not all(acknowledged):
        raise ProblemError(
            "log_unavailable",
            "the log did not acknowledge all of it; send the spans again: each counts once",
        )
    memory.bound.remember(bindings)


async def _append_to(services: Services, topic: str, records: Sequence[Outgoing]) -> bool:
    """Whether all of these stand in the log now."""
    places = await services.asking.append(topic, [(each.key, each.value) for each in records])
    stand = sum(place is not None for place in places)
    services.metrics.add(GATEWAY_APPENDED, topic, by=stand)
    return stand == len(records)


def key_inside(headers: Headers, body: bytes) -> str | None:
    """The key in the resources of a request that carries none in its headers. Raises ProblemError
    where they name different ones, or the body cannot be read."""
    form = json_form if answers.is_json(headers, body) else protobuf
    found = form.read_keys(body)
    if len(found) > 1:
        raise ProblemError("unauthorized", "the resources of one request name different keys")
    return found[0] or None if found else None


_PROBLEMS: Final = (
    *("malformed", "empty", "too_many_items", "customer_not_allowed", "log_unavailable"),
)

JSON_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"resourceSpans": {"type": "array", "items": {"type": "object"}}},
    "examples": [
        {
            "resourceSpans": [
                {
                    "resource": {
                        "attributes": [
                            {"key": "external_customer_id", "value": {"stringValue": "acme"}}
                        ]
                    },
                    "scopeSpans": [
                        {
                            "scope": {"name": "my-agent"},
                            "spans": [
                                {
                                    "traceId": "5b8efff798038103d269b633813fc60c",
                                    "spanId": "eee19b7ec3c1b174",
                                    "name": "chat gpt-4o-mini",
                                    "startTimeUnixNano": "1795188701540000332",
                                    "endTimeUnixNano": "1795188701564789474",
                                    "attributes": [
                                        {
                                            "key": "gen_ai.provider.name",
                                            "value": {"stringValue": "openai"},
                                        },
                                        {
                                            "key": "gen_ai.response.model",
                                            "value": {"stringValue": "gpt-4o-mini"},
                                        },
                                        {
                                            "key": "gen_ai.usage.input_tokens",
                                            "value": {"intValue": "1200"},
                                        },
                                    ],
                                }
                            ],
                        }
                    ],
                }
            ]
        }
    ],
}
"""A request in JSON, for the description."""


def _route(path: str, name: str) -> Route:
    return Route(
        "POST",
        path,
        post_traces,
        Scope.INGEST,
        name=name,
        summary="Export spans over OTLP/HTTP: usage and signals of any OpenTelemetry exporter",
        group="otlp",
        accepts={
            protobuf.MEDIA_TYPE: {"type": "string", "format": "binary"},
            json_form.MEDIA_TYPE: JSON_SCHEMA,
        },
        answers={
            200: Described(
                "In the log, but for spans that `partialSuccess` counts",
                TracesTold,
                also=(protobuf.MEDIA_TYPE,),
            )
        },
        problems=_PROBLEMS,
        body_bytes_max=BODY_BYTES_MAX,
        key_in_body=KeyInBody(key_inside, KEYLESS_BYTES_MAX),
        refuse_to=answers.refuse,
    )


ROUTES: Final = (
    _route("/v1/traces", "exportTraces"),
    _route("/{prefix*}/v1/traces", "exportTracesUnderPrefix"),
)
"""The protocol, for the application and the description of it."""
