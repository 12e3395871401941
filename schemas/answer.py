"""What was asked over Kafka is answered by, version 1. Topic `answers`, keyed by `customer_id`.

Each ask has at least one answer; a gateway that died between an answer and its position leaves a
second one, which says the same. What counts is the record on `preflights`; an answer only tells of
it.
"""

from typing import Literal

from schemas.budget import Denomination
from schemas.envelope import Amount, Id, Name, Offset, Part, Record, SignedAmount, TimeUs


class AsOf(Part):
    """The offsets that the answering account has folded, how old its oldest unfolded record is, and
    the lease of its owner."""

    generation: int
    partition: int
    cycle: int
    usage_offset: Offset
    budgets_offset: Offset
    preflights_offset: Offset
    catalog_offset: Offset
    lag_ms: int
    lease: Offset


class TaskAnswered(Part):
    """The task's part of a decision."""

    task_ref: Id
    reservation_id: Name | None = None
    approved: bool
    reason: Name | None = None
    ceiling: Amount | None = None
    used: SignedAmount | None = None
    remaining: SignedAmount | None = None


class Answered(Record):
    """Base of all answers: where the ask stands on `asks`, and when it was answered."""

    ask_partition: Offset
    ask_offset: Offset
    answered_at: TimeUs


class AnsweredPreflight(Answered):
    """A decision. It stands: the same key is answered the same again."""

    kind: Literal["preflight"] = "preflight"
    customer_id: Id
    source: Id
    idempotency_key: Id
    approved: bool
    reason: Name | None = None
    """Why it was refused."""
    reservation_id: Name | None = None
    """Names the hold, and its decision by place: generation, partition and offset on `preflights`.
    A refusal has none."""
    denomination: Denomination
    estimate: Amount
    remaining: SignedAmount | None = None
    """After this hold; missing where nothing bounds it."""
    decided_at: TimeUs
    expires_at: TimeUs
    replayed: bool
    """Whether this is an earlier decision, answered again."""
    hold_state: Name | None = None
    """What has become of the hold: open, settled, used_up, released, expired. A refusal has
    none."""
    task: TaskAnswered | None = None
    as_of: AsOf


class AnsweredChange(Answered):
    """What became of a release or an extension. `decided` false: it is in the log, and its effect
    will follow."""

    kind: Literal["hold_change"] = "hold_change"
    customer_id: Id
    reservation_id: Name
    decided: bool
    state: Name | None = None
    changed: bool | None = None
    released: SignedAmount | None = None
    expires_at: TimeUs | None = None
    as_of: AsOf


class AnsweredProblem(Answered):
    """Why there is no decision. Act on `code`; the text may change. What the ask said of itself is
    missing where it could not be read."""

    kind: Literal["problem"] = "problem"
    code: Name
    detail: str
    field: str = ""
    customer_id: Id | None = None
    source: Id | None = None
    idempotency_key: Id | None = None
    reservation_id: Id | None = None
