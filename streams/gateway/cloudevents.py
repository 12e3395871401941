"""CloudEvents 1.0 over HTTP (structured, batched, binary) as records of the inbound topics.

| attribute | becomes |
|---|---|
| `type` | `tollgate.usage` or `tollgate.signal`: the topic |
| `id`, `source` | `event_id`, `source`: the identity |
| `subject` | `customer_id`, where `data` names none |
| `time` | `occurred_at`, where `data` names none; cut to microseconds |

`data` holds the other fields of the record. Other attributes are passed over, as the specification
wants it.
"""

import contextlib
import re
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from schemas import codec
from schemas.envelope import SCHEMA_VERSION
from schemas.topics import SIGNALS, USAGE
from streams.gateway.bodies import parse_object
from streams.gateway.problems import ProblemError
from streams.gateway.routes import Headers

STRUCTURED: Final = "application/cloudevents+json"
BATCHED: Final = "application/cloudevents-batch+json"
BINARY_HEADER: Final = "ce-specversion"
"""Its presence is what makes a request one in binary mode."""

TYPES: Final = {"tollgate.usage": USAGE.name, "tollgate.signal": SIGNALS.name}
"""Types that are taken, and the topics they are for."""

SCHEMA: Final = {
    "type": "object",
    "required": ["specversion", "id", "source", "type", "data"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string"},
        "source": {"type": "string"},
        "type": {"enum": list(TYPES)},
        "subject": {"type": "string"},
        "time": {"type": "string", "format": "date-time"},
        "data": {"type": "object"},
    },
    "examples": [
        {
            "specversion": "1.0",
            "id": "call-0001",
            "source": "/bots/support",
            "type": "tollgate.usage",
            "subject": "acme",
            "data": {"units": 1},
        }
    ],
}
"""An event in structured mode, for the description."""

_TOO_FINE: Final = re.compile(r"(\.[0-9]{6})[0-9]+(?=Z|[+-])")
_ATTRIBUTES: Final = ("specversion", "id", "source", "type", "subject", "time")


def from_structured(body: bytes) -> tuple[str, bytes]:
    """The topic and the record of one event in structured mode. Raises ProblemError."""
    event = parse_object(body)
    if "data_base64" in event:
        raise ProblemError("invalid_field", "data_base64: send `data`", field="data_base64")
    return _record(event, event.get("data"))


def from_binary(headers: Headers, body: bytes) -> tuple[str, bytes]:
    """The topic and the record of one event in binary mode. Raises ProblemError."""
    event = {name: headers[f"ce-{name}"] for name in _ATTRIBUTES if f"ce-{name}" in headers}
    return _record({name: _unquoted(text) for name, text in event.items()}, parse_object(body))


def _unquoted(text: str) -> str:
    """A header's value: percent-encoded UTF-8, as the HTTP binding says."""
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise ProblemError("invalid_field", "a ce- header is not UTF-8") from None


def _record(event: dict[str, Any], content: object) -> tuple[str, bytes]:
    if event.get("specversion") != "1.0":
        raise ProblemError(
            "invalid_field", "specversion: CloudEvents 1.0 is taken", field="specversion"
        )
    kind = event.get("type")
    topic = TYPES.get(kind) if isinstance(kind, str) else None
    if topic is None:
        raise ProblemError("invalid_field", f"type: one of {', '.join(TYPES)}", field="type")
    if not isinstance(content, dict):
        raise ProblemError("invalid_field", "data: an object is expected", field="data")
    record = {"schema_version": SCHEMA_VERSION, **content}
    _put(record, "event_id", event.get("id"), "id")
    _put(record, "source", event.get("source"), "source")
    if event.get("subject") is not None:
        record.setdefault("customer_id", event["subject"])
    if event.get("time") is not None and record.get("occurred_at") is None:
        record["occurred_at"] = _cut(event["time"])
    with contextlib.suppress(ValueError, OverflowError):
        return topic, codec.encode(record)
    raise ProblemError("malformed", "a number or a text that no record can hold")


def _put(record: dict[str, Any], field: str, value: object, attribute: str) -> None:
    """Identity comes from the envelope; `data` may repeat it, not contradict it."""
    if value is None:
        raise ProblemError(
            "invalid_field", f"{attribute}: the attribute is missing", field=attribute
        )
    if record.get(field, value) != value:
        raise ProblemError(
            "invalid_field", f"data.{field}: differs from the attribute {attribute}", field=field
        )
    record[field] = value


def _cut(time: object) -> object:
    return _TOO_FINE.sub(r"\1", time) if isinstance(time, str) else time
