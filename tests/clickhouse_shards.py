"""Two embedded servers that know each other as the shards of one cluster, for what a cluster can
show on one machine.

The engine inside them has no Keeper: ON CLUSTER is taken away and every statement sent to both, and
where rows are to be written a plain table stands for the replicated one. `testkeeper` is a Keeper
inside the process that lets replicated tables be made, and nothing be written to them.
"""

import contextlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from streams.adapters.clickhouse import ClickHouse, ClickHouseAddress
from streams.embedded.clickhouse import (
    ClickHouseOptions,
    clickhouse_answers,
    prepare_clickhouse,
)
from streams.embedded.home import Secrets
from streams.embedded.ports import LOOPBACK, pick_free_ports
from streams.shipped import clickhouse_migrations
from streams.sink.cluster import for_cluster
from streams.sink.migrations import CREATE_TABLE, read_migrations
from tests.embedded_waiting import until

CLUSTER: Final = "shards"
DATABASE: Final = "tollgate"
SECRETS: Final = Secrets(admin_password="only-in-a-test-1", analyst_password="only-in-a-test-2")
START_SECONDS: Final = 60.0
"""A deadline: a start takes a second."""


def statements() -> list[str]:
    """Everything that `tollgate migrate` executes for a cluster, in its order."""
    views: set[str] = set()
    found = list(for_cluster([CREATE_TABLE], CLUSTER, views))
    for migration in read_migrations(clickhouse_migrations()):
        found += for_cluster(migration.statements, CLUSTER, views)
    return found


def for_one_server(made: Iterable[str], *, replicated: bool) -> list[str]:
    """The statements as a server without distributed DDL takes them."""
    found = [statement.replace(f" ON CLUSTER `{CLUSTER}`", "", 1) for statement in made]
    if replicated:
        # {uuid} is for ON CLUSTER alone; a name is as good where nothing is made twice.
        return [statement.replace("{uuid}", str(number)) for number, statement in enumerate(found)]
    plain = re.compile(r"ReplicatedMergeTree\([^)]*\)")
    return [
        plain.sub("MergeTree", statement).replace(
            "SETTINGS replicated_dedup", "SETTINGS non_replicated_dedup"
        )
        for statement in found
    ]


@contextlib.contextmanager
def running_shards(count: int = 2) -> Iterator[list[ClickHouse]]:
    """Servers of one cluster, an administrator's connection to each; gone afterwards."""
    with contextlib.ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shards-")))
        ports = pick_free_ports(2 * count)
        http, tcp = ports[:count], ports[count:]
        for number in range(count):
            stack.enter_context(_server(root / str(number), number, http[number], tcp))
        yield [stack.enter_context(contextlib.closing(_connect(port))) for port in http]


def _connect(port: int) -> ClickHouse:
    address = ClickHouseAddress(
        f"http://{LOOPBACK}:{port}", "admin", SECRETS.admin_password, DATABASE
    )
    clickhouse = ClickHouse(address)
    clickhouse.create_database()
    return clickhouse


@contextlib.contextmanager
def _server(folder: Path, number: int, http_port: int, tcp: Sequence[int]) -> Iterator[None]:
    folder.mkdir(parents=True)
    options = ClickHouseOptions(folder, http_port, tcp[number], fsync=False)
    spec = prepare_clickhouse(options, SECRETS, restart_limit=0)
    shards = "".join(
        f"<shard><internal_replication>true</internal_replication><replica><host>{LOOPBACK}</host>"
        f"<port>{port}</port><user>admin</user><password>{SECRETS.admin_password}</password>"
        "</replica></shard>"
        for port in tcp
    )
    more = (
        "<zookeeper><implementation>testkeeper</implementation></zookeeper>"
        f"<macros><shard>{number}</shard><replica>r0</replica></macros>"
        f"<remote_servers><{CLUSTER}>{shards}</{CLUSTER}></remote_servers></clickhouse>"
    )
    config = folder / "conf" / "config.xml"
    config.write_text(config.read_text("utf-8").replace("</clickhouse>", more), "utf-8")
    users = folder / "conf" / "users.xml"
    local = (
        "<async_insert>0</async_insert><distributed_product_mode>local</distributed_product_mode>"
    )
    users.write_text(
        users.read_text("utf-8").replace("<async_insert>0</async_insert>", local, 1), "utf-8"
    )
    with (folder / "out.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.clickhouse_shard_process", str(folder)],
            env=dict(spec.env),
            cwd=spec.cwd,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        until(lambda: clickhouse_answers(http_port, SECRETS), "a shard answers", START_SECONDS)
        yield
    finally:
        server.kill()
        server.wait()
