"""Where `bench invoices` measures: an embedded ClickHouse of its own, or the one that is named.

Owns two databases: one that the migrations make, filled with a year of rows, and beside it the same
rows in a table that deduplicates when it is queried. Both are dropped afterwards, unless they are
kept.
"""

import contextlib
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from streams import shipped
from streams.app.warehouse import clickhouse
from streams.bench.invoice_rows import LedgerPlan, inserts, periods
from streams.embedded.home import Home, HomeLock
from streams.embedded.stack import EmbeddedStack, StackOptions
from streams.errors import SetupError, TransientError
from streams.ports import Answer, SchemaTarget, Warehouse
from streams.settings import Settings
from streams.sink.migrations import migrate, read_migrations

BYTES_A_ROW: Final = 160
"""Of a row on the disk, with room for merges: rows take 45 to 75 bytes, and a merge writes its
parts anew before it drops them."""

MERGE_SECONDS_MAX: Final = 600
"""How long the merge of a month is waited for; then it is measured as it is."""

NO_KAFKA: Final = "127.0.0.1:1"
"""Given as Kafka so that none is started: nothing here needs one."""

PARTITIONS_SQL: Final = (
    "SELECT DISTINCT partition_id FROM system.parts WHERE active "
    "AND database = currentDatabase() AND table = 'ledger' ORDER BY partition_id"
)

Say = Callable[[str], None]
"""Tells a person what is being done."""


@dataclass(frozen=True, slots=True)
class Finally:
    """A warehouse whose every query deduplicates: FINAL on every table, those of views as well."""

    warehouse: Warehouse

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Answer:
        """Runs one SELECT; settings of its own begin a line."""
        joined = "," if "\nSETTINGS " in sql else "\nSETTINGS"
        return self.warehouse.query(f"{sql}{joined} final = 1", parameters)


@dataclass(frozen=True, slots=True)
class InvoiceGround:
    """The rows, once exactly once, and once to be deduplicated."""

    plan: LedgerPlan
    exact: SchemaTarget
    final: Finally | None
    """The same rows deduplicated by every query; None where it was not asked for."""
    settings: Settings
    insert_seconds: float

    def bytes_on_disk(self) -> int:
        """Of the ledger."""
        sql = (
            "SELECT sum(bytes_on_disk) FROM system.parts "
            "WHERE active AND database = currentDatabase() AND table = 'ledger'"
        )
        return int(self.exact.query(sql).rows[0][0])


@contextlib.contextmanager
def open_invoice_ground(
    settings: Settings, plan: LedgerPlan, say: Say, *, final: bool, keep: bool
) -> Iterator[InvoiceGround]:
    """A year of rows in ClickHouse, gone afterwards. Raises SetupError."""
    name = f"bench_{secrets.token_hex(4)}"
    with _server(settings, say, keep=keep) as found, contextlib.ExitStack() as stack:
        exact = stack.enter_context(_database(found, name, keep=keep))
        _check_disk(exact, plan)
        began = time.perf_counter()
        _fill(exact, plan, say)
        seconds = time.perf_counter() - began
        _merge(exact, say)
        copy = None
        if final:
            copy = stack.enter_context(_database(found, f"{name}_final", keep=keep))
            _copy(exact, name, copy, say)
        where = found.model_copy(update={"clickhouse_database": name})
        yield InvoiceGround(plan, exact, None if copy is None else Finally(copy), where, seconds)
        if keep:
            say(f"kept: database {name} at {found.clickhouse_url}")


@contextlib.contextmanager
def _server(settings: Settings, say: Say, *, keep: bool) -> Iterator[Settings]:
    if settings.clickhouse_url is not None:
        yield settings
        return
    Home(settings.home).prepare()
    root = settings.home / "bench"
    root.mkdir(mode=0o700, exist_ok=True)
    with HomeLock(Home(root)):
        folder = Path(tempfile.mkdtemp(prefix="kept-" if keep else "run-", dir=root))
        options = StackOptions(root=folder, kafka_bootstrap=NO_KAFKA, restart_limit=0)
        say("starting ClickHouse")
        try:
            with EmbeddedStack(options, say=say) as stack:
                at = stack.endpoints()
                yield settings.model_copy(
                    update={
                        "clickhouse_url": at.clickhouse_url,
                        "clickhouse_user": at.clickhouse_user,
                        "clickhouse_password": SecretStr(at.clickhouse_password),
                    }
                )
        finally:
            if not keep:
                shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _database(settings: Settings, name: str, *, keep: bool) -> Iterator[SchemaTarget]:
    target = clickhouse(settings.model_copy(update={"clickhouse_database": name}))
    try:
        target.create_database()
        migrate(target, read_migrations(shipped.clickhouse_migrations()))
        yield target
    finally:
        if not keep:
            target.execute(f"DROP DATABASE IF EXISTS `{name}` SYNC")
        target.close()


def _check_disk(target: SchemaTarget, plan: LedgerPlan) -> None:
    free = int(target.query("SELECT min(unreserved_space) FROM system.disks").rows[0][0])
    needed = plan.total * BYTES_A_ROW
    if free < needed:
        raise SetupError(
            f"{plan.total:,} rows take up to {needed / 1e9:,.1f} GB of ClickHouse's disk while "
            f"they are merged, {free / 1e9:,.1f} GB are free",
            action="Give fewer --rows, or free some space.",
        )


def _fill(target: SchemaTarget, plan: LedgerPlan, say: Say) -> None:
    for at, period in enumerate(periods()):
        began = time.perf_counter()
        for statement in inserts(plan, "ledger", at):
            target.execute(statement)
        rate = plan.rows_a_month / (time.perf_counter() - began)
        say(f"rows of {period}: {plan.rows_a_month:,} ({rate:,.0f}/s)")


def _merge(target: SchemaTarget, say: Say) -> None:
    """What the server does by itself in the weeks that a month takes: one part for each."""
    for (partition,) in target.query(PARTITIONS_SQL).rows:
        began = time.perf_counter()
        with contextlib.suppress(
            TransientError
        ):  # The server goes on where no answer came in time.
            target.execute(f"OPTIMIZE TABLE ledger PARTITION ID '{partition}' FINAL")
        _await_merges(target)
        say(f"merged {partition} in {time.perf_counter() - began:,.1f} s")


def _await_merges(target: SchemaTarget) -> None:
    pause, deadline = threading.Event(), time.monotonic() + MERGE_SECONDS_MAX
    sql = "SELECT count() FROM system.merges WHERE database = currentDatabase()"
    while target.query(sql).rows[0][0] and time.monotonic() < deadline:
        pause.wait(0.5)


def _copy(exact: SchemaTarget, name: str, copy: SchemaTarget, say: Say) -> None:
    """The same rows in a table that deduplicates: its parts are those of the ledger, hard-linked.

    Its key is the ledger's. One that deduplicates safely would have the entry's id in it as well
    and be slower: this favours it.
    """
    say("the same rows in a table that deduplicates at query time")
    copy.execute("DROP TABLE ledger SYNC")
    source = f"`{name}`.ledger"
    copy.execute(
        f"CREATE TABLE ledger AS {source} ENGINE = ReplacingMergeTree "
        "PARTITION BY toYYYYMM(decided_at) ORDER BY (customer_id, kind, occurred_at) "
        "SETTINGS deduplicate_merge_projection_mode = 'rebuild'"
    )
    for (partition,) in exact.query(PARTITIONS_SQL).rows:
        copy.execute(f"ALTER TABLE ledger ATTACH PARTITION ID '{partition}' FROM {source}")
