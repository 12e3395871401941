"""Whose cost it is, in the log and in ClickHouse: every cost with a trace is shared out to the
pico-dollar, each row once. Knows nothing of how; that is what the audit compares.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final

from schemas import codec
from schemas.structs import (
    AdjustmentEntry,
    Attribution,
    LedgerEntry,
    SignalEntry,
    UsageEntry,
    replace,
)
from schemas.topics import ACCOUNTS_CHANGELOG, ATTRIBUTIONS
from streams.adapters.catalog import append_catalog, read_catalog
from streams.adapters.clickhouse import ClickHouse
from streams.app.installation import default_rules
from streams.domain.appends import decode_progress
from streams.ports import PROGRESS_KEY
from tests.installation import Installation
from tests.soak.books import PLACES_SHOWN, Verdict

GRACE_SECONDS: Final = 1
"""After which a quiet window closes: events that a trouble holds up come late."""


def close_soon(installation: Installation, grace_seconds: int = GRACE_SECONDS) -> None:
    """Rules under which windows close while the test goes on."""
    asyncio.run(_close_soon(installation, grace_seconds))


async def _close_soon(installation: Installation, grace_seconds: int) -> None:
    settings = installation.settings
    assert settings.kafka_bootstrap is not None
    view = await read_catalog(settings.kafka_bootstrap, settings.topic_prefix)
    rules = replace(
        default_rules(),
        version="close soon",
        trace_lateness_seconds=0,
        trace_grace_seconds=grace_seconds,
    )
    await append_catalog(settings.kafka_bootstrap, settings.topic_prefix, view, [rules])


def all_closed(installation: Installation) -> bool:
    """Whether no window of any partition waits to close, as the changelogs say."""
    for part in installation.read(ACCOUNTS_CHANGELOG.name):
        told = [record.value for record in part if record.key == PROGRESS_KEY]
        if told:
            progress = decode_progress(told[-1])
            if progress.closing_from < progress.closing_to:
                return False
    return True


class Shares:
    """The shares of a ledger's costs, checked partition by partition.

    The rows of every cost that names a trace or a scope sum to it, by the log alone; a row shares
    it among signals of its customer. Every window must have closed."""

    def __init__(self, ledger: Iterable[Iterable[LedgerEntry]], verdict: Verdict) -> None:
        """What is to be shared, and among whom."""
        self._verdict = verdict
        self._owners: dict[str, str] = {}
        self._customers: dict[str, str] = {}
        self._costs: dict[str, Decimal] = {}
        for entry in (entry for part in ledger for entry in part):
            if isinstance(entry, SignalEntry):
                self._owners[entry.entry_id] = entry.customer_id
            elif isinstance(entry, UsageEntry | AdjustmentEntry) and (
                entry.trace_id or entry.scope_id
            ):
                self._costs[entry.entry_id] = Decimal(entry.cost)
                self._customers[entry.entry_id] = entry.customer_id
        self._sums: dict[str, Decimal] = defaultdict(Decimal)
        self.roles: set[str] = set()
        """What rows there are."""

    def check(self, installation: Installation, clickhouse: ClickHouse | None = None) -> None:
        """Reads the log, and with `clickhouse` the rows that it must hold, each once."""
        for partition in range(installation.settings.partitions):
            records = installation.read_partition(ATTRIBUTIONS.name, partition)
            rows = [codec.decode_attribution(record.value) for record in records]
            self._add(partition, rows)
            if clickhouse is not None:
                self._compare_rows(clickhouse, partition, rows)
        compare_sums("the log", self._costs, self._sums, self._verdict)
        if clickhouse is not None:
            self._compare_totals(clickhouse)

    def _add(self, partition: int, rows: Sequence[Attribution]) -> None:
        verdict = self._verdict
        verdict.shares += len(rows)
        verdict.late += sum("late" in row.flags for row in rows)
        verdict.voided += sum("voided" in row.flags for row in rows)
        if [row.sequence for row in rows] != list(range(len(rows))):
            verdict.faults.append(f"partition {partition}: attributions are not dense")
        self.roles |= {row.role for row in rows}
        for row in rows:
            if row.role == "signal":
                continue
            self._sums[row.cost_entry] += Decimal(row.amount)
            claimed, owner = row.signal_entry, self._owners.get(row.signal_entry)
            if claimed and owner != self._customers.get(row.cost_entry):
                verdict.faults.append(f"{row.entry_id}: a signal carries another customer's cost")

    def _compare_rows(
        self, clickhouse: ClickHouse, partition: int, rows: Sequence[Attribution]
    ) -> None:
        due = {_content(row) for row in rows}
        found = [
            (*row[:5], Decimal(row[5]))
            for row in clickhouse.query(
                "SELECT partition, sequence, entry_id, cost_entry, signal_entry, toString(amount) "
                "FROM attributions WHERE partition = {partition:UInt32}",
                {"partition": partition},
            ).rows
        ]
        missing, surplus = due.difference(found), set(found) - due
        verdict = self._verdict
        verdict.lost += len(missing)
        verdict.doubled += len(found) - len(set(found)) + len(surplus)
        if len(found) != len(due) or missing or surplus:
            verdict.faults.append(
                f"table attributions, partition {partition}: {len(found)} rows for {len(due)} "
                f"records; missing {sorted(missing)[:PLACES_SHOWN]}, not due "
                f"{sorted(surplus)[:PLACES_SHOWN]}"
            )

    def _compare_totals(self, clickhouse: ClickHouse) -> None:
        """ClickHouse sums them to the costs of the ledger itself."""
        sums = clickhouse.query(
            "SELECT cost_entry, toString(sum(toDecimal256(amount, 12))) FROM attributions "
            "WHERE role != 'signal' GROUP BY cost_entry"
        ).rows
        found = {str(name): Decimal(amount) for name, amount in sums}
        compare_sums("ClickHouse", self._costs, found, self._verdict)
        (row,) = clickhouse.query(
            "SELECT countIf(open != 0), countIf(carried != 0) FROM trace_costs"
        ).rows
        if row[0] or not row[1]:
            fault = f"trace_costs: {row[0]} traces open, {row[1]} carried by signals"
            self._verdict.faults.append(fault)


def compare_sums(
    where: str, costs: dict[str, Decimal], sums: dict[str, Decimal], verdict: Verdict
) -> None:
    """Every cost has rows, which sum to it; nothing else has."""
    wrong = {name: (sums.get(name), cost) for name, cost in costs.items() if sums.get(name) != cost}
    strange = sums.keys() - costs.keys()
    verdict.wrong_sums += len(wrong) + len(strange)
    if wrong or strange or not costs:
        shown = (list(wrong.items())[:PLACES_SHOWN], sorted(strange)[:PLACES_SHOWN])
        verdict.faults.append(
            f"{where}: shares of {len(wrong)} of {len(costs)} costs do not sum to them, "
            f"{len(strange)} are of no cost: {shown}"
        )


def _content(row: Attribution) -> tuple[Any, ...]:
    place = (row.partition, row.sequence, row.entry_id)
    return (*place, row.cost_entry, row.signal_entry, Decimal(row.amount))
