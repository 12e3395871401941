"""`tollgate status` while one of three workers under load is killed: whose partitions stand, who
takes them, and that decisions go on."""

import asyncio
import itertools
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from aiokafka import AIOKafkaProducer

from schemas.topics import USAGE
from streams.bench.preflight_stack import probes
from streams.embedded.endpoints import Endpoints
from streams.embedded.ports import pick_free_ports
from streams.status.report import Report
from tests.builders import json_of
from tests.embedded_waiting import until
from tests.installation import Installation
from tests.recovery.agents import call, wait_answering
from tests.recovery.cases import STEP_SECONDS
from tests.whole import command_of, with_tables

PARTITIONS: Final = 4
WORKERS: Final = 3
PAUSE_SECONDS: Final = 0.1
"""Between two rounds of the load, which has to be there and no more."""
OUT_OF_ORDER: Final = {"owner_silent", "no_owner", "being_taken", "stands_still"}
"""Warnings that name partitions which nobody serves at that moment."""


@contextmanager
def load(installation: Installation, url: str) -> Iterator[None]:
    """Usage for every partition, and an agent that asks for a customer of each in turn."""
    customers, over = probes(PARTITIONS), threading.Event()

    def ask() -> None:
        for number in itertools.count():
            if over.wait(PAUSE_SECONDS):
                return
            customer = customers[number % PARTITIONS]
            body = {"customer_id": customer, "idempotency_key": f"k{number}", "estimate": "1"}
            call(url, "POST", "/v1/preflights", body)

    async def use() -> None:
        async with AIOKafkaProducer(
            bootstrap_servers=installation.settings.kafka_bootstrap
        ) as producer:
            topic = USAGE.full_name(installation.settings.topic_prefix)
            for number in itertools.count():
                for partition, customer in enumerate(customers):
                    value = json_of(customer, f"e{number}", {"units": 1})
                    await producer.send(topic, value, customer.encode(), partition=partition)
                if await asyncio.to_thread(over.wait, PAUSE_SECONDS):
                    return

    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(ask), pool.submit(lambda: asyncio.run(use()))]
        try:
            yield
        finally:
            over.set()
            for one in running:
                one.result()


def all_owned(report: Report) -> bool:
    """Whether every partition has an owner that answers."""
    return {one.state for one in report.partitions} == {"owned"}


@pytest.mark.timeout(600)
def test_status_names_the_partitions_of_a_killed_worker_until_they_are_taken_over(
    endpoints: Endpoints,
    unique_name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with with_tables(endpoints, unique_name, tmp_path / "home", partitions=PARTITIONS) as (
        installation,
        _,
    ):
        [port] = pick_free_ports(1)
        workers = [installation.start_worker(f"worker-{number}") for number in range(WORKERS)]
        installation.start_sink()
        address = f"127.0.0.1:{port}"
        installation.start(["streams", "gateway"], "gateway", gateway_listen=address)
        url = f"http://{address}"
        wait_answering(installation, url)
        status = command_of(
            installation, monkeypatch, capsys, "status", "--json", "--interval", "1"
        )
        seen: list[tuple[int, Report]] = []

        def shows(what: str, wanted: str) -> Report:
            def look() -> bool:
                code, out, _ = status()
                seen.append((code, Report.model_validate_json(out)))
                return CONDITIONS[wanted](seen[-1][1])

            until(look, what, STEP_SECONDS)
            return seen[-1][1]

        before = shows("three workers own all partitions", "three")
        with load(installation, url):
            shows("decisions under load", "deciding")
            workers[0].send_signal(signal.SIGKILL)
            workers[0].wait()
            shows("partitions without an owner", "out of order")
            code, during = seen[-1]
            assert (code, during.verdict) == (1, "attention")
            standing = {
                number for w in during.warnings if w.code in OUT_OF_ORDER for number in w.partitions
            }
            shares = [set(worker.partitions) for worker in before.workers]
            assert any(standing <= share for share in shares), (standing, shares)
            after = shows("two workers own all partitions and decide", "two")
        assert sorted(n for worker in after.workers for n in worker.partitions) == list(
            range(PARTITIONS)
        )


def present(report: Report) -> int:
    """Workers in the group that have partitions."""
    return sum(worker.member is not None and bool(worker.partitions) for worker in report.workers)


CONDITIONS: Final = {
    "three": lambda report: present(report) == WORKERS and all_owned(report),
    "deciding": lambda report: bool(report.decisions.approved_per_second) and all_owned(report),
    "out of order": lambda report: any(w.code in OUT_OF_ORDER for w in report.warnings),
    "two": lambda report: (
        present(report) == WORKERS - 1
        and all_owned(report)
        and bool(report.decisions.approved_per_second)
    ),
}
