"""Rows for tests of what analysts read: entries of the ledger and records as the schemas have
them, put where the sink puts them."""

import asyncio
from collections.abc import Iterable
from itertools import groupby
from typing import Any, Final

from schemas import codec
from schemas.envelope import SCHEMA_VERSION
from schemas.times import parse_time_us
from streams.adapters.clickhouse import ClickHouse
from streams.adapters.clickhouse_catalog import ClickHouseCatalog
from streams.adapters.clickhouse_rows import ClickHouseRows
from streams.domain.months import month_containing
from streams.ports import NO_ROWS, CatalogPlace

DIGEST: Final = "d" * 64


def at(text: str) -> int:
    """Microseconds of a time of 2026, as `10-31T12:00`, or of a day."""
    return parse_time_us(f"2026-{text}:00Z" if "T" in text else f"2026-{text}T00:00:00Z")


class World:
    """Entries in the order of the ledger, attributions, dead letters and catalog records."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = {
            "ledger": [],
            "attributions": [],
            "dead_letters": [],
        }
        self.catalog: list[tuple[CatalogPlace, bytes]] = []

    def outbound(self, table: str, decided_at: int, **fields: Any) -> str:
        """One row of a table under the next sequence; its entry_id."""
        sequence = len(self.rows[table])
        head = {
            "schema_version": SCHEMA_VERSION,
            "entry_id": f"{table[0]}{sequence}",
            "generation": 1,
            "partition": 0,
            "sequence": sequence,
            "cycle": 1,
            "decided_at": decided_at,
        }
        self.rows[table].append(head | fields)
        return str((head | fields)["entry_id"])

    def entry(
        self, kind: str, customer: str, occurred: str, decided: str = "", **fields: Any
    ) -> str:
        """An entry about something that happened then and was decided then, or at once."""
        occurred_at = at(occurred)
        decided_at = at(decided) if decided else occurred_at
        sourced = {
            "kind": kind,
            "topic": "usage",
            "source_offset": len(self.rows["ledger"]),
            "entry_index": 0,
            "appended_at": fields.pop("appended_at", decided_at),
            "occurred_at": occurred_at,
            "customer_id": customer,
            "source": "crm",
            "event_id": f"e{len(self.rows['ledger'])}",
        }
        return self.outbound("ledger", decided_at, **(sourced | fields))

    def share(self, customer: str, cost: str, signal: str, name: str, amount: str) -> None:
        """What a signal carries of a cost, or nobody where there is none."""
        self.outbound(
            "attributions",
            at("11-01"),
            role="share" if signal else "unattributed",
            customer_id=customer,
            cause="c",
            trace_id="t",
            cost_entry=cost,
            signal_entry=signal,
            signal_name=name,
            amount=amount,
        )

    def record(self, kind: str, name: str, version: str, **fields: Any) -> None:
        """A catalog record."""
        offset = 2 * len(self.catalog)
        place = CatalogPlace(offset, at("08-01") + offset, kind, name, version)
        head = {"schema_version": SCHEMA_VERSION, "kind": kind, "id": name, "version": version}
        self.catalog.append((place, codec.encode(head | fields)))

    def fill(self, clickhouse: ClickHouse) -> None:
        """Puts everything into empty tables, as the sink does."""
        asyncio.run(self._fill(clickhouse))

    async def _fill(self, clickhouse: ClickHouse) -> None:
        target = ClickHouseRows(clickhouse)
        for table, rows in self.rows.items():
            for _month, group in groupby(rows, key=lambda row: month_containing(row["decided_at"])):
                batch = list(group)
                body = codec.join_rows(codec.encode(row) for row in batch)
                await target.insert(table, 1, 0, batch[0]["sequence"] - 1, body)
            last = await target.mark(table, 1, 0)
            assert last == len(rows) - 1, table
        await ClickHouseCatalog(clickhouse).insert(NO_ROWS, self.catalog)


def line(number: int, amount: str, **fields: Any) -> dict[str, Any]:
    """A line of an invoice, of usage in September in dollars where nothing else is said."""
    plain = {
        "line": number,
        "line_kind": "usage",
        "label": "2026-09",
        "item": "",
        "title": "",
        "quantity": "1",
        "from_us": at("09-01"),
        "to_us": at("10-01"),
        "amount": amount,
        "currency": "USD",
    }
    return plain | fields


def invoice(
    world: World,
    customer: str,
    number: str,
    month: int,
    lines: Iterable[dict[str, Any]],
    card: str = "pro",
) -> None:
    """Closes a month of a customer on the 2nd of the next one, and issues its invoice."""
    period: dict[str, Any] = {
        "number": number,
        "label": f"2026-{month:02d}",
        "period_from": at(f"{month:02d}-01"),
        "period_to": at(f"{month + 1:02d}-01"),
    }
    closed = f"{month + 1:02d}-02T12:00"
    segment = {
        "card": card,
        "version": "1",
        "from_us": period["period_from"],
        "to_us": period["period_to"],
    }
    world.entry(
        "invoice_close",
        customer,
        closed,
        topic="budgets",
        zone="UTC",
        segments=[segment],
        cut_generation=1,
        cut_sequence=len(world.rows["ledger"]),
        **period,
    )
    issue(world, customer, closed, "invoice", lines, **period)


def issue(
    world: World,
    customer: str,
    when: str,
    document: str,
    lines: Iterable[dict[str, Any]],
    **more: Any,
) -> None:
    """Issues a document."""
    world.entry(
        "invoice_issue",
        customer,
        when,
        topic="budgets",
        document=document,
        digest=DIGEST,
        lines=list(lines),
        totals=[],
        **more,
    )
