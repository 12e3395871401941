"""OTLP in protobuf: requests read into spans, answers written.

The published package of OpenTelemetry reads the bytes. The one message that is not in it, the
`google.rpc.Status` of a refusal, has two fields and is written here.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from streams.gateway.otlp.limits import (
    ATTRIBUTES_MAX,
    RESOURCES_MAX,
    SCOPES_MAX,
    SPANS_MAX,
    VALUE_DEPTH_MAX,
    VALUES_MAX,
)
from streams.gateway.otlp.spans import API_KEY, NO_ATTRIBUTES, Span, Value, is_kept
from streams.gateway.otlp.values import kept_value, list_text
from streams.gateway.problems import ProblemError

MEDIA_TYPE: Final = "application/x-protobuf"

TRACE_BYTES: Final = 16
SPAN_BYTES: Final = 8
NO_TRACE: Final = bytes(TRACE_BYTES)
NO_SPAN: Final = bytes(SPAN_BYTES)
ERROR: Final = 2
"""The status code of a span that failed."""


def read(body: bytes) -> Iterator[Span]:
    """The spans of a request, one after the other. Raises ProblemError (malformed,
    too_many_items)."""
    message = _parsed(body)
    _check_sizes(message)
    for resource_spans in message.resource_spans:
        resource, resource_fault = _attributes(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            named = scope_spans.scope
            scope = (named.name, named.version)
            for span in scope_spans.spans:
                yield _span(span, scope, resource, resource_fault)


def read_keys(body: bytes) -> list[str]:
    """The keys in the resources of a request, each once. Raises ProblemError."""
    return _keys(_parsed(body))


def _parsed(body: bytes) -> Any:
    try:
        return ExportTraceServiceRequest.FromString(body)
    except DecodeError:
        raise ProblemError("malformed", "not an ExportTraceServiceRequest in protobuf") from None


def _check_sizes(message: Any) -> None:
    if len(message.resource_spans) > RESOURCES_MAX:
        raise ProblemError("too_many_items", f"one request may have {RESOURCES_MAX} resources")
    scopes = sum(len(each.scope_spans) for each in message.resource_spans)
    if scopes > SCOPES_MAX:
        raise ProblemError("too_many_items", f"one request may have {SCOPES_MAX} scopes")
    spans = sum(len(scope.spans) for each in message.resource_spans for scope in each.scope_spans)
    if spans > SPANS_MAX:
        raise ProblemError("too_many_items", f"one request may have {SPANS_MAX} spans")


def _keys(message: Any) -> list[str]:
    found = {
        attribute.value.string_value: None
        for resource_spans in message.resource_spans[:RESOURCES_MAX]
        for attribute in resource_spans.resource.attributes[:ATTRIBUTES_MAX]
        if attribute.key == API_KEY
    }
    return list(found)


def _span(span: Any, scope: tuple[str, str], resource: dict[str, Value], fault: str) -> Span:
    held, span_fault = _attributes(span.attributes)
    trace_id, span_id, parent = span.trace_id, span.span_id, span.parent_span_id
    if len(trace_id) != TRACE_BYTES or trace_id == NO_TRACE:
        span_fault = "traceId: 16 bytes, not all of them zero, are expected"
    elif len(span_id) != SPAN_BYTES or span_id == NO_SPAN:
        span_fault = "spanId: 8 bytes, not all of them zero, are expected"
    elif parent and len(parent) != SPAN_BYTES:
        span_fault = "parentSpanId: 8 bytes or none are expected"
    return Span(
        trace_id=trace_id.hex(),
        span_id=span_id.hex(),
        parent_span_id=parent.hex() if parent and parent != NO_SPAN else None,
        name=span.name,
        started_ns=span.start_time_unix_nano,
        ended_ns=span.end_time_unix_nano,
        failed=span.status.code == ERROR,
        scope=scope,
        attributes=held,
        resource=resource,
        fault=span_fault or fault,
    )


def _attributes(attributes: Sequence[Any]) -> tuple[dict[str, Value], str]:
    """Those on the allow list, and what is wrong with them."""
    if len(attributes) > ATTRIBUTES_MAX:
        return dict(NO_ATTRIBUTES), f"a span or resource may have {ATTRIBUTES_MAX} attributes"
    held: dict[str, Value] = {}
    for attribute in attributes:
        name = attribute.key
        if is_kept(name):
            value = kept_value(name, _value(attribute.value, VALUE_DEPTH_MAX))
            if value is not None:
                held[name] = value
    return held, ""


def _value(value: Any, depth: int) -> Value | None:
    kind = value.WhichOneof("value")
    if kind == "string_value":
        text: str = value.string_value
        return text
    if kind == "int_value":
        whole: int = value.int_value
        return whole
    if kind == "bool_value":
        return bool(value.bool_value)
    if kind == "double_value":
        number: float = value.double_value
        return number
    if kind == "array_value" and depth:
        values = value.array_value.values[:VALUES_MAX]
        return list_text([_value(each, depth - 1) for each in values])
    return None


def success(rejected: int, message: str) -> bytes:
    """The answer to a request that was taken, all of it or all but `rejected` spans."""
    answer = ExportTraceServiceResponse()
    if rejected or message:
        answer.partial_success.rejected_spans = rejected
        answer.partial_success.error_message = message
    encoded: bytes = answer.SerializeToString()
    return encoded


def status(code: int, message: str) -> bytes:
    """A `google.rpc.Status`: its `code` (field 1) and `message` (field 2)."""
    text = message.encode("utf-8", "replace")
    return bytes([0x08, *_varint(code), 0x12, *_varint(len(text))]) + text


def _varint(number: int) -> Iterable[int]:
    while number > 0x7F:
        yield number & 0x7F | 0x80
        number >>= 7
    yield number
