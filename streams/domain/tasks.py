"""A task's account (P8): what all calls of a job may use together, whoever pays for them.

It is opened by the first preflight that names a ceiling, or by administration; usage reaches it as
transfers from the customers' partitions. Its holds go with the customers' holds and end with them.
"""

from typing import Final

from schemas.money import parse_signed_amount
from schemas.structs import (
    CeilingEntry,
    DecisionEntry,
    Row,
    SettlementEntry,
    column,
)
from streams.domain.budget import held, parse_balance_text
from streams.domain.holds import Hold, Holder, reduce

ROW_PREFIX: Final = "\0task\0"
"""Before a task's ref in the key of its row. No customer's id begins with NUL."""

AGENTS_MAX: Final = 64
"""Agents that a task's breakdown tells apart; what others use is under ''."""


class Task(Row):
    """The row of one task. `denomination` is empty until it has a ceiling: then it is tracked."""

    task_ref: str
    denomination: str = ""
    ceiling: int = 0
    agent_id: str = ""
    """Of the call that opened it."""
    used_units: int = 0
    used_tokens: int = 0
    used_pico_usd: int = 0
    calls: int = 0
    usage_missing_calls: int = 0
    unpriced_calls: int = 0
    breakdown: dict[str, int] = column(default_factory=dict)
    """Used in the task's denomination since it has one, by agent."""
    holds: dict[str, Hold] = column(default_factory=dict)
    held: dict[str, int] = column(default_factory=dict)
    last_sequence: int = -1


def row_key(task_ref: str) -> bytes:
    """The key of a task's row among the accounts."""
    return (ROW_PREFIX + task_ref).encode()


def is_task_row(key: bytes) -> bool:
    """Whether a row of the accounts is a task's."""
    return key.startswith(ROW_PREFIX.encode())


def used(task: Task, denomination: str) -> int:
    """What a task has used of a denomination."""
    if denomination == "unit":
        return task.used_units
    return task.used_tokens if denomination == "token" else task.used_pico_usd


def left(task: Task, pending: Holder) -> int | None:
    """What is left under the ceiling, holds taken off; negative where more was used, None without
    a ceiling. `pending` are holds that the task does not have yet."""
    if not task.denomination:
        return None
    return task.ceiling - used(task, task.denomination) - held(task, pending, task.denomination)


def apply_ceiling(task: Task, entry: CeilingEntry) -> None:
    """Folds a ceiling into the task, in place. Its denomination never changes."""
    task.denomination = entry.denomination.value
    task.ceiling = parse_balance_text(task.denomination, entry.amount)


def open_task(task: Task, entry: DecisionEntry) -> None:
    """Folds the ceiling of the decision that opens the task."""
    task.denomination = entry.denomination.value
    task.ceiling = parse_balance_text(task.denomination, entry.ceiling)
    task.agent_id = entry.agent_id


def apply_settlement(task: Task, entry: SettlementEntry) -> None:
    """Folds what a customer's usage entry means for the task, in place."""
    pico_usd = parse_signed_amount(entry.usd)
    task.used_units += entry.units
    task.used_tokens += entry.tokens
    task.used_pico_usd += pico_usd
    if entry.adjusts:
        task.unpriced_calls -= entry.unpriced
    else:
        task.calls += 1
        task.usage_missing_calls += entry.usage_missing
        task.unpriced_calls += entry.unpriced
    if task.denomination:
        amount = {"unit": entry.units, "token": entry.tokens, "usd": pico_usd}[task.denomination]
        agent = entry.agent_id
        if agent not in task.breakdown and len(task.breakdown) >= AGENTS_MAX:
            agent = ""
        task.breakdown[agent] = task.breakdown.get(agent, 0) + amount
    for part in entry.holds:
        reduce(task, part.reservation_id, parse_balance_text(task.denomination, part.amount))
