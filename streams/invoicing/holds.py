"""The holds of an account that are open in the rows: placed, extended, used in part, not ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from schemas.money import format_amount
from schemas.structs import DecisionEntry, ExtensionEntry
from streams.domain.budget import parse_balance_text
from streams.domain.holding import evolve_hold
from streams.domain.holds import Holder, reduce
from streams.domain.state import PartitionState
from streams.invoicing.asof import WITHIN_CUT
from streams.invoicing.draft import pico_of
from streams.invoicing.entries import place_of, read_entries
from streams.ports import Warehouse


@dataclass(frozen=True, slots=True)
class HoldRows:
    """Which rows are about the holds of one account: `about` finds their decisions, extensions and
    ends, `using` the usage that took parts of them."""

    about: str
    using: str


OF_CUSTOMER: Final = HoldRows(
    "customer_id = {customer:String} AND account_kind = 'customer'",
    "customer_id = {customer:String} AND kind = 'usage'",
)
OF_TASK: Final = HoldRows(
    "customer_id = '' AND account_kind = 'task' AND task_ref = {task:String}",
    "customer_id = '' AND kind = 'settlement' AND task_ref = {task:String}",
)


def fold_open_holds(
    warehouse: Warehouse,
    rows: HoldRows,
    parameters: Mapping[str, Any],
    state: PartitionState,
    holder: Holder,
) -> None:
    """Puts the open holds of an account of the state into it, in the order in which they were
    placed.

    `parameters` are those of `rows` and of `WITHIN_CUT`. A hold whose time is over stands here
    until its owner has said so, as it does for the owner (P2).
    """
    is_open = f"{rows.about} AND reservation_id NOT IN ({_ended(rows)})"
    placed = read_entries(warehouse, DecisionEntry, f"approved AND {is_open}", parameters)
    extended = read_entries(warehouse, ExtensionEntry, is_open, parameters)
    entries: list[DecisionEntry | ExtensionEntry] = [*placed, *extended]
    for entry in sorted(entries, key=place_of):
        evolve_hold(state, entry)
    for reservation_id, pico in _used_parts(warehouse, rows, parameters) if placed else ():
        denomination = holder.holds[reservation_id].denomination
        reduce(holder, reservation_id, parse_balance_text(denomination, format_amount(pico)))


def _ended(rows: HoldRows) -> str:
    """The ids of the holds that have ended, as a subquery."""
    return (
        f"SELECT reservation_id FROM ledger WHERE kind = 'closing' AND {rows.about} "  # noqa: S608
        f"AND {WITHIN_CUT}"
    )


def _used_parts(
    warehouse: Warehouse, rows: HoldRows, parameters: Mapping[str, Any]
) -> list[tuple[str, int]]:
    """What usage took from each open hold, in pico of its denomination."""
    found = warehouse.query(
        "SELECT part.reservation_id, toString(sum(toDecimal256(part.amount, 12))) "  # noqa: S608
        f"FROM ledger ARRAY JOIN holds AS part WHERE {rows.using} AND {WITHIN_CUT} "
        f"AND part.reservation_id NOT IN ({_ended(rows)}) GROUP BY part.reservation_id",
        parameters,
    ).rows
    return [(str(reservation_id), pico_of(str(amount))) for reservation_id, amount in found]
