"""What a gateway asks the owner of a partition, and what it is answered.

Not a record of the log: these cross one hop between two processes of the same release, or none.
Each ask names the account that it concerns; the gateway sends it to the partition that murmur2
gives for that account's id. Amounts are decimal strings in the denomination they belong to; times
are microseconds since the epoch.
"""

from typing import Literal

from schemas.structs import Value

AccountKind = Literal["customer", "task"]


class Message(Value, frozen=True, omit_defaults=True, tag_field="kind"):
    """Base of everything that crosses the hop."""


# --- asks ---------------------------------------------------------------------------------------


class PreflightAsk(Message, frozen=True, tag="preflight"):
    """May this be spent? The answer is durable: an approval holds `estimate` until it is settled,
    released or expired.

    (`account_kind`, `account_id`, `source`, `idempotency_key`) names the decision: asked again
    with the same content it is answered again, with other content it is a conflict. `estimate` is
    None where the caller does not know it: 1 unit, or nothing in tokens and dollars. `ceiling` is
    the most that the caller would pay for this one request. `task_reservation_id` links the
    customer's hold to that of the task, decided before it; `task_ceiling` opens a task.
    """

    account_kind: AccountKind
    account_id: str
    source: str
    idempotency_key: str
    denomination: str = "unit"
    estimate: str | None = None
    agent_id: str | None = None
    task_ref: str | None = None
    ceiling: str | None = None
    task_ceiling: str | None = None
    task_reservation_id: str | None = None
    ttl_ms: int | None = None


class ReleaseAsk(Message, frozen=True, tag="release"):
    """Give a hold back, nothing charged."""

    account_kind: AccountKind
    account_id: str
    reservation_id: str


class ExtendAsk(Message, frozen=True, tag="extend"):
    """Hold on for `ttl_ms` from now. Never shortens."""

    account_kind: AccountKind
    account_id: str
    reservation_id: str
    ttl_ms: int


class AwaitAsk(Message, frozen=True, tag="await"):
    """What became of a record that stands at this offset of an inbound topic (R1): answered when
    its cycle has committed, or after `timeout_ms` as not decided yet."""

    account_kind: AccountKind
    account_id: str
    topic: str
    offset: int
    timeout_ms: int


class LookupAsk(Message, frozen=True, tag="lookup"):
    """How an account stands. `holds` asks for the open holds as well."""

    account_kind: AccountKind
    account_id: str
    holds: bool = False


Ask = PreflightAsk | ReleaseAsk | ExtendAsk | AwaitAsk | LookupAsk


# --- answers ------------------------------------------------------------------------------------


class Freshness(Value, frozen=True):
    """As of when an answer holds: the offsets that the account's state has folded, how long the
    oldest record that waits has waited, and the lease under which it was given."""

    generation: int
    partition: int
    cycle: int
    usage_offset: int
    budgets_offset: int
    preflights_offset: int
    catalog_offset: int
    lag_ms: int
    lease: int


class PreflightAnswer(Message, frozen=True, tag="preflight"):
    """A decision. `remaining` is what is left of the account in that denomination after this hold,
    None where nothing bounds it; `replayed` says that the decision is an earlier one, and
    `hold_state` what has become of its hold since (open, settled, used_up, released, expired)."""

    approved: bool
    reason: str
    reservation_id: str
    denomination: str
    estimate: str
    remaining: str | None
    decided_at: int
    expires_at: int
    fresh: Freshness
    replayed: bool = False
    hold_state: str = "open"
    ceiling: str | None = None
    """Of the task, where the account is one."""
    used: str | None = None
    """Used by the task so far, where the account is one."""


class ReleaseAnswer(Message, frozen=True, tag="release"):
    """What became of a release or an extension, from the committed entry (R1). `state` is that of
    the hold now; `changed` is False where the hold had been closed before, and `not_found` is the
    state of one that never was. `committed` is False where the deadline came first."""

    reservation_id: str
    state: str
    changed: bool
    released: str
    expires_at: int
    fresh: Freshness
    committed: bool = True


class EntryTold(Value, frozen=True, omit_defaults=True):
    """An entry in short, for the answer to a record."""

    entry_id: str
    kind: str
    units: int = 0
    cost: str = "0"
    currency: str = "USD"
    cost_basis: str = "none"
    reservation_id: str = ""
    settlement: str = ""
    """What the record did to the hold that it named: settled, already_closed, not_found, or '' for
    none named; oldest-first settlements are `settled` too."""
    released: str = "0"
    """What of the hold was given back."""
    denomination: str = ""
    """Of `released`."""
    customer_created: bool = False


class RecordAnswer(Message, frozen=True, tag="record"):
    """What became of a record: accepted, duplicate, refused, or undecided where the deadline came
    before its cycle. `code` and `reason` say why it was refused."""

    status: Literal["accepted", "duplicate", "refused", "undecided"]
    fresh: Freshness
    entry: EntryTold | None = None
    code: str = ""
    reason: str = ""
    field: str = ""
    account: "AccountAnswer | None" = None
    was_exhausted: bool = False
    """Whether a budget of the customer was spent already before this record."""


class BalanceTold(Value, frozen=True):
    """One denomination of an account. `available` = granted − used of the grants − held, None
    where nothing bounds it; `used` runs over everything ever accepted."""

    denomination: str
    available: str | None
    held: str
    used: str


class LimitTold(Value, frozen=True, omit_defaults=True):
    """A limit of a customer or of one of its agents, in its present period."""

    denomination: str
    amount: str
    used: str
    held: str
    resets: str = ""
    agent_id: str = ""
    period_from: int = 0


class HoldTold(Value, frozen=True, omit_defaults=True):
    """An open hold."""

    reservation_id: str
    denomination: str
    amount: str
    open: str
    placed_at: int
    expires_at: int
    agent_id: str = ""
    task_ref: str = ""


class TaskTold(Value, frozen=True, omit_defaults=True):
    """A task account's own part: its ceiling in its denomination, and what its calls used."""

    denomination: str
    ceiling: str
    used: str
    held: str
    agent_id: str = ""
    usage_missing_calls: int = 0
    unpriced_calls: int = 0
    breakdown: dict[str, str] = {}
    """Used by agent."""


class AccountAnswer(Message, frozen=True, tag="account"):
    """How an account stands as of its last committed cycle, held amounts of newer decisions
    included. `known` is False for one that nothing has ever named."""

    account_kind: AccountKind
    account_id: str
    known: bool
    balances: list[BalanceTold]
    limits: list[LimitTold]
    fresh: Freshness
    events: int = 0
    blocked: bool = False
    """Whether a preflight for one unit would be refused."""
    holds: list[HoldTold] = []
    task: TaskTold | None = None


class ErrorAnswer(Message, frozen=True, tag="error"):
    """Why an ask has no answer. `code`: not_mine, not_ready, lagging, unknown_outcome, overloaded
    (all of them: try again, with the same key); conflict, invalid, not_found, too_many_holds,
    task_ceiling_required, task_unit_mismatch."""

    code: str
    message: str
    retry_after_ms: int = 0


Answer = PreflightAnswer | ReleaseAnswer | RecordAnswer | AccountAnswer | ErrorAnswer
