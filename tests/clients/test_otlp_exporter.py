"""OpenTelemetry's own exporter against the gateway: what it sends is taken, what it is told it
understands."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from schemas import codec
from streams.gateway import otlp
from tests.clients.serving import served
from tests.gateway_fakes import KEY, World

CHAT: Final = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "anthropic",
    "gen_ai.response.model": "claude-sonnet-4-5",
    "gen_ai.usage.input_tokens": 50,
    "gen_ai.usage.cache_read.input_tokens": 40,
    "gen_ai.usage.output_tokens": 3,
    "gen_ai.input.messages": "a secret",
}
AGENT: Final = {"gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 50}


@pytest.fixture(scope="module")
def spans() -> list[ReadableSpan]:
    """A call inside an agent, as the SDK makes spans."""
    made: Any = InMemorySpanExporter()
    provider: Any = TracerProvider(resource=Resource({"tollgate.customer_id": "acme"}))
    provider.add_span_processor(SimpleSpanProcessor(made))
    tracer = provider.get_tracer("my-agent", "1.2.3")
    with (
        tracer.start_as_current_span("invoke_agent writer", attributes=AGENT),
        tracer.start_as_current_span("chat claude-sonnet-4-5", attributes=CHAT),
    ):
        pass
    provider.shutdown()
    return list(made.get_finished_spans())


@contextmanager
def exporting(world: World, **options: Any) -> Iterator[Any]:
    with served(world.app) as url:
        headers = {"Authorization": f"Bearer {KEY}"}
        exporter: Any = OTLPSpanExporter(f"{url}/v1/traces", headers=headers, timeout=30, **options)
        try:
            yield exporter
        finally:
            exporter.shutdown()


@pytest.mark.parametrize("compression", list(Compression))
def test_what_it_exports_stands_in_the_log(
    spans: list[ReadableSpan], compression: Compression
) -> None:
    world = World(otlp.ROUTES)
    with exporting(world, compression=compression) as exporter:
        assert exporter.export(spans) is SpanExportResult.SUCCESS
    usage = [codec.decode_usage(value) for topic, _, value in world.inbound.records[:2]]
    assert {topic for topic, _, _ in world.inbound.records} == {"usage", "unassigned"}
    call = next(each for each in usage if not each.outer)
    assert call.tokens is not None
    assert (call.tokens.input, call.tokens.cache_read, call.tokens.output) == (10, 40, 3)
    assert [each.outer for each in usage].count(True) == 1
    assert b"secret" not in b"".join(value for _, _, value in world.inbound.records)


def test_what_the_log_did_not_acknowledge_it_sends_again(spans: list[ReadableSpan]) -> None:
    world = World(otlp.ROUTES)
    world.inbound.losing = {0}
    with exporting(world) as exporter:
        assert exporter.export(spans) is SpanExportResult.SUCCESS
    usage = [value for topic, _, value in world.inbound.records if topic == "usage"]
    assert len(usage) == 4
    assert usage[:2] == usage[2:]


def test_without_a_key_it_gives_up_at_once(
    spans: list[ReadableSpan], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    world = World(otlp.ROUTES)
    with served(world.app) as url:
        exporter: Any = OTLPSpanExporter(f"{url}/v1/traces", timeout=30)
        assert exporter.export(spans) is SpanExportResult.FAILURE
        exporter.shutdown()
    assert not world.inbound.records
    assert "401" in caplog.text
