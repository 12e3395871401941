"""Bodies of the native API: what a client sends and what it is answered, as the contract that
`/openapi.json` shows.

What a client sends is validated by these models, but for usage and signals, which are the facts of
the log and go through the codec. What it is answered is written from plain values; tests hold the
two together.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, create_model

from schemas.ask import Account, PreflightFields, TtlSeconds
from schemas.budget import Ceiling, Grant, Limit
from schemas.envelope import Id

SOURCE: Literal["http"] = "http"
"""The source of what came without one. Never derived from a key (I4)."""


class Sent(BaseModel):
    """Base of what a client sends: strict, no unknown fields."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, use_attribute_docstrings=True
    )


class Told(BaseModel):
    """Base of what a client is answered. Fields may be added."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


# --- preflights ---------------------------------------------------------------------------------


class PreflightBody(PreflightFields):
    """May this be spent? An approval holds `estimate` until it is settled, released or expired."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"customer_id": "acme", "idempotency_key": "call-1", "estimate": "5"}]
        }
    )

    source: Id = SOURCE


class AsOf(Told):
    """The offsets that the answering account has folded, how old its oldest unfolded record is, and
    the lease of its owner."""

    generation: int
    partition: int
    cycle: int
    usage_offset: int
    budgets_offset: int
    preflights_offset: int
    catalog_offset: int
    lag_ms: int
    lease: int


class TaskDecision(Told):
    """The task's part of a decision."""

    task_ref: str
    reservation_id: str
    approved: bool
    reason: str | None
    ceiling: str | None
    used: str | None
    remaining: str | None


class PreflightTold(Told):
    """A decision. It stands: the same key is answered the same again."""

    approved: bool
    reason: str | None
    """Why it was refused: ceiling_exceeded, task_ceiling_exceeded, budget_exhausted,
    free_tier_exceeded, plan_limit_exceeded."""
    reservation_id: str
    denomination: str
    estimate: str
    remaining: str | None
    """After this hold; null where nothing bounds it."""
    decided_at: str
    expires_at: str
    replayed: bool
    """Whether this is an earlier decision, answered again."""
    hold_state: str
    """What has become of the hold: open, settled, used_up, released, expired."""
    task: TaskDecision | None
    as_of: AsOf


class ReleaseBody(Sent):
    """Whose hold is given back."""

    customer_id: Account


class ExtendBody(Sent):
    """Whose hold lasts longer, and for how long from now. Never shortens."""

    customer_id: Account
    ttl_seconds: TtlSeconds


class HoldChange(Told):
    """What became of a release or an extension. `decided` false: it is in the log, and its effect
    will follow."""

    reservation_id: str
    decided: bool
    state: str | None
    changed: bool | None
    released: str | None
    expires_at: str | None
    as_of: AsOf


# --- records and events -------------------------------------------------------------------------


class EntryTold(Told):
    """The entry of the ledger that a record became."""

    entry_id: str
    kind: str
    units: int
    cost: str
    currency: str
    cost_basis: str


class SettlementTold(Told):
    """What a record did to the hold that it named."""

    reservation_id: str
    status: str
    """settled, already_closed or not_found."""
    released: str
    denomination: str


class Balance(Told):
    """One denomination of an account. `available` null: nothing bounds it."""

    denomination: str
    available: str | None
    held: str
    used: str


class LimitState(Told):
    """A limit in its present period."""

    agent_id: str | None
    denomination: str
    amount: str
    used: str
    held: str
    resets: str | None
    period_from: str | None


class RecordTold(Told):
    """What became of a record. `undecided`: it is in the log and will be decided; balances are
    null."""

    status: Literal["accepted", "duplicate", "undecided"]
    topic: str
    partition: int
    offset: int
    entry: EntryTold | None
    settlement: SettlementTold | None
    balances: list[Balance] | None
    limits: list[LimitState] | None
    customer_created: bool | None
    as_of: AsOf | None


class ItemTold(Told):
    """What became of one event of a request."""

    index: int
    status: Literal["accepted", "refused", "unavailable"]
    event_id: str | None = None
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    code: str | None = None
    detail: str | None = None
    field: str | None = None


class EventsTold(Told):
    """Results by event, in the order in which they were sent."""

    accepted: int
    refused: int
    unavailable: int
    items: list[ItemTold]


# --- accounts -----------------------------------------------------------------------------------


class BudgetTold(Told):
    """What a customer has left. `known` false: nothing has ever named it."""

    customer_id: str
    known: bool
    blocked: bool
    """Whether a preflight for one unit would be refused."""
    events: int
    balances: list[Balance]
    limits: list[LimitState]
    as_of: AsOf


class HoldTold(Told):
    """An open hold. `open` is what is left of `amount`."""

    reservation_id: str
    denomination: str
    amount: str
    open: str
    placed_at: str
    expires_at: str
    agent_id: str | None
    task_ref: str | None


class HoldsTold(Told):
    """The open holds of a customer."""

    customer_id: str
    holds: list[HoldTold]
    as_of: AsOf


class EntryLine(Told):
    """An entry of the ledger. What its kind has not is null."""

    place: str
    """Where it stands: the next page begins before it."""
    entry_id: str
    kind: str
    decided_at: str
    occurred_at: str
    source: str | None
    event_id: str | None
    agent_id: str | None
    task_ref: str | None
    trace_id: str | None
    provider: str | None
    model: str | None
    units: int
    cost: str | None
    currency: str | None
    cost_basis: str | None
    denomination: str | None
    amount: str | None


class EntriesTold(Told):
    """A page of entries, the newest first, as far as they have reached ClickHouse (two seconds).
    `next` null: there are no older ones."""

    customer_id: str
    entries: list[EntryLine]
    next: str | None


class TaskTold(Told):
    """How a task stands."""

    task_ref: str
    denomination: str
    ceiling: str
    used: str
    held: str
    remaining: str
    exceeded: bool
    agent_id: str | None
    calls_without_usage: int
    calls_without_price: int
    used_by_agent: dict[str, str]
    holds: list[HoldTold]
    as_of: AsOf


class AdministeredTold(Told):
    """What became of a grant, a limit or a ceiling. `undecided`: it is in the log and will count;
    balances are null."""

    status: Literal["accepted", "duplicate", "undecided"]
    event_id: str
    entry_id: str | None
    balances: list[Balance] | None
    limits: list[LimitState] | None
    as_of: AsOf | None


class ProblemTold(Told):
    """A problem document (RFC 9457). Act on `code`."""

    model_config = ConfigDict(extra="allow")
    type: str
    title: str
    status: int
    code: str
    detail: str
    field: str | None = None


def _as_body(
    model: type[BaseModel], name: str, doc: str, ids_required: bool, example: dict[str, Any]
) -> type[BaseModel]:
    """The fields of a fact that a client sends: without those that path and release fill in."""
    fields: dict[str, Any] = {
        field: (
            Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation,
            info,
        )
        for field, info in model.model_fields.items()
        if field not in ("schema_version", "kind", "customer_id", "event_id", "source")
    }
    event_id: Any = (Id, ...) if ids_required else (Id | None, None)
    body = create_model(
        name, __base__=Sent, __doc__=doc, event_id=event_id, source=(Id, SOURCE), **fields
    )
    body.model_config["json_schema_extra"] = {"examples": [example]}
    return body


GrantBody = _as_body(
    Grant,
    "GrantBody",
    "A grant. The same event id twice grants once.",
    ids_required=True,
    example={"event_id": "order-77", "denomination": "unit", "amount": "5000"},
)
LimitBody = _as_body(
    Limit,
    "LimitBody",
    "A limit of a customer or of one of its agents; without an amount it is lifted.",
    ids_required=False,
    example={"agent_id": "triage", "denomination": "usd", "amount": "20", "resets": "day"},
)
CeilingBody = _as_body(
    Ceiling,
    "CeilingBody",
    "The ceiling of a task, from now on.",
    ids_required=False,
    example={"denomination": "usd", "amount": "2.50"},
)
