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


def read_shares(installation: Installation) -> list[list[Attribution]]:
    """The attributions by partition."""
    parts = installation.read(ATTRIBUTIONS.name)
    return [[codec.decode_attribution(record.value) for record in part] for part in parts]


def check_shares(
    ledger: Sequence[Sequence[LedgerEntry]], rows: Sequence[Sequence[Attribution]], verdict: Verdict
) -> dict[str, Decimal]:
    """The rows of every cost that names a trace or a scope sum to it, by the log alone; a row
    shares it among signals of its customer. Every window must have closed. Returns the costs."""
    for partition, part in enumerate(rows):
        if [row.sequence for row in part] != list(range(len(part))):
            verdict.faults.append(f"partition {partition}: attributions are not dense")
    entries = [entry for part in ledger for entry in part]
    owners = {e.entry_id: e.customer_id for e in entries if isinstance(e, SignalEntry)}
    costs, customers = dict[str, Decimal](), dict[str, str]()
    for entry in entries:
        if isinstance(entry, UsageEntry | AdjustmentEntry) and (entry.trace_id or entry.scope_id):
            costs[entry.entry_id] = Decimal(entry.cost)
            customers[entry.entry_id] = entry.customer_id
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for row in (row for part in rows for row in part if row.role != "signal"):
        sums[row.cost_entry] += Decimal(row.amount)
        if row.signal_entry and owners.get(row.signal_entry) != customers.get(row.cost_entry):
            verdict.faults.append(f"{row.entry_id}: a signal carries another customer's cost")
    compare_sums("the log", costs, sums, verdict)
    return costs


def check_share_rows(
    clickhouse: ClickHouse,
    rows: Iterable[Sequence[Attribution]],
    costs: dict[str, Decimal],
    verdict: Verdict,
) -> None:
    """ClickHouse holds each attribution once, and sums them to the costs of the ledger itself."""
    due = {_content(row) for part in rows for row in part}
    found = [
        (*row[:5], Decimal(row[5]))
        for row in clickhouse.query(
            "SELECT partition, sequence, entry_id, cost_entry, signal_entry, toString(amount) "
            "FROM attributions"
        ).rows
    ]
    missing, surplus = due - set(found), set(found) - due
    verdict.lost += len(missing)
    verdict.doubled += len(found) - len(set(found)) + len(surplus)
    if len(found) != len(due) or missing or surplus:
        verdict.faults.append(
            f"table attributions: {len(found)} rows for {len(due)} records; missing "
            f"{sorted(missing)[:PLACES_SHOWN]}, not due {sorted(surplus)[:PLACES_SHOWN]}"
        )
    sums = clickhouse.query(
        "SELECT cost_entry, toString(sum(toDecimal256(amount, 12))) FROM attributions "
        "WHERE role != 'signal' GROUP BY cost_entry"
    ).rows
    compare_sums("ClickHouse", costs, {str(k): Decimal(v) for k, v in sums}, verdict)
    (row,) = clickhouse.query(
        "SELECT countIf(open != 0), countIf(carried != 0) FROM trace_costs"
    ).rows
    if row[0] or not row[1]:
        verdict.faults.append(f"trace_costs: {row[0]} traces open, {row[1]} carried by signals")


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
