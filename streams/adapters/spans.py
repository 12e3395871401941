"""Traces of Tollgate itself, for an OTLP collector: only where an operator names one.

Nothing of OpenTelemetry is imported before that; without it there is no `Spans` and nobody makes a
span. Spans are made per request, per cycle and per insert, never per event, and hold no customer,
no id of a producer and no key. They leave in a thread of the exporter's; when it falls behind it
drops spans, and nothing waits for it.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from streams.errors import SetupError

SCOPE: Final = "tollgate"
"""Whom collectors show as the maker of the spans."""

EXPORT_SECONDS_MAX: Final = 5
"""How long a request to the collector may take, and how long a program that stops waits for it."""

TRACEPARENT: Final = ("traceparent", "tracestate")
"""Headers that a trace goes on by (W3C Trace Context)."""

Value = str | int | float | bool


class Spans:
    """Makes spans. Belongs to one program; safe to call from its event loop."""

    def __init__(self, provider: Any) -> None:
        """Take an OpenTelemetry `TracerProvider` of the SDK."""
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer(SCOPE)
        self._incoming = TraceContextTextMapPropagator()
        self._server = trace.SpanKind.SERVER
        self._failed = trace.Status(trace.StatusCode.ERROR)

    @contextmanager
    def request(self, headers: Mapping[str, str]) -> Iterator[dict[str, Value]]:
        """Around a request: its span goes on the trace that came with it. Whoever is inside fills
        the attributes; `name` becomes the span's own, and a status from 500 on makes it a failure.
        """
        carrier = {name: headers[name] for name in TRACEPARENT if name in headers}
        context = self._incoming.extract(carrier)
        found: dict[str, Value] = {}
        with self._tracer.start_as_current_span(
            "request", context=context, kind=self._server
        ) as span:
            yield found
            span.update_name(str(found.pop("name", "request")))
            span.set_attributes(found)
            if int(found.get("http.response.status_code", 0)) >= 500:
                span.set_status(self._failed)

    @contextmanager
    def step(self, name: str, attributes: Mapping[str, Value]) -> Iterator[None]:
        """Around a step of what is under way."""
        with self._tracer.start_as_current_span(name, attributes=dict(attributes)):
            yield

    def done(
        self, name: str, seconds: float, attributes: Mapping[str, Value], *, failed: bool = False
    ) -> None:
        """Something that has just ended and took so long, on its own."""
        now_ns = time.time_ns()
        span = self._tracer.start_span(
            name, attributes=dict(attributes), start_time=now_ns - int(seconds * 1e9)
        )
        if failed:
            span.set_status(self._failed)
        span.end(now_ns)

    def stop(self) -> None:
        """Sends what is left; waits EXPORT_SECONDS_MAX at the most."""
        self._provider.force_flush(EXPORT_SECONDS_MAX * 1000)
        self._provider.shutdown()


def exporting_spans(endpoint: str, role: str, release: str) -> Spans:
    """Spans that go to a collector. Raises SetupError where OpenTelemetry is not installed."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        raise SetupError(
            f"traces need the module {error.name}, which is not installed",
            action="Install Tollgate with it: pip install 'tollgate[otel]'; or take "
            "TOLLGATE_OTEL_ENDPOINT away.",
        ) from error
    resource = Resource.create({"service.name": f"tollgate-{role}", "service.version": release})
    provider = TracerProvider(resource=resource)
    exporter = OTLPSpanExporter(
        endpoint=endpoint.rstrip("/") + "/v1/traces", timeout=EXPORT_SECONDS_MAX
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Spans(provider)
