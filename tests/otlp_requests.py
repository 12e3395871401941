"""Exports of spans for tests: from recordings and by hand, in both forms of OTLP.

A recorded span is a flat dict, as the recordings under tests/clients/recordings have it: `resource`
and `attributes` as plain values, ids in base64 or hex.
"""

import base64
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

RECORDINGS: Final = Path(__file__).parent / "clients" / "recordings"
TRACE: Final = "5b8efff798038103d269b633813fc60c"
SPAN: Final = "eee19b7ec3c1b174"
ENDED_NS: Final = 1_795_188_701_564_789_474

PROTOBUF: Final = {"content-type": "application/x-protobuf"}
JSON: Final = {"content-type": "application/json"}

STATUSES: Final = {"STATUS_CODE_UNSET": 0, "STATUS_CODE_OK": 1, "STATUS_CODE_ERROR": 2}

Recorded = Mapping[str, Any]


def hex_id(text: str | None) -> str:
    """An id of a recording in hex, "" for none."""
    if not text:
        return ""
    if len(text) in (16, 32) and not text.endswith("="):
        return text
    return base64.b64decode(text).hex()


def recorded_exports(name: str) -> list[list[Recorded]]:
    """The spans of every export in a recording, export by export."""
    lines = (RECORDINGS / name).read_text(encoding="utf-8").splitlines()
    requests = [json.loads(line) for line in lines]
    return [each["body"] for each in requests if each["path"].endswith("/v1/traces")]


def span(
    attributes: Mapping[str, Any],
    *,
    span_id: str = SPAN,
    parent: str | None = None,
    trace_id: str = TRACE,
    name: str = "chat",
    scope: tuple[str, str] = ("", ""),
    resource: Mapping[str, Any] | None = None,
    failed: bool = False,
    customer: str | None = "acme",
) -> dict[str, Any]:
    """A span as a recording would have it. `customer` None names nobody."""
    named = {} if customer is None else {"external_customer_id": customer}
    return {
        "resource": dict(resource or {}),
        "scope": {"name": scope[0], "version": scope[1]},
        "name": name,
        "traceId": trace_id,
        "spanId": span_id,
        "parentSpanId": parent,
        "start": str(ENDED_NS - 10**9),
        "end": str(ENDED_NS),
        "status": {"code": "STATUS_CODE_ERROR" if failed else "STATUS_CODE_OK"},
        "attributes": {**named, **attributes},
    }


def as_protobuf(spans: Iterable[Recorded]) -> bytes:
    """The export in protobuf."""
    message = ExportTraceServiceRequest()
    for each in spans:
        resource_spans = message.resource_spans.add()
        for key, value in each["resource"].items():
            _set(resource_spans.resource.attributes.add(), key, value)
        scope_spans = resource_spans.scope_spans.add()
        scope_spans.scope.name = each["scope"]["name"]
        scope_spans.scope.version = each["scope"].get("version", "")
        made = scope_spans.spans.add()
        made.name = each["name"]
        made.trace_id = bytes.fromhex(hex_id(each["traceId"]))
        made.span_id = bytes.fromhex(hex_id(each["spanId"]))
        made.parent_span_id = bytes.fromhex(hex_id(each["parentSpanId"]))
        made.start_time_unix_nano = int(each["start"])
        made.end_time_unix_nano = int(each["end"])
        made.status.code = STATUSES[each["status"].get("code", "STATUS_CODE_UNSET")]
        for key, value in each["attributes"].items():
            _set(made.attributes.add(), key, value)
    encoded: bytes = message.SerializeToString()
    return encoded


def _set(attribute: Any, key: str, value: Any) -> None:
    attribute.key = key
    _fill(attribute.value, value)


def _fill(place: AnyValue, value: Any) -> None:
    if isinstance(value, bool):
        place.bool_value = value
    elif isinstance(value, int):
        place.int_value = value
    elif isinstance(value, float):
        place.double_value = value
    elif isinstance(value, list):
        place.array_value.SetInParent()
        for each in value:
            _fill(place.array_value.values.add(), each)
    else:
        place.string_value = value


def as_json(spans: Iterable[Recorded]) -> bytes:
    """The export in JSON, as OTLP maps it: ids in hex, numbers of 64 bits as texts."""
    return json.dumps({"resourceSpans": [_resource_spans(each) for each in spans]}).encode()


def _resource_spans(each: Recorded) -> dict[str, Any]:
    made = {
        "name": each["name"],
        "traceId": hex_id(each["traceId"]),
        "spanId": hex_id(each["spanId"]),
        "kind": 1,
        "startTimeUnixNano": each["start"],
        "endTimeUnixNano": each["end"],
        "status": {"code": STATUSES[each["status"].get("code", "STATUS_CODE_UNSET")]},
        "attributes": _attributes(each["attributes"]),
        "events": [],
        "droppedAttributesCount": 0,
    }
    if each["parentSpanId"]:
        made["parentSpanId"] = hex_id(each["parentSpanId"])
    return {
        "resource": {"attributes": _attributes(each["resource"])},
        "scopeSpans": [{"scope": each["scope"], "spans": [made]}],
    }


def _attributes(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _json_value(value)} for key, value in attributes.items()]


def _json_value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_json_value(each) for each in value]}}
    return {"stringValue": value}
