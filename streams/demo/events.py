"""A call of the trace as a usage record, written as a stranger would write it.

Plain JSON by the public contract, without any code of the pipeline but the partitioner (which is
Kafka's own). Which records are sent, and in which order, is `sequence`.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any

from schemas.partitioner import partition_of
from streams.demo.customers import customer_of
from streams.demo.trace import Call

SOURCE = "azure-llm-trace-2023"


class Outcome(StrEnum):
    """What must become of a record on a home that has not seen it before, dead letters apart."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    DEAD_LETTER = "dead_letter"


@dataclass(frozen=True, slots=True)
class DemoRecord:
    """A Kafka record and what must become of it; `code` is that of the dead letter or empty."""

    key: bytes | None
    value: bytes | None
    partition: int
    outcome: Outcome
    code: str = ""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a demo run sends. `day` is the UTC day to which the calls' times of day are moved."""

    day: date
    customers: int
    partitions: int


def usage_body(call: Call, scenario: Scenario) -> dict[str, Any]:
    """A call as a usage record, version 1: one unit, its tokens; the cost is left to the book."""
    customer_id = customer_of(call.event_id, scenario.customers)
    minute = call.time_of_day[:5]
    # Calls of one customer's agent within a minute count as one piece of work, so that there are
    # traces of one call and of many.
    trace = hashlib.blake2b(
        f"{customer_id}/{call.service.agent_id}/{minute}".encode(), digest_size=16
    ).hexdigest()
    return {
        "schema_version": 1,
        "event_id": call.event_id,
        "source": SOURCE,
        "customer_id": customer_id,
        "occurred_at": f"{scenario.day.isoformat()}T{call.time_of_day}Z",
        "agent_id": call.service.agent_id,
        "trace_id": trace,
        "provider": call.service.provider,
        "model": call.service.model,
        "units": 1,
        "tokens": {"input": call.context_tokens, "output": call.generated_tokens},
    }


def encode_body(body: dict[str, Any]) -> bytes:
    """Compact JSON."""
    return json.dumps(body, separators=(",", ":")).encode()


def keyed_record(body: dict[str, Any], scenario: Scenario, outcome: Outcome) -> DemoRecord:
    """A record under its customer's key, on the partition that belongs to the key."""
    key = str(body["customer_id"]).encode()
    code = "conflict" if outcome is Outcome.DEAD_LETTER else ""
    return DemoRecord(key, encode_body(body), partition_of(key, scenario.partitions), outcome, code)
