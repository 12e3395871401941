"""Whatever is exported: never a fault, never a token twice, the same in both forms, and nothing
that the worker would refuse."""

import asyncio
import json
import random
from typing import Any, Final

import pytest

from schemas import codec
from schemas.usage import Tokens
from streams.gateway import otlp
from streams.gateway.otlp.counting import CountError, tokens_of
from streams.gateway.otlp.emitters import COUNTED_ATTRIBUTES, EMITTERS
from streams.gateway.otlp.spans import ALLOWED
from tests.gateway_fakes import World
from tests.otlp_requests import JSON, PROTOBUF, as_json, as_protobuf, recorded_exports
from tests.property.seed import SEED

REQUESTS: Final = 400
COUNTS: Final = 4_000
EXPORTS: Final = recorded_exports("paid-traces.jsonl")
DECODERS: Final = {
    "usage": codec.decode_usage,
    "signals": codec.decode_signal,
    "unassigned": codec.decode_unassigned,
}
CLASSES: Final = tuple(Tokens.model_fields)
NAMES: Final = [*sorted(ALLOWED), "metadata.m", "tollgate.quantity.q", "tollgate.condition.c"]
TEXTS: Final = (
    *("", "openai", "anthropic", "google", "chat", "invoke_agent", "AGENT", "LLM", "true", "x"),
    *("é" * 200, "\0", "\ud7ff", "a" * 5_000, '{"costData": {"cost": {"amount": 1}}}', "{", "1e5"),
)
SCOPES: Final = ("", "paid.python", "ai", "openinference.instrumentation.openai", "pydantic-ai")
SPAN_NAMES: Final = ("paid.trace.signal", "chat", "generation", "agent run", "")


def some_value(rng: random.Random) -> Any:
    kind = rng.randrange(8)
    if kind < 3:
        return rng.choice((0, 1, 7, 1000, 10**12, 10**12 + 1, -1, 2**63 - 1, -(2**63)))
    if kind < 5:
        return rng.choice(TEXTS)
    if kind == 5:
        return rng.choice((0.0, 1.0, 0.1, -1.0, 1e300, 5e-324, 12.5))
    if kind == 6:
        return rng.random() < 0.5
    return [some_value(rng) for _ in range(rng.randrange(3))]


def some_span(rng: random.Random) -> dict[str, Any]:
    ids = [f"{number:016x}" for number in range(1, 5)]
    names = rng.sample(NAMES, rng.randrange(12))
    usual = {"external_customer_id": "acme", "event_name": "done"}
    sane = {name: value for name, value in usual.items() if rng.random() < 0.5}
    return {
        "resource": {name: some_value(rng) for name in rng.sample(NAMES, rng.randrange(3))},
        "scope": {"name": rng.choice(SCOPES), "version": rng.choice(("", "0.1.2", "x"))},
        "name": rng.choice(SPAN_NAMES),
        "traceId": f"{rng.randrange(1, 3):032x}",
        "spanId": rng.choice(ids),
        "parentSpanId": rng.choice([None, *ids]),
        "start": str(rng.randrange(2**64)),
        "end": str(rng.choice((0, 1, rng.randrange(2**64), 2**64 - 1))),
        "status": {"code": rng.choice(("STATUS_CODE_OK", "STATUS_CODE_ERROR"))},
        "attributes": {name: some_value(rng) for name in names} | sane,
    }


async def exported(body: bytes, headers: dict[str, str]) -> tuple[int, bytes, list[Any]]:
    world = World(otlp.ROUTES)
    answer = await world.call("POST", "/v1/traces", body, headers)
    for topic, _, value in world.inbound.records:
        DECODERS[topic](value)
    return answer.status, answer.body, world.inbound.records


def test_what_is_exported_says_the_same_in_both_forms_and_nothing_impossible() -> None:
    rng = random.Random(SEED)

    async def all_of_them() -> set[str]:
        topics: set[str] = set()
        for _ in range(REQUESTS):
            spans = [some_span(rng) for _ in range(rng.randrange(1, 6))]
            status, told, found = await exported(as_protobuf(spans), PROTOBUF)
            assert status == 200, spans
            status, told_in_json, found_in_json = await exported(as_json(spans), JSON)
            assert (status, found_in_json) == (200, found), spans
            assert bool(told) == (told_in_json != b"{}"), spans
            topics.update(topic for topic, _, _ in found)
        return topics

    # A run that made nothing would prove nothing.
    assert asyncio.run(all_of_them()) == set(DECODERS)


@pytest.mark.parametrize("form", ["protobuf", "json"])
def test_damaged_bytes_are_taken_or_refused_and_never_a_fault(form: str) -> None:
    rng = random.Random(SEED)
    headers = PROTOBUF if form == "protobuf" else JSON
    whole = [(as_protobuf if form == "protobuf" else as_json)(export) for export in EXPORTS]

    async def all_of_them() -> set[int]:
        statuses = set()
        for _ in range(REQUESTS):
            body = bytearray(rng.choice(whole))
            for _ in range(rng.randrange(1, 6)):
                at = rng.randrange(len(body) + 1)
                match rng.randrange(4):
                    case 0:
                        body[at : at + 1] = bytes([rng.randrange(256)])
                    case 1:
                        del body[at : at + rng.randrange(40)]
                    case 2:
                        body[at:at] = rng.randbytes(rng.randrange(8))
                    case _:
                        body[at:at] = body[at : at + rng.randrange(200)]
            status, _, _ = await exported(bytes(body), headers)
            assert status in (200, 400, 413), (status, bytes(body).hex())
            statuses.add(status)
        return statuses

    assert asyncio.run(all_of_them()) == {200, 400}


def test_random_bytes_are_never_a_fault() -> None:
    rng = random.Random(SEED)

    async def all_of_them() -> None:
        for _ in range(REQUESTS):
            body = rng.randbytes(rng.randrange(300))
            for headers in (PROTOBUF, JSON):
                status, _, found = await exported(body, headers)
                assert status in (200, 400), body.hex()
                assert not found

    asyncio.run(all_of_them())


def test_the_classes_of_a_row_sum_to_what_it_reports_and_none_is_negative() -> None:
    rng = random.Random(SEED)
    refused = 0
    for _ in range(COUNTS):
        emitter = rng.choice(EMITTERS)
        names = emitter.attributes
        held: dict[str, int] = {}
        for part, most in (
            ("input", 2000),
            ("output", 2000),
            ("cache_read", 600),
            ("cache_write", 600),
            ("reasoning", 600),
            ("input_audio", 300),
            ("output_audio", 300),
        ):
            if getattr(names, part) and rng.random() < 0.7:
                held[rng.choice(getattr(names, part))] = rng.randrange(most)
        told = {
            part: next((held[name] for name in getattr(names, part) if name in held), 0)
            for part in CLASSES
        }
        try:
            tokens = tokens_of(emitter, held)
        except CountError:
            refused += 1
            continue
        if tokens is None:
            assert not held
            continue
        counts = {part: getattr(tokens, part) for part in told}
        assert min(counts.values()) >= 0, (emitter.id, held)
        beside = sum(
            told[part]
            for part in told
            if part not in ("input", "output")
            and part not in emitter.input_includes | emitter.output_includes
        )
        assert sum(counts.values()) == told["input"] + told["output"] + beside, (emitter.id, held)
    assert 0 < refused < COUNTS * 3 // 4


def test_no_attribute_outside_the_list_changes_anything() -> None:
    rng = random.Random(SEED)
    assert not any("prompt." in name or "messages" in name for name in COUNTED_ATTRIBUTES)

    async def both() -> None:
        for export in EXPORTS:
            noisy = [
                {
                    **each,
                    "attributes": {
                        **each["attributes"],
                        **{f"noise.{rng.randrange(10**6)}": some_value(rng) for _ in range(5)},
                    },
                }
                for each in export
            ]
            _, _, plain = await exported(as_protobuf(export), PROTOBUF)
            _, _, found = await exported(as_protobuf(noisy), PROTOBUF)
            assert found == plain

    asyncio.run(both())


def test_the_seed_makes_the_same_requests_again() -> None:
    first, second = random.Random(SEED), random.Random(SEED)
    assert json.dumps(some_span(first)) == json.dumps(some_span(second))
