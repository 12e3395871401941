"""Entries told by what matters to a report, in the tables as a sink puts them there.

    books = Planted()
    books.entry(UsageEntry, "2026-10-01T09:00:00Z", model="gpt-4o", cost="1.5")
    await books.load(clickhouse)

What is not told has a default: a place of its own, one customer, one partition."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from schemas import codec
from schemas.envelope import SCHEMA_VERSION
from schemas.structs import Attribution, DeadLetter
from schemas.times import parse_time_us
from streams.adapters.clickhouse import ClickHouse, ClickHouseAddress
from streams.adapters.clickhouse_rows import ClickHouseRows
from streams.adapters.memory_sink import MemoryLog
from streams.embedded.clickhouse import DATABASE
from streams.embedded.endpoints import Endpoints
from tests.sinks import drain, migrated_database

TABLES: Final[dict[type, str]] = {Attribution: "attributions", DeadLetter: "dead_letters"}


class Planted:
    """Rows of all tables, with dense sequences."""

    def __init__(self) -> None:
        self.rows: dict[str, list[bytes]] = {"ledger": [], "attributions": [], "dead_letters": []}

    def entry(self, kind: type[Any], at: str | int, **more: Any) -> str:
        """A row of the table that its kind belongs to; its entry id. `at` is when it happened, was
        appended and decided, unless told otherwise."""
        rows = self.rows[TABLES.get(kind, "ledger")]
        at_us = parse_time_us(at) if isinstance(at, str) else at
        entry_id = f"1-{TABLES.get(kind, 'usage')}-0-{len(rows)}-0"
        defaults: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "entry_id": entry_id,
            "generation": 1,
            "partition": 0,
            "sequence": len(rows),
            "cycle": 1,
            "decided_at": at_us,
            "topic": "usage",
            "source_offset": len(rows),
            "entry_index": 0,
            "appended_at": at_us,
            "occurred_at": at_us,
            "customer_id": "acme",
            "source": "crm",
            "event_id": f"e{len(rows)}",
        }
        known = {field.name for field in msgspec.structs.fields(kind)}
        told = {name: value for name, value in defaults.items() if name in known} | more
        rows.append(codec.encode(kind(**told)))
        return str(told["entry_id"])

    async def load(self, clickhouse: ClickHouse) -> None:
        """All rows, by the sink."""
        for table, rows in self.rows.items():
            log = MemoryLog(table, 0)
            for row in rows:
                log.append(row)
            if rows:
                await drain(log, ClickHouseRows(clickhouse))


@contextlib.contextmanager
def analysed(endpoints: Endpoints, books: Planted, *inserts: str) -> Iterator[ClickHouse]:
    """The embedded analyst's connection to these rows, in the one database that it may read.
    `inserts` are statements for rows of other tables."""
    assert endpoints.analyst_user is not None, "the engine cannot be confined on this machine"
    assert endpoints.analyst_password is not None
    with migrated_database(endpoints, DATABASE) as administrator:
        asyncio.run(books.load(administrator))
        for statement in inserts:
            administrator.execute(statement)
        address = ClickHouseAddress(
            endpoints.clickhouse_url, endpoints.analyst_user, endpoints.analyst_password, DATABASE
        )
        found = ClickHouse(address, read_only=True)
        yield found
        found.close()
