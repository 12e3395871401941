"""The msgspec twin of every record: the same fields, made for speed.

The Pydantic models are the contract; this module builds a frozen Struct from each model's own
fields when it is loaded, so there is one definition and nothing to keep in step. Type checkers are
shown the model, whose fields and keyword constructor are the same. What a Struct does not check
(`AfterValidator`s: the bytes of an id, the calendar, twelve decimals) `schemas.codec` and
`streams.domain.facts` do with the very functions the models use.
"""

import re
from collections.abc import Iterable
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
import msgspec
from pydantic import AfterValidator, BaseModel, StringConstraints
from pydantic.fields import FieldInfo

from schemas import (
    answer,
    attribution,
    budget,
    catalog,
    deadletter,
    entry,
    owner,
    preflight,
    signal,
    transfer,
    usage,
)


class Value(msgspec.Struct, frozen=True, gc=False):
    """Base of the small values that the core makes several of for each event: made in a third of
    the time of a dataclass, and never looked through for garbage, as none of them holds itself."""


class Row(msgspec.Struct, omit_defaults=True, gc=False):
    """Base of what a table's row holds, changed in place. What still has its default is not
    written: a new customer's row is half as long, and fields may be added without rewriting
    tables."""


column = msgspec.field
"""A Row's field whose default is made anew for each row."""


def _constraints(metadata: Iterable[object]) -> dict[str, Any]:
    r"""The msgspec constraints that say what this Pydantic metadata says.

    A pattern is left out where an AfterValidator follows: its function reads the whole text anyway.
    `$` becomes `\Z`, because Python's `$` would let a final newline pass and Pydantic's does not.
    """
    found: dict[str, Any] = {}
    pattern: str | None = None
    validated = False
    for item in metadata:
        if isinstance(item, FieldInfo):
            found |= _constraints(item.metadata)
        elif isinstance(item, AfterValidator):
            validated = True
        elif isinstance(item, annotated_types.Ge):
            found["ge"] = item.ge
        elif isinstance(item, annotated_types.Le):
            found["le"] = item.le
        elif isinstance(item, annotated_types.MinLen):
            found["min_length"] = item.min_length
        elif isinstance(item, annotated_types.MaxLen):
            found["max_length"] = item.max_length
        elif isinstance(item, StringConstraints):
            if item.min_length is not None:
                found["min_length"] = item.min_length
            if item.max_length is not None:
                found["max_length"] = item.max_length
            pattern = item.pattern if isinstance(item.pattern, str) else pattern
        else:
            pattern = getattr(item, "pattern", None) or pattern
    if pattern and not validated:
        found["pattern"] = re.sub(r"\$$", r"\\Z", pattern)
    return found


def _twin_type(annotation: Any) -> Any:
    """The annotation with models replaced by their Structs and constraints by msgspec's."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        constraints = _constraints(args[1:])
        base = _twin_type(args[0])
        return Annotated[base, msgspec.Meta(**constraints)] if constraints else base
    if origin in (Union, UnionType):
        return Union[tuple(_twin_type(arg) for arg in args)]  # noqa: UP007 - built at run time
    if origin in (list, dict, tuple):
        return origin[tuple(_twin_type(arg) for arg in args)]
    if origin is Literal or annotation in (Any, NoneType):
        return annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return struct_of(annotation)
    if isinstance(annotation, type) and issubclass(annotation, str | int | bool | Enum):
        return annotation
    raise TypeError(f"no msgspec twin for the type {annotation!r}: extend schemas.structs")


@cache
def struct_of(model: type[BaseModel]) -> type[Any]:
    """A frozen Struct with the fields, defaults and constraints of `model`; keyword-only where a
    field with a default stands before one without.

    A `kind` field becomes the tag of the Struct; defaults are left out when it is encoded; unknown
    fields are refused when it is decoded.
    """
    fields: list[tuple[str, Any, Any]] = []
    tag: str | None = None
    for name, info in model.model_fields.items():
        if name == "kind":
            tag = info.default
            continue
        annotation = (
            Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
        )
        default = msgspec.NODEFAULT if info.is_required() else msgspec.field(default=info.default)
        if isinstance(info.default, list | dict):
            default = msgspec.field(default_factory=type(info.default))
        fields.append((name, _twin_type(annotation), default))
    return msgspec.defstruct(
        model.__name__,
        fields,
        frozen=True,
        kw_only=not _is_ordered(fields),
        forbid_unknown_fields=True,
        omit_defaults=True,
        gc=False,
        tag_field="kind" if tag else None,
        tag=tag,
        module=__name__,
    )


def _is_ordered(fields: list[tuple[str, Any, Any]]) -> bool:
    required = [default is msgspec.NODEFAULT for _, _, default in fields]
    return required == sorted(required, reverse=True)


if TYPE_CHECKING:
    from schemas.answer import (
        AnsweredChange,
        AnsweredPreflight,
        AnsweredProblem,
        AsOf,
        TaskAnswered,
    )
    from schemas.attribution import Attribution
    from schemas.budget import Ceiling, Discard, Grant, Limit, Replay
    from schemas.catalog import (
        ApiKey,
        Generation,
        ModelPrices,
        PlanGrant,
        PriceBook,
        PriceSpan,
        Rules,
        SellerPlan,
    )
    from schemas.deadletter import DeadLetter
    from schemas.entry import (
        Burn,
        CeilingEntry,
        ClosingEntry,
        Consumed,
        CycleEntry,
        DecisionEntry,
        ExtensionEntry,
        GrantEntry,
        HoldPart,
        LimitEntry,
        ResolutionEntry,
        SettlementEntry,
        SignalEntry,
        UsageEntry,
    )
    from schemas.owner import Owner
    from schemas.preflight import Expiry, Extension, Lease, Preflight, Release, Tick
    from schemas.signal import Signal
    from schemas.transfer import HoldEnd, TaskPart, Transfer
    from schemas.usage import Tokens, Usage
else:
    AnsweredChange = struct_of(answer.AnsweredChange)
    AnsweredPreflight = struct_of(answer.AnsweredPreflight)
    AnsweredProblem = struct_of(answer.AnsweredProblem)
    ApiKey = struct_of(catalog.ApiKey)
    AsOf = struct_of(answer.AsOf)
    Attribution = struct_of(attribution.Attribution)
    Burn = struct_of(entry.Burn)
    Ceiling = struct_of(budget.Ceiling)
    CeilingEntry = struct_of(entry.CeilingEntry)
    ClosingEntry = struct_of(entry.ClosingEntry)
    Consumed = struct_of(entry.Consumed)
    CycleEntry = struct_of(entry.CycleEntry)
    DeadLetter = struct_of(deadletter.DeadLetter)
    DecisionEntry = struct_of(entry.DecisionEntry)
    Discard = struct_of(budget.Discard)
    Expiry = struct_of(preflight.Expiry)
    Extension = struct_of(preflight.Extension)
    ExtensionEntry = struct_of(entry.ExtensionEntry)
    Generation = struct_of(catalog.Generation)
    Grant = struct_of(budget.Grant)
    GrantEntry = struct_of(entry.GrantEntry)
    HoldEnd = struct_of(transfer.HoldEnd)
    HoldPart = struct_of(entry.HoldPart)
    Lease = struct_of(preflight.Lease)
    Limit = struct_of(budget.Limit)
    LimitEntry = struct_of(entry.LimitEntry)
    ModelPrices = struct_of(catalog.ModelPrices)
    Owner = struct_of(owner.Owner)
    PlanGrant = struct_of(catalog.PlanGrant)
    Preflight = struct_of(preflight.Preflight)
    PriceBook = struct_of(catalog.PriceBook)
    PriceSpan = struct_of(catalog.PriceSpan)
    Release = struct_of(preflight.Release)
    Replay = struct_of(budget.Replay)
    ResolutionEntry = struct_of(entry.ResolutionEntry)
    Rules = struct_of(catalog.Rules)
    SellerPlan = struct_of(catalog.SellerPlan)
    SettlementEntry = struct_of(entry.SettlementEntry)
    Signal = struct_of(signal.Signal)
    SignalEntry = struct_of(entry.SignalEntry)
    TaskAnswered = struct_of(answer.TaskAnswered)
    TaskPart = struct_of(transfer.TaskPart)
    Tick = struct_of(preflight.Tick)
    Tokens = struct_of(usage.Tokens)
    Transfer = struct_of(transfer.Transfer)
    Usage = struct_of(usage.Usage)
    UsageEntry = struct_of(entry.UsageEntry)

LedgerEntry = (
    CycleEntry
    | UsageEntry
    | SignalEntry
    | GrantEntry
    | LimitEntry
    | CeilingEntry
    | DecisionEntry
    | ExtensionEntry
    | ClosingEntry
    | SettlementEntry
    | ResolutionEntry
)
"""Everything that stands in the ledger."""

CatalogRecord = Rules | Generation | PriceBook | ApiKey
"""Everything that stands in the catalog."""

BudgetRecord = Grant | Limit | Ceiling | Replay | Discard
"""Everything that stands in `budgets`."""

PreflightRecord = Lease | Preflight | Release | Extension | Expiry | Tick
"""Everything that stands in `preflights`."""

AnswerRecord = AnsweredPreflight | AnsweredChange | AnsweredProblem
"""Everything that stands in `answers`."""

InboundFact = Usage | Signal | BudgetRecord
"""Everything that a worker reads and decides."""

__all__ = [
    "AnswerRecord",
    "AnsweredChange",
    "AnsweredPreflight",
    "AnsweredProblem",
    "ApiKey",
    "AsOf",
    "Attribution",
    "BudgetRecord",
    "Burn",
    "CatalogRecord",
    "Ceiling",
    "CeilingEntry",
    "ClosingEntry",
    "Consumed",
    "CycleEntry",
    "DeadLetter",
    "DecisionEntry",
    "Discard",
    "Expiry",
    "Extension",
    "ExtensionEntry",
    "Generation",
    "Grant",
    "GrantEntry",
    "HoldEnd",
    "HoldPart",
    "InboundFact",
    "Lease",
    "LedgerEntry",
    "Limit",
    "LimitEntry",
    "ModelPrices",
    "Owner",
    "PlanGrant",
    "Preflight",
    "PreflightRecord",
    "PriceBook",
    "PriceSpan",
    "Release",
    "Replay",
    "ResolutionEntry",
    "Row",
    "Rules",
    "SellerPlan",
    "SettlementEntry",
    "Signal",
    "SignalEntry",
    "TaskAnswered",
    "TaskPart",
    "Tick",
    "Tokens",
    "Transfer",
    "Usage",
    "UsageEntry",
    "Value",
    "column",
    "struct_of",
]
