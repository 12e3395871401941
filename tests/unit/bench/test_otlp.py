"""The benchmark of OTLP finds what a gateway loses, doubles or gets wrong."""

import json
from typing import Any

import pytest

from streams.bench import otlp
from streams.gateway.otlp import ROUTES
from tests.gateway_fakes import KEY, World
from tests.otlp_requests import JSON, PROTOBUF

NOW_US = 1_795_188_701_564_789
EXPORTS = 3


async def exported(form: str, numbers: range) -> list[tuple[str, bytes, bytes]]:
    """The records of these exports."""
    world = World(ROUTES)
    template, media_type, place = otlp._template(form, NOW_US)
    headers = PROTOBUF if form == "protobuf" else JSON
    assert headers["content-type"] == media_type
    for number in numbers:
        body = template.replace(place, otlp._numbered(form, number))
        answer = await world.call("POST", "/v1/traces", body, headers)
        assert (answer.status, answer.body) == (200, b"" if form == "protobuf" else b"{}")
    return world.inbound.records


def stood(records: list[tuple[str, bytes, bytes]]) -> otlp.Stood:
    found = otlp.Stood()
    takes: dict[str, Any] = {
        "usage": found.take_usage,
        "signals": found.take_signal,
        "unassigned": found.take_binding,
    }
    for topic, key, value in records:
        takes[topic](0, key, value, 0)
    return found


@pytest.mark.parametrize("form", otlp.FORMS)
async def test_what_a_gateway_does_right_is_right(form: str) -> None:
    records = await exported(form, range(EXPORTS))
    assert stood(records).miscounted(EXPORTS) == 0
    assert KEY.encode() not in b"".join(value for _, _, value in records)


async def test_both_forms_ask_for_the_same() -> None:
    assert await exported("protobuf", range(1)) == await exported("json", range(1))


@pytest.mark.parametrize("topic", ["usage", "signals", "unassigned"])
async def test_what_is_lost_doubled_or_wrong_is_found(topic: str) -> None:
    records = await exported("protobuf", range(1))
    at = next(index for index, record in enumerate(records) if record[0] == topic)
    assert stood(records[:at] + records[at + 1 :]).miscounted(1)
    assert stood([*records, records[at]]).miscounted(1)
    assert stood([*records[:at], records[at], *records[at:][2:]]).miscounted(1)
    told = json.loads(records[at][2])
    spoilt = told | {"tokens": {"input": 1}, "cost_tracing": False, "customer_id": "other"}
    wrong = (topic, records[at][1], json.dumps(spoilt).encode())
    assert stood([*records[:at], wrong, *records[at + 1 :]]).miscounted(1)
