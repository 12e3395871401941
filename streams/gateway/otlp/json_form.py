"""OTLP in JSON: the mapping of proto3 with ids in hex, unknown fields passed over.

Numbers may be JSON numbers or their texts, enumerations numbers or names, as lenient receivers take
them. What has another type than its field is refused with the whole request, as protobuf does it.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

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

MEDIA_TYPE: Final = "application/json"

UINT64_MAX: Final = 2**64 - 1
INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1
DIGITS_MAX: Final = 20
"""Of any number of 64 bits."""

_TRACE: Final = re.compile(r"(?!0{32})[0-9a-fA-F]{32}")
_SPAN: Final = re.compile(r"(?!0{16})[0-9a-fA-F]{16}")
_NO_SPAN: Final = "0" * 16
_WHOLE: Final = re.compile(r"-?[0-9]{1,20}")
_ERRORS: Final = (2, "2", "STATUS_CODE_ERROR")

Fields = Mapping[str, Any]


def read(body: bytes) -> Iterator[Span]:
    """The spans of a request, one after the other. Raises ProblemError (empty, malformed,
    too_many_items)."""
    resources = _parsed(body)
    scopes = sum(len(_list(each, "scopeSpans")) for each in resources)
    if scopes > SCOPES_MAX:
        raise ProblemError("too_many_items", f"one request may have {SCOPES_MAX} scopes")
    spans = sum(
        len(_list(scope, "spans")) for each in resources for scope in _list(each, "scopeSpans")
    )
    if spans > SPANS_MAX:
        raise ProblemError("too_many_items", f"one request may have {SPANS_MAX} spans")
    for resource_spans in resources:
        resource, fault = _attributes(_list(_object(resource_spans, "resource")))
        for scope_spans in _list(resource_spans, "scopeSpans"):
            named = _object(scope_spans, "scope")
            scope = (_text(named, "name"), _text(named, "version"))
            for span in _list(scope_spans, "spans"):
                yield _span(span, scope, resource, fault)


def read_keys(body: bytes) -> list[str]:
    """The keys in the resources of a request, each once. Raises ProblemError."""
    return _keys(_parsed(body))


def _parsed(body: bytes) -> Sequence[Fields]:
    if not body.strip():
        raise ProblemError("empty", "there is no body")
    try:
        parsed = json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "not JSON in UTF-8"
        raise ProblemError("malformed", f"not JSON: {reason}") from None
    if not isinstance(parsed, dict):
        raise ProblemError("malformed", "not a JSON object")
    resources = _list(parsed, "resourceSpans")
    if len(resources) > RESOURCES_MAX:
        raise ProblemError("too_many_items", f"one request may have {RESOURCES_MAX} resources")
    return resources


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _wrong(field: str, expected: str) -> ProblemError:
    return ProblemError("malformed", f"{field}: {expected} is expected", field=field)


def _object(fields: Fields, name: str) -> Fields:
    found = fields.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise _wrong(name, "an object")
    return found


def _list(fields: Fields, name: str = "attributes") -> Sequence[Fields]:
    found = fields.get(name)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise _wrong(name, "an array of objects")
    return found


def _text(fields: Fields, name: str) -> str:
    found = fields.get(name)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise _wrong(name, "a text")
    return found


def _keys(resources: Sequence[Fields]) -> list[str]:
    found: dict[str, None] = {}
    for resource_spans in resources:
        for attribute in _list(_object(resource_spans, "resource"))[:ATTRIBUTES_MAX]:
            if attribute.get("key") == API_KEY:
                found[_text(_object(attribute, "value"), "stringValue")] = None
    return list(found)


def _span(span: Fields, scope: tuple[str, str], resource: dict[str, Value], fault: str) -> Span:
    held, span_fault = _attributes(_list(span))
    trace_id, span_id = _text(span, "traceId"), _text(span, "spanId")
    parent = _text(span, "parentSpanId")
    if not _TRACE.fullmatch(trace_id):
        span_fault = "traceId: 16 bytes, not all of them zero, are expected"
    elif not _SPAN.fullmatch(span_id):
        span_fault = "spanId: 8 bytes, not all of them zero, are expected"
    elif parent not in ("", _NO_SPAN) and not _SPAN.fullmatch(parent):
        span_fault = "parentSpanId: 8 bytes or none are expected"
    return Span(
        trace_id=trace_id.lower(),
        span_id=span_id.lower(),
        parent_span_id=None if parent in ("", _NO_SPAN) else parent.lower(),
        name=_text(span, "name"),
        started_ns=_whole(span, "startTimeUnixNano", 0, UINT64_MAX),
        ended_ns=_whole(span, "endTimeUnixNano", 0, UINT64_MAX),
        failed=_object(span, "status").get("code") in _ERRORS,
        scope=scope,
        attributes=held,
        resource=resource,
        fault=span_fault or fault,
    )


def _attributes(attributes: Sequence[Fields]) -> tuple[dict[str, Value], str]:
    """Those on the allow list, and what is wrong with them."""
    if len(attributes) > ATTRIBUTES_MAX:
        return dict(NO_ATTRIBUTES), f"a span or resource may have {ATTRIBUTES_MAX} attributes"
    held: dict[str, Value] = {}
    for attribute in attributes:
        name = _text(attribute, "key")
        if is_kept(name):
            value = kept_value(name, _value(_object(attribute, "value"), VALUE_DEPTH_MAX))
            if value is not None:
                held[name] = value
    return held, ""


def _value(value: Fields, depth: int) -> Value | None:
    if "stringValue" in value:
        return _text(value, "stringValue")
    if "intValue" in value:
        return _whole(value, "intValue", INT64_MIN, INT64_MAX)
    if "boolValue" in value:
        if not isinstance(value["boolValue"], bool):
            raise _wrong("boolValue", "a boolean")
        return value["boolValue"]
    if "doubleValue" in value:
        return _double(value["doubleValue"])
    if "arrayValue" in value and depth:
        each = _list(_object(value, "arrayValue"), "values")[:VALUES_MAX]
        return list_text([_value(one, depth - 1) for one in each])
    return None


def _whole(fields: Fields, name: str, least: int, most: int) -> int:
    found = fields.get(name)
    if found is None:
        return 0
    is_text = isinstance(found, str) and _WHOLE.fullmatch(found)
    if is_text or (isinstance(found, float) and found.is_integer()):
        found = int(found)
    if type(found) is not int or not least <= found <= most:
        raise _wrong(name, "a whole number of 64 bits")
    return found


def _double(found: object) -> float:
    if isinstance(found, str) and found in ("NaN", "Infinity", "-Infinity"):
        return float(found)
    if isinstance(found, str) and len(found) <= 2 * DIGITS_MAX:
        try:
            return float(found)
        except ValueError:
            raise _wrong("doubleValue", "a number") from None
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise _wrong("doubleValue", "a number")
    try:
        return float(found)
    except OverflowError:
        raise _wrong("doubleValue", "a number") from None
