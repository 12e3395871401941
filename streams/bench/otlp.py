"""`tollgate bench otlp`: how many spans a gateway takes, over OTLP, on a real broker.

  1. an installation of its own, and a gateway as a process of its own            (preflight_stack)
  2. exports of 512 spans as the SDKs batch them, in a closed loop                      (http_load)
  3. the log is read: every call and every signal stands there once

A span has the attributes that Paid's SDK writes, some twenty. A trace has eight spans: six calls of
a model, a signal that asks for their cost, and the span around them.
"""

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any, Final

import uvloop
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from schemas.topics import SIGNALS, UNASSIGNED, USAGE
from streams.bench.broker import read_all
from streams.bench.events import Workload, yesterday_us
from streams.bench.ground import Ground
from streams.bench.http_load import HttpLoad, Measured, Plan
from streams.bench.latency import percentile
from streams.bench.loaded import Loaded, install
from streams.bench.preflight_stack import READY_POLL_SECONDS, Stack, Topology, running
from streams.bench.report import Report, at_least, at_most, machine
from streams.embedded.ports import LOOPBACK
from streams.errors import FaultError, TransientError

SPANS: Final = 512
"""Of one export: what the SDKs put into a batch unless told otherwise."""

SPANS_PER_TRACE: Final = 8
CALLS_PER_TRACE: Final = 6
TRACES: Final = SPANS // SPANS_PER_TRACE

CONNECTIONS: Final = 4
"""Exporters at a time: enough to keep one gateway busy."""

WARM_SECONDS: Final = 2.0
READY_SECONDS_MAX: Final = 60.0

TARGET_PER_CORE: Final = 5_000.0
"""Spans per second of CPU that a gateway has to take."""

FORMS: Final = ("protobuf", "json")

GATEWAY: Final = Topology("gateway alone", workers=0, hop=True)

PLACE: Final = b"NUMBERED"
"""Stands in the template for the number of the export: half of every trace id."""

CALL: Final[dict[str, Any]] = {
    "external_customer_id": "bench",
    "external_agent_id": "sdr",
    "paid_scope_id": 1_667_443_974,
    "paid.sdk.version": "python-1.12.0",
    "paid_span_processor_mode": "batch",
    "metadata.campaign_id": "c1",
    "metadata.region": "eu",
    "gen_ai.system": "openai",
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
    "gen_ai.response.id": "chatcmpl-99be7cdb364d",
    "gen_ai.usage.input_tokens": 1200,
    "gen_ai.usage.cached_input_tokens": 1024,
    "gen_ai.usage.output_tokens": 345,
    "gen_ai.usage.reasoning_output_tokens": 64,
    "llm.invocation_parameters": '{"temperature": 0.2, "max_tokens": 800}',
    "http.request.method": "POST",
    "http.response.status_code": 200,
    "server.address": "api.openai.com",
}
TOKENS: Final = {"input": 176, "cache_read": 1024, "output": 281, "reasoning": 64}

SIGNAL: Final[dict[str, Any]] = {
    **{name: CALL[name] for name in list(CALL)[:7]},
    "event_name": "email_sent",
    "data": '{"to": "bob", "paid": {"enable_cost_tracing": true}}',
}
AROUND: Final[dict[str, Any]] = {name: CALL[name] for name in list(CALL)[:7]}


@dataclass(frozen=True, slots=True)
class OtlpOptions:
    """`seconds` of load in each form, the warm ones beside them."""

    seconds: int = 10
    partitions: int = 8
    forms: frozenset[str] = frozenset(FORMS)


@dataclass(slots=True)
class Stood:
    """What stands in the log after a load."""

    calls: int = 0
    signals: int = 0
    bindings: int = 0
    wrong: int = 0
    ids: set[str] = field(default_factory=set)

    def take_usage(self, _partition: int, _key: bytes | None, value: bytes, _at: int) -> None:
        """A record of `usage`."""
        told = json.loads(value)
        self.calls += 1
        self.wrong += told.get("tokens") != TOKENS
        self.ids.add(told["event_id"])

    def take_signal(self, _partition: int, _key: bytes | None, value: bytes, _at: int) -> None:
        """A record of `signals`."""
        told = json.loads(value)
        self.signals += 1
        self.wrong += told.get("cost_tracing") is not True
        self.ids.add(told["event_id"])

    def take_binding(self, _partition: int, _key: bytes | None, value: bytes, _at: int) -> None:
        """A record of `unassigned`."""
        self.bindings += 1
        self.wrong += json.loads(value).get("customer_id") != CALL["external_customer_id"]

    def miscounted(self, exports: int) -> int:
        """Records too many, too few or wrong, after so many exports."""
        calls, traces = exports * TRACES * CALLS_PER_TRACE, exports * TRACES
        return (
            abs(self.calls - calls)
            + abs(self.signals - traces)
            + abs(self.bindings - traces)
            + abs(len(self.ids) - calls - traces)
            + self.wrong
        )


def run_otlp(ground: Ground, options: OtlpOptions, now_us: int) -> Report:
    """Measures the chosen forms, each on topics of its own.

    Raises FaultError where a process of ours ended or an export was refused, TransientError where
    one hangs.
    """
    report = Report(
        machine()
        | {"contender_pinned": ground.cores.pinned, "broker_pinned": ground.broker_pinned}
        | {"seconds": options.seconds, "partitions": options.partitions, "spans": SPANS}
    )
    for form in FORMS:
        if form in options.forms:
            workload = Workload(0, yesterday_us(now_us), partitions=options.partitions)
            loaded = install(ground, workload)
            ground.say(f"exports in {form}")
            with running(ground, loaded.settings, GATEWAY) as stack:
                uvloop.run(_measure(loaded, stack, options, now_us, form, report))
            loaded.drop()
    return report


async def _measure(
    loaded: Loaded, stack: Stack, options: OtlpOptions, now_us: int, form: str, report: Report
) -> None:
    await _await_ready(stack)
    template, media_type, place = _template(form, now_us)

    def make(number: int) -> bytes:
        body = template.replace(place, _numbered(form, number))
        head = (
            f"POST /v1/traces HTTP/1.1\r\nhost: bench\r\ncontent-type: {media_type}\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    cpu_before = stack.cpu_seconds()
    plan = Plan(CONNECTIONS, options.seconds, None, WARM_SECONDS)
    measured = await HttpLoad(LOOPBACK, stack.port, plan, make, lambda *_: None).run()
    cpu = stack.cpu_seconds() - cpu_before
    stack.check()
    if measured.statuses[200] != measured.sent:
        raise FaultError(
            f"{measured.sent} exports were answered {dict(measured.statuses)}",
            action="Read the log of the gateway, then run the benchmark again.",
        )
    stood = await _read(loaded)
    _add(report, form, measured, cpu, stood)


async def _await_ready(stack: Stack) -> None:
    deadline = time.monotonic() + READY_SECONDS_MAX
    while (await stack.call("GET", "/readyz"))[0] != 200:
        stack.check()
        if time.monotonic() > deadline:
            raise TransientError(
                f"the gateway does not answer after {READY_SECONDS_MAX:.0f} s",
                action="Read its log, then run the benchmark again.",
            )
        await asyncio.sleep(READY_POLL_SECONDS)


async def _read(loaded: Loaded) -> Stood:
    stood, settings = Stood(), loaded.settings
    for topic, take in (
        (USAGE, stood.take_usage),
        (SIGNALS, stood.take_signal),
        (UNASSIGNED, stood.take_binding),
    ):
        name = topic.full_name(settings.topic_prefix)
        await read_all(loaded.ground.bootstrap, name, settings.partitions, take)
    return stood


def _add(report: Report, form: str, measured: Measured, cpu: float, stood: Stood) -> None:
    per_cpu_second = SPANS * measured.sent / cpu
    report.add(f"{form}, per second", SPANS * measured.per_second, "spans/s")
    report.add(
        f"{form}, per second of one core", per_cpu_second, "spans/s", at_least(TARGET_PER_CORE)
    )
    report.add(f"{form}, CPU per span", 1e6 / per_cpu_second, "µs")
    report.add(f"{form}, p50 of an export", percentile(measured.latencies_ms, 50.0), "ms")
    report.add(f"{form}, p99 of an export", percentile(measured.latencies_ms, 99.0), "ms")
    name = f"{form}, lost, doubled or wrong"
    report.add(name, stood.miscounted(measured.sent), "records", at_most(0))


# --- exports ------------------------------------------------------------------------------------


def _numbered(form: str, number: int) -> bytes:
    place = (number + 1).to_bytes(len(PLACE), "big")
    return place if form == "protobuf" else place.hex().encode()


def _template(form: str, now_us: int) -> tuple[bytes, str, bytes]:
    """An export with PLACE in every trace id, its media type, and PLACE as it is written there."""
    message = ExportTraceServiceRequest()
    scope_spans = message.resource_spans.add().scope_spans.add()
    scope_spans.scope.name = "paid.python"
    for trace in range(TRACES):
        trace_id = PLACE + trace.to_bytes(8, "big")
        for number in range(SPANS_PER_TRACE):
            span = scope_spans.spans.add()
            span.trace_id, span.span_id = trace_id, (number + 1).to_bytes(8, "big")
            span.parent_span_id = (SPANS_PER_TRACE).to_bytes(8, "big")
            span.name, held = "paid.trace.openai.chat.completions.create", CALL
            if number == CALLS_PER_TRACE:
                span.name, held = "paid.trace.signal", SIGNAL
            elif number > CALLS_PER_TRACE:
                span.name, held, span.parent_span_id = "paid.trace.parent_span", AROUND, b""
            span.end_time_unix_nano = now_us * 1_000
            span.start_time_unix_nano = span.end_time_unix_nano - 1_000_000
            for name, value in held.items():
                attribute = span.attributes.add()
                attribute.key = name
                if isinstance(value, int):
                    attribute.value.int_value = value
                else:
                    attribute.value.string_value = value
    if form == "protobuf":
        return message.SerializeToString(), "application/x-protobuf", PLACE
    return _as_json(message), "application/json", PLACE.hex().encode()


def _as_json(message: Any) -> bytes:
    """The export as exporters write it in JSON: ids in hex, numbers of 64 bits as texts."""
    spans = [
        {
            "traceId": span.trace_id.hex(),
            "spanId": span.span_id.hex(),
            "parentSpanId": span.parent_span_id.hex(),
            "name": span.name,
            "startTimeUnixNano": str(span.start_time_unix_nano),
            "endTimeUnixNano": str(span.end_time_unix_nano),
            "attributes": [
                {
                    "key": each.key,
                    "value": {"intValue": str(each.value.int_value)}
                    if each.value.HasField("int_value")
                    else {"stringValue": each.value.string_value},
                }
                for each in span.attributes
            ],
        }
        for span in message.resource_spans[0].scope_spans[0].spans
    ]
    scope_spans = {"scope": {"name": "paid.python"}, "spans": spans}
    return json.dumps({"resourceSpans": [{"scopeSpans": [scope_spans]}]}).encode()
