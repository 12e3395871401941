"""How a task stands, from the rows that ClickHouse holds: its ceiling, what its calls used, what is
held.

The figures are those of the task's owner, by the same functions, as far as the sink has delivered.
Calls are summed by agent; what the task counts it counts from the entry on that opened it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from schemas.envelope import SCHEMA_VERSION
from schemas.money import format_amount
from schemas.structs import CeilingEntry, DecisionEntry, SettlementEntry
from streams.domain.holds import OpenHolds
from streams.domain.state import PartitionState, Progress
from streams.domain.tasks import Task, apply_ceiling, apply_settlement, left, open_task
from streams.invoicing.asof import WITHIN_CUT, Mark, read_cut
from streams.invoicing.draft import pico_of
from streams.invoicing.entries import Place, place_of, read_entries
from streams.invoicing.holds import OF_TASK, fold_open_holds
from streams.ports import Warehouse

OF_TASK_REF: Final = "customer_id = '' AND task_ref = {task:String}"

PLACES_SQL: Final = f"""
SELECT DISTINCT generation, `partition`
FROM ledger
WHERE {OF_TASK_REF}
    AND kind IN ('ceiling', 'decision', 'settlement')
    AND {WITHIN_CUT}
"""  # noqa: S608 - our own condition

CALLS_SQL: Final = f"""
SELECT
    agent_id,
    (generation, sequence) > ({{generation:UInt32}}, {{sequence:UInt64}}) AS counts,
    countIf(NOT adjusts),
    sum(toUInt128(units)),
    sum(toUInt128(tokens)),
    toString(sum(toDecimal256(usd, 12))),
    countIf(usage_missing),
    sum(if(adjusts, -1, 1) * toInt64(unpriced))
FROM ledger
WHERE {OF_TASK_REF} AND kind = 'settlement' AND {WITHIN_CUT}
GROUP BY agent_id, counts
ORDER BY counts, min((generation, sequence))
"""  # noqa: S608 - our own condition
"""Calls by agent, those before the task had a ceiling apart and first; agents in the order of their
first calls, because the breakdown tells only the first ones apart."""

NEVER: Final = (2**32 - 1, 2**64 - 1)
"""A place after every entry: of a task that never had a ceiling no call counts under one."""


@dataclass(frozen=True, slots=True)
class TaskReport:
    """A task as of `as_of`."""

    task: Task
    as_of: tuple[Mark, ...]

    @property
    def left(self) -> int | None:
        """What may still be held under the ceiling, never below zero; None without a ceiling."""
        free = left(self.task, OpenHolds())
        return None if free is None else max(0, free)


def task_report(warehouse: Warehouse, task_ref: str) -> TaskReport | None:
    """How a task stands, None for one that no row is about."""
    cut = read_cut(warehouse)
    parameters = {"task": task_ref, **cut.parameters()}
    rows = warehouse.query(PLACES_SQL, parameters).rows
    if not rows:
        return None
    task = Task(task_ref)
    state = PartitionState(Progress(), tasks={task_ref: task})
    fold_open_holds(warehouse, OF_TASK, parameters, state, task)
    _fold_calls(warehouse, parameters, task, _fold_ceilings(warehouse, parameters, task))
    places = {(int(generation), int(partition)) for generation, partition in rows}
    return TaskReport(task, cut.of(places))


def _fold_ceilings(warehouse: Warehouse, parameters: Mapping[str, Any], task: Task) -> Place:
    """Gives the task its ceiling; returns where it got the first one."""
    set_by = read_entries(warehouse, CeilingEntry, OF_TASK_REF, parameters)
    opened = read_entries(warehouse, DecisionEntry, f"{OF_TASK_REF} AND ceiling != ''", parameters)
    entries: list[CeilingEntry | DecisionEntry] = sorted([*set_by, *opened], key=place_of)
    for entry in entries:
        if isinstance(entry, CeilingEntry):
            apply_ceiling(task, entry)
        else:
            open_task(task, entry)
    return place_of(entries[0]) if entries else NEVER


def _fold_calls(
    warehouse: Warehouse, parameters: Mapping[str, Any], task: Task, opened: Place
) -> None:
    """Folds the calls, those of one agent as one, and counts them one by one."""
    generation, sequence = opened
    where = {**parameters, "generation": generation, "sequence": sequence}
    denomination, calls = task.denomination, 0
    for row in warehouse.query(CALLS_SQL, where).rows:
        task.denomination = denomination if row[1] else ""
        apply_settlement(task, _call(task.task_ref, row))
        calls += int(row[2])
        task.usage_missing_calls += int(row[6])
        task.unpriced_calls += int(row[7])
    task.denomination, task.calls = denomination, calls


def _call(task_ref: str, row: Sequence[Any]) -> SettlementEntry:
    """All calls of an agent as one; what it did to holds has been folded."""
    nowhere: dict[str, Any] = dict.fromkeys(("entry_id", "topic", "source", "event_id"), "")
    for name in ("partition", "sequence", "cycle", "decided_at", "source_offset", "entry_index"):
        nowhere[name] = 0
    return SettlementEntry(
        schema_version=SCHEMA_VERSION,
        generation=1,
        appended_at=0,
        occurred_at=0,
        task_ref=task_ref,
        agent_id=str(row[0]),
        units=int(row[3]),
        tokens=int(row[4]),
        usd=format_amount(pico_of(str(row[5]))),
        **nowhere,
    )
