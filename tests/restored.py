"""An installation that is filled from an archive: no topic, no row and no disk before."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from streams.adapters.clickhouse import ClickHouse
from streams.embedded.endpoints import Endpoints
from streams.settings import Settings
from tests.installation import Installation
from tests.sinks import migrated_database
from tests.whole import Command


@contextlib.contextmanager
def without_anything(
    endpoints: Endpoints, name: str, home: Path
) -> Iterator[tuple[Installation, ClickHouse]]:
    """Settings of an installation whose topics do not exist, and a database with empty tables."""
    settings = Settings(
        home=home,
        kafka_bootstrap=endpoints.kafka_bootstrap,
        topic_prefix=f"{name}.",
        app_id=name,
        partitions=2,
        clickhouse_url=endpoints.clickhouse_url,
        clickhouse_user=endpoints.clickhouse_user,
        clickhouse_password=SecretStr(endpoints.clickhouse_password),
        clickhouse_database=name,
        sink_linger_ms=20,
    )
    with (
        migrated_database(endpoints, name) as clickhouse,
        Installation(settings) as installation,
    ):
        yield installation, clickhouse


def documents(tollgate: Command) -> dict[str, str]:
    """Every document that was issued, as its JSON, by number."""
    listed = [json.loads(line) for line in tollgate("invoice", "list", "--json")[1].splitlines()]
    found = {}
    for one in listed:
        if one["number"]:
            code, out, err = tollgate("invoice", "show", one["number"], "--json")
            assert code == 0, err
            found[one["number"]] = out
    return found


def budget(tollgate: Command, customer: str) -> dict[str, Any]:
    """What a customer has left, without when it was said."""
    code, out, err = tollgate("budget", customer, "--json")
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    del found["as_of"]
    return found


def positions(installation: Installation, topic: str) -> list[list[tuple[Any, ...]]]:
    """All records of a topic with where they lie and when they were appended, by partition."""
    return [
        [(r.offset, r.timestamp, r.key, r.value) for r in part] for part in installation.read(topic)
    ]
