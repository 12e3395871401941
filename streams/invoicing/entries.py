"""Rows of the ledger as the entries that they were, for the few kinds that a report folds.

Usage is never read this way: a customer may have a hundred million rows of it. Reports take sums of
usage and apply the domain's rules to those.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from schemas import entry
from schemas.budget import Denomination
from schemas.money import format_amount
from schemas.structs import CeilingEntry, DecisionEntry, ExtensionEntry, GrantEntry, LimitEntry
from streams.invoicing.asof import WITHIN_CUT
from streams.invoicing.draft import pico_of
from streams.ports import Warehouse

E = TypeVar("E", GrantEntry, LimitEntry, CeilingEntry, DecisionEntry, ExtensionEntry)

Place = tuple[int, int]
"""Generation and sequence. An account is in one partition of each generation, so the places of its
entries are in the order in which they count."""

_TIMES: Final = frozenset(
    {"decided_at", "appended_at", "occurred_at", "effective_at", "expires_at", "anchor"}
)
_AMOUNTS: Final = frozenset({"amount", "rollover_max", "used"})

_KINDS: Final[Mapping[Any, tuple[str, type[BaseModel]]]] = {
    GrantEntry: ("grant", entry.GrantEntry),
    LimitEntry: ("limit", entry.LimitEntry),
    CeilingEntry: ("ceiling", entry.CeilingEntry),
    DecisionEntry: ("decision", entry.DecisionEntry),
    ExtensionEntry: ("extension", entry.ExtensionEntry),
}


def read_entries(
    warehouse: Warehouse, kind: type[E], condition: str, parameters: Mapping[str, Any]
) -> list[E]:
    """The entries of one kind that meet a condition of ours, in the order in which they count.

    `parameters` are those of the condition and of `WITHIN_CUT`.
    """
    told, model = _KINDS[kind]
    names = [name for name in model.model_fields if name != "kind"]
    rows = warehouse.query(
        f"SELECT {', '.join(map(_column, names))} FROM ledger "  # noqa: S608 - our own names
        f"WHERE kind = '{told}' AND {condition} AND {WITHIN_CUT} ORDER BY generation, sequence",
        parameters,
    ).rows
    return [kind(**_fields(names, row)) for row in rows]


def place_of(one: entry.SourcedEntry) -> Place:
    """Where an entry stands."""
    return (one.generation, one.sequence)


def _column(name: str) -> str:
    if name in _TIMES:
        return f"toUnixTimestamp64Micro({name})"
    return f"toString({name})" if name in _AMOUNTS else f"`{name}`"


def _fields(names: Sequence[str], row: Sequence[Any]) -> dict[str, Any]:
    fields = dict(zip(names, row, strict=True))
    for name in _AMOUNTS & fields.keys():
        if fields[name] is not None:
            fields[name] = format_amount(pico_of(fields[name]))
    if "denomination" in fields:
        fields["denomination"] = Denomination(fields["denomination"])
    return fields
