"""The installation that all clients talk to: a worker with a gateway inside, a gateway beside it
that asks over the hop, on the shared broker; and keys in every state that a client can meet."""

import asyncio
import itertools
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import requests
from pydantic import SecretStr

from schemas.structs import CatalogRecord
from streams.adapters.catalog import append_catalog, read_catalog
from streams.app.keys import KeyWish, create_key, revoke_keys
from streams.app.warehouse import clickhouse
from streams.bench.preflight_stack import probes
from streams.embedded.endpoints import Endpoints
from streams.embedded.ports import pick_free_ports
from streams.settings import Settings
from tests.builders import catalog_record, span
from tests.embedded_waiting import until
from tests.installation import Installation

FREE_UNITS: Final = 1_000
"""What the default plan grants each customer."""

SELLER_TOKENS: Final = 100_000_000
"""What the seller's own plan allows each customer: far more than any test uses by the way."""

PRICES: Final = {"input": "3", "cache_read": "0.3", "cache_write": "3.75", "output": "15"}
"""Of every model in the book, by the million tokens: `small` of `lab`, and one of each provider
whose client is wrapped."""

PAGES: Final = {"quantities": {"input_document_pages": {"price": "1", "per": 1_000}}}
"""Beside them, by the thousand pages."""

UPGRADE_URL: Final = "https://example.org/upgrade"

READY_SECONDS: Final = 90.0
"""Two processes start, fence and lease on a busy machine."""

EXPIRES_US: Final = 8_000_000
"""Until the key that is to be an expired one is one: long enough to be made."""

ANSWER_SECONDS: Final = 30.0
"""A deadline for what follows in a moment."""

ROWS_SECONDS: Final = 90.0
"""A sink starts and reads everything that the other tests have left, on a busy machine."""

COMMAND_SECONDS: Final = 90.0
"""A deadline for a command; an audit of everything is the longest."""

_versions = itertools.count(2)


@dataclass(frozen=True)
class Target:
    """A gateway that clients talk to."""

    url: str
    key: str


@dataclass(frozen=True)
class Keys:
    """Texts of keys."""

    good: str
    """With every scope."""
    agent: str
    """With the scopes that AgentBill's clients need: preflight, ingest, read."""
    ingest: str
    """With this scope alone, as are the next."""
    read: str
    bound: str
    """To the customer `mine`."""
    busy: str
    """For one request in a second."""
    revoked: str
    expired: str


@dataclass(frozen=True)
class Whole:
    """The running installation, and both ways to it."""

    installation: Installation
    keys: Keys
    inside: Target
    beside: Target

    def start_sink(self) -> None:
        """Makes the tables, and a process that fills them."""
        done = self.command("migrate")
        assert done.returncode == 0, done.stderr
        self.installation.start_sink()

    def command(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """`tollgate …` with the settings of this installation, when it has ended."""
        return subprocess.run(
            [sys.executable, "-m", "streams", *words],
            env=os.environ | self.installation.settings.environment(),
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
        )

    def wait_rows(self, sql: str, expected: Iterable[tuple[str, Decimal]]) -> None:
        """Returns when a query for texts and amounts has exactly these rows, in any order."""
        wanted = sorted(expected)
        seen: list[tuple[str, Decimal]] = []
        with closing(clickhouse(self.installation.settings)) as warehouse:

            def found() -> bool:
                rows = warehouse.query(sql).rows
                seen[:] = sorted((str(text), Decimal(str(amount))) for text, amount in rows)
                return seen == wanted

            try:
                until(found, f"{sql} finds {wanted}", ROWS_SECONDS)
            except AssertionError as error:
                raise AssertionError(f"{error}, but {seen}") from None

    def wait_carried(self, customer: str, expected: Iterable[tuple[str, Decimal]]) -> None:
        """Returns when the signals of a customer carry exactly these costs: (name, cost) each."""
        self.wait_rows(
            "SELECT signal_name, toString(cost) FROM signal_costs "
            f"WHERE customer_id = '{customer}' AND costs > 0",
            expected,
        )

    def set_seller_plan(self, code: str) -> None:
        """From now on the seller's plan refuses with this code."""
        asyncio.run(_append(self.installation.settings, [_rules(code)]))


@contextmanager
def whole_installation(endpoints: Endpoints, name: str, home: Path) -> Iterator[Whole]:
    """Starts it and returns when both gateways answer for every partition."""
    made = Installation.create(
        endpoints,
        f"{name}.",
        home,
        gateway_upgrade_url=UPGRADE_URL,
        clickhouse_url=endpoints.clickhouse_url,
        clickhouse_user=endpoints.clickhouse_user,
        clickhouse_password=SecretStr(endpoints.clickhouse_password),
        clickhouse_database=name,
    )
    with made:
        asyncio.run(_append(made.settings, [_rules("free_tier_exceeded"), _book()]))
        keys = asyncio.run(_make_keys(made.settings))
        first, second = (f"127.0.0.1:{port}" for port in pick_free_ports(2))
        made.start_worker(gateway_listen=first)
        made.start(["streams", "gateway"], "gateway", gateway_listen=second)
        inside, beside = (Target(f"http://{place}", keys.good) for place in (first, second))
        whole = Whole(made, keys, inside, beside)
        for target in (inside, beside):
            until(lambda at=target: _is_ready(whole, at), f"{target.url} answers", READY_SECONDS)  # type: ignore[misc]
        until(
            lambda: get(Target(inside.url, keys.expired), "/budget").status_code == 401,
            "a key has expired",
            READY_SECONDS,
        )
        yield whole


def _book() -> CatalogRecord:
    models = {
        "lab": "small",
        "openai": "priced-gpt",
        "anthropic": "priced-claude",
        "google": "priced-gemini",
        "aws": "priced-bedrock",
        "mistral": "priced-ocr",
    }
    prices: dict[str, Any] = dict(PRICES)
    record: CatalogRecord = catalog_record(
        "price_book",
        providers=[
            {
                "id": provider,
                "match": {"equals": provider},
                "models": [
                    {"id": model, "match": {"equals": model}, "spans": [span(**prices) | PAGES]},
                ],
            }
            for provider, model in models.items()
        ],
    )
    return record


def _rules(code: str) -> CatalogRecord:
    record: CatalogRecord = catalog_record(
        "rules",
        id="default",
        version=str(next(_versions)),
        default_plan=[{"denomination": "unit", "amount": str(FREE_UNITS)}],
        seller_plan={"code": code, "denomination": "token", "amount": str(SELLER_TOKENS)},
        trace_lateness_seconds=0,
        trace_grace_seconds=0,
    )
    return record


async def _append(settings: Settings, records: Sequence[CatalogRecord]) -> None:
    bootstrap = str(settings.kafka_bootstrap)
    view = await read_catalog(bootstrap, settings.topic_prefix)
    await append_catalog(bootstrap, settings.topic_prefix, view, records)


async def _make_keys(settings: Settings) -> Keys:
    async def make(label: str, *scopes: str, **wish: Any) -> Any:
        return await create_key(settings, KeyWish(label, scopes or ["admin"], **wish))

    soon = time.time_ns() // 1_000 + EXPIRES_US  # noqa: TID251 - an end on the real clock
    expired = await make("expired", expires_at_us=soon)
    revoked = await make("revoked")
    await revoke_keys(settings, [revoked.record.id])
    return Keys(
        good=(await make("good")).text,
        agent=(await make("agent", "preflight", "ingest", "read")).text,
        ingest=(await make("ingest", "ingest")).text,
        read=(await make("read", "read")).text,
        bound=(await make("bound", customers=["mine"])).text,
        busy=(await make("busy", requests_per_second=1)).text,
        revoked=revoked.text,
        expired=expired.text,
    )


def _is_ready(whole: Whole, target: Target) -> bool:
    installation = whole.installation
    for process in installation.workers:
        assert process.poll() is None, installation.log_text() + installation.log_text("gateway")
    return all(
        _answers(target, f"/v1/customers/{customer}/budget")
        for customer in probes(installation.settings.partitions)
    )


def _answers(target: Target, path: str) -> bool:
    try:
        return get(target, path).status_code == 200
    except requests.ConnectionError:
        return False


def get(target: Target, path: str) -> requests.Response:
    """What a gateway answers to a GET."""
    headers = {"Authorization": f"Bearer {target.key}"}
    return requests.get(target.url + path, headers=headers, timeout=ANSWER_SECONDS)


def job_when(client: Any, job: str, **figures: Any) -> Any:
    """How a job stands once these figures of it are as given: it counts a cycle or two after the
    customer did, in a partition of its own."""
    seen: list[Any] = [None]

    def stands() -> bool:
        seen[0] = client.get_task(job)
        return all(getattr(seen[0], name) == value for name, value in figures.items())

    try:
        until(stands, f"{job} has {figures}", ANSWER_SECONDS)
    except AssertionError as error:
        raise AssertionError(f"{error}: it stands at {seen[0]}") from None
    return seen[0]


_run: Final = secrets.token_hex(4)
_numbers = itertools.count(1)


def fresh(kind: str) -> str:
    """A name that no other test uses, of this run or another."""
    return f"{kind}-{_run}-{next(_numbers)}"
