"""Worker, sink and gateway as plain processes: what they show of themselves while they work."""

import asyncio
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest
from aiokafka import AIOKafkaProducer

from schemas.topics import ASKS, USAGE
from streams.embedded.ports import pick_free_ports
from streams.embedded.stack import EmbeddedStack
from streams.metrics import GATEWAY, METRICS, PROGRAM, SINK, WORKER, Metric
from streams.metrics.registry import SCRAPE_FAULTS
from tests.certificate import make_certificate
from tests.installation import Installation
from tests.integration.test_gateway import call, usage
from tests.observed import Collector, Scrape, collecting, get, scrape, wait_for, wait_ready
from tests.whole import with_tables

ROLES: Final = ("worker", "sink", "gateway")
CUSTOMERS: Final = ("acme", "b", "c", "d")
ASK: Final = {
    "schema_version": 1,
    "kind": "preflight",
    "source": "test",
    "customer_id": "acme",
    "idempotency_key": "over-kafka",
    "estimate": "1",
}


@dataclass
class Programs:
    """One of each role on one installation, with their addresses."""

    installation: Installation
    gateway: str
    addresses: dict[str, str]
    collector: Collector

    def scrape(self, role: str) -> Scrape:
        return scrape(self.addresses[role])

    def log_lines(self, role: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.installation.log_text(role).splitlines()]

    def start(self, role: str, **more: Any) -> None:
        self.installation.start(
            ["streams", role],
            role,
            metrics_listen=self.addresses[role],
            log_format="json",
            otel_endpoint=self.collector.url,
            **more,
        )

    def wait_ready(self, role: str) -> None:
        wait_ready(self.addresses[role], lambda: self.installation.log_text(role))


@pytest.fixture(scope="module")
def programs(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    """All of them after some work of every kind: a gateway that asks for a worker before there is
    one, and a worker with a gateway inside that speaks HTTPS."""
    ports = pick_free_ports(5)
    addresses = {role: f"127.0.0.1:{port}" for role, port in zip(ROLES, ports, strict=False)}
    home = tmp_path_factory.mktemp("observed") / "home"
    with (
        collecting() as collector,
        pytest.MonkeyPatch.context() as patch,
        with_tables(stack.endpoints(), "observed_programs", home) as (installation, _),
    ):
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
        made = Programs(installation, f"http://127.0.0.1:{ports[3]}", addresses, collector)
        home.mkdir(exist_ok=True)
        make_certificate(home / "c.pem", home / "k.pem")
        made.start("gateway", gateway_listen=f"127.0.0.1:{ports[3]}")
        made.start("sink")
        made.wait_ready("gateway")
        asyncio.run(_ask(installation))
        wait_for(
            lambda: made.scrape("gateway").total("tollgate_gateway_asks_again_total") > 0,
            lambda: installation.log_text("gateway"),
        )
        made.start(
            "worker",
            gateway_listen=f"127.0.0.1:{ports[4]}",
            gateway_tls_certificate=home / "c.pem",
            gateway_tls_key=home / "k.pem",
        )
        for role in ROLES:
            made.wait_ready(role)
        asyncio.run(_work(made))
        _settle(made)
        yield made


async def _ask(installation: Installation) -> None:
    settings = installation.settings
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap) as producer:
        topic = ASKS.full_name(settings.topic_prefix)
        await producer.send_and_wait(topic, json.dumps(ASK).encode(), key=b"acme")


async def _work(made: Programs) -> None:
    url = made.gateway
    assert (await call(url, "GET", "/v1/none"))[0] == 404
    for customer in CUSTOMERS:
        record = usage("e1", customer) | {
            "provider": "nobody",
            "model": "new",
            "tokens": {"input": 3},
        }
        for _ in range(2):  # The second is a duplicate.
            status, told = await call(url, "POST", "/v1/records", record)
            assert status == 200, told
        hold = {"customer_id": customer, "idempotency_key": "k", "estimate": "10"}
        status, told = await call(url, "POST", "/v1/preflights", hold)
        assert told["approved"] is True
        much = {"customer_id": customer, "idempotency_key": "k2", "estimate": "5000"}
        status, told = await call(url, "POST", "/v1/preflights", much)
        assert told["approved"] is False
        status, told = await call(url, "GET", f"/v1/customers/{customer}/budget")
        assert status == 200, told
        status, _ = await call(url, "POST", "/v1/events", usage("e2", customer))
        assert status == 202


def _settle(made: Programs) -> None:
    """One record that is none; then everything is folded, and in ClickHouse."""
    made.installation.produce(USAGE.name, [b"{"], key="acme")

    def left() -> dict[str, float]:
        worker, sink, gateway = (made.scrape(role) for role in ROLES)
        return {
            "lag": worker.total("tollgate_lag_records"),
            "letters": 1 - worker.total("tollgate_dead_letters_total"),
            "usage": 3 * len(CUSTOMERS)
            + 1
            - worker.total("tollgate_records_consumed_total", topic="usage"),
            "rows": 1 - sink.total("tollgate_sink_rows_total", table="dead_letters"),
            "sink": sink.total("tollgate_sink_lag_records"),
            # The worker's own gateway joins the group just when the ask can be decided at last.
            # Where the first has decided it and not stored its position, the other answers again.
            "asks": max(
                0,
                1
                - gateway.total("tollgate_gateway_asks_total")
                - worker.total("tollgate_gateway_asks_total"),
            ),
        }

    wait_for(lambda: not any(left().values()), left)


def _names(metrics: tuple[Metric, ...]) -> set[str]:
    return {metric.name for metric in metrics}


def test_every_metric_is_set_by_a_real_run_and_no_other_appears(programs: Programs) -> None:
    everywhere = _names((*PROGRAM, SCRAPE_FAULTS))
    shown = {role: set(programs.scrape(role).kinds) for role in ROLES}
    assert shown["sink"] == _names(SINK) | everywhere
    assert shown["gateway"] <= _names(GATEWAY) | everywhere
    assert _names(WORKER) | everywhere <= shown["worker"]
    assert shown["worker"] <= _names(WORKER) | _names(GATEWAY) | everywhere
    assert set.union(*shown.values()) == _names(METRICS)


def test_kinds_and_labels_are_those_of_the_list(programs: Programs) -> None:
    listed = {metric.name: metric for metric in METRICS}
    for role in ROLES:
        found = programs.scrape(role)
        for name, kind in found.kinds.items():
            assert listed[name].kind == kind
        for name, labels in found.values:
            base = name if name in listed else name.rpartition("_")[0]
            assert {key for key, _ in labels} - {"le"} == set(listed[base].labels), name


def test_what_was_done_is_what_is_counted(programs: Programs) -> None:
    worker = programs.scrape("worker")
    assert worker.value("tollgate_events_total", outcome="duplicate") == len(CUSTOMERS)
    assert worker.value("tollgate_dead_letters_total", code="malformed") == 1
    assert worker.value("tollgate_unpriced_total") == len(CUSTOMERS)
    # The ask of the log may be answered again by a second gateway; it is one hold for all that.
    answered = worker.total("tollgate_decisions_total", outcome="approved")
    assert answered >= len(CUSTOMERS) + 1
    assert worker.value("tollgate_decisions_total", outcome="budget_exhausted") == len(CUSTOMERS)
    assert worker.value("tollgate_decision_seconds_count") == answered + len(CUSTOMERS)
    assert worker.value("tollgate_holds_open") == len(CUSTOMERS) + 1
    assert worker.total("tollgate_records_consumed_total", topic="usage") == 3 * len(CUSTOMERS) + 1
    assert worker.total("tollgate_claims_stored") > 0
    partitions = programs.installation.settings.partitions
    assert worker.value("tollgate_partitions") == partitions
    assert worker.total("tollgate_partition_owned") == partitions
    assert worker.value("tollgate_leases_held") == partitions
    assert worker.value("tollgate_take_over_seconds_count") == 1
    rows = programs.scrape("sink")
    assert rows.total("tollgate_sink_rows_total", table="dead_letters") == 1
    assert rows.value("tollgate_sink_clickhouse_reachable") == 1
    asked = programs.scrape("gateway")
    assert asked.value("tollgate_gateway_requests_total", route="postRecord", status="200") == 8


def test_lag_ends_at_nothing_although_markers_take_offsets(programs: Programs) -> None:
    worker = programs.scrape("worker")
    assert worker.total("tollgate_lag_records") == 0
    assert worker.total("tollgate_lag_seconds") == 0
    assert worker.total("tollgate_inbox_records") == 0


def test_no_series_names_a_customer(programs: Programs) -> None:
    for role in ROLES:
        values = {value for _, labels in programs.scrape(role).values for _, value in labels}
        assert not values & {*CUSTOMERS, "e1", "e2"}


def test_a_program_is_live_and_ready_and_knows_no_other_path(programs: Programs) -> None:
    for role in ROLES:
        assert get(programs.addresses[role], "/live") == (200, "live\n")
        assert get(programs.addresses[role], "/ready") == (200, "ready\n")
        assert get(programs.addresses[role], "/v1/events")[0] == 404
        assert programs.scrape(role).value("tollgate_ready") == 1


def test_the_log_is_json_and_tells_a_dead_letter_and_a_refused_request(programs: Programs) -> None:
    asyncio.run(call(programs.gateway, "GET", "/v1/none", headers={"X-Request-Id": "r-1"}))
    (refused,) = [one for one in programs.log_lines("gateway") if one.get("request_id") == "r-1"]
    assert (refused["status"], refused["code"]) == (404, "not_found")
    (letter,) = [one for one in programs.log_lines("worker") if one.get("code") == "malformed"]
    assert letter["topic"] == USAGE.name
    assert {"partition", "offset", "cycle"} <= letter.keys()
    lease = [one for one in programs.log_lines("worker") if "lease" in one]
    assert {one["partition"] for one in lease} == {0, 1}
    assert programs.log_lines("sink")


def test_a_request_goes_on_the_trace_that_it_came_with(programs: Programs) -> None:
    trace, parent = secrets.token_hex(16), secrets.token_hex(8)
    headers = {"traceparent": f"00-{trace}-{parent}-01"}
    record = usage("traced", "acme")
    status, _ = asyncio.run(call(programs.gateway, "POST", "/v1/records", record, headers))
    assert status == 200
    spans = programs.collector.spans

    def of_trace() -> dict[str, Any]:
        return {one.name: one for one in spans() if one.trace_id.hex() == trace}

    wait_for(lambda: {"postRecord", "append usage", "ask await"} <= of_trace().keys(), spans)
    found = of_trace()
    assert found["postRecord"].parent_span_id.hex() == parent
    for step in ("append usage", "ask await"):
        assert found[step].parent_span_id == found["postRecord"].span_id
    wait_for(lambda: {"cycle", "insert"} <= {one.name for one in spans()}, spans)
    assert programs.collector.services >= {"tollgate-gateway", "tollgate-worker", "tollgate-sink"}


def test_probe_answers_as_a_health_check(programs: Programs) -> None:
    def probe(question: str, address: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "streams", "probe", question],
            env=os.environ | {"TOLLGATE_METRICS_LISTEN": address},
            capture_output=True,
            text=True,
            timeout=60,
        )

    ready = probe("ready", programs.addresses["worker"])
    assert (ready.returncode, ready.stderr) == (0, "ready\n")
    (nobody,) = pick_free_ports(1)
    assert probe("live", f"127.0.0.1:{nobody}").returncode == 1
