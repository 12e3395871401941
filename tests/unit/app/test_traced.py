"""Spans of Tollgate itself: where they hang, what is in them, and that nobody pays for none."""

import subprocess
import sys

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from streams.adapters.spans import Spans
from streams.app.traced import TracedGateway
from streams.gateway.app import Gateway
from streams.gateway.native import ROUTES
from tests.gateway_fakes import World
from tests.guard.repository import ROOT

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def kept() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def spans(kept: InMemorySpanExporter) -> Spans:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    return Spans(provider)


def traced_world(spans: Spans) -> World:
    world = World()
    inner = Gateway(world.services, world.keys, ROUTES, world.time.now, "0.0.0")
    world.app = TracedGateway(inner, spans)  # type: ignore[assignment]
    return world


async def test_a_request_makes_a_span_below_the_one_that_it_came_with(
    spans: Spans, kept: InMemorySpanExporter
) -> None:
    world = traced_world(spans)
    await world.call("GET", "/healthz", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    (span,) = kept.get_finished_spans()
    assert span.name == "getHealth"
    assert span.context is not None
    assert span.parent is not None
    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.parent.span_id:016x}" == PARENT
    assert span.attributes is not None
    assert span.attributes["http.response.status_code"] == 200


@pytest.mark.parametrize("given", ["", "nonsense", f"00-{'0' * 32}-{PARENT}-01", "x" * 5_000])
async def test_a_trace_that_is_none_begins_a_new_one(
    given: str, spans: Spans, kept: InMemorySpanExporter
) -> None:
    await traced_world(spans).call("GET", "/healthz", headers={"traceparent": given})
    (span,) = kept.get_finished_spans()
    assert span.parent is None


async def test_a_span_names_the_route_and_nothing_of_the_path(
    spans: Spans, kept: InMemorySpanExporter
) -> None:
    await traced_world(spans).call("GET", "/v1/customers/acme/budget?x=secret")
    (span,) = kept.get_finished_spans()
    assert "acme" not in span.to_json()
    assert "secret" not in span.to_json()


def test_what_has_ended_is_told_with_its_time(spans: Spans, kept: InMemorySpanExporter) -> None:
    spans.done("cycle", 0.25, {"tollgate.partition": 3}, failed=True)
    (span,) = kept.get_finished_spans()
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.end_time - span.start_time == 250_000_000
    assert not span.status.is_ok


def test_nothing_of_opentelemetry_is_loaded_where_nobody_asked_for_it() -> None:
    program = (
        "import sys, streams.app.worker, streams.app.sink, streams.app.gateway\n"
        "print([n for n in sys.modules if n.startswith(('opentelemetry.sdk', 'opentelemetry.trace',"
        " 'opentelemetry.exporter'))])"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    assert outcome.stdout == "[]\n", outcome.stderr
