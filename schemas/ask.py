"""What is asked over Kafka, version 1: may this be spent, give it back, hold it longer. Topic
`asks`, keyed by `customer_id`.

The same questions as over HTTP (`/v1/preflights`); each is answered on `answers` (schemas.answer).
An ask is no fact: what is decided stands on `preflights`, written by the owner of the customer.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from schemas.envelope import Amount, Id, Part, Record, Time

TTL_SECONDS_MAX = 7 * 86_400
"""The longest that any rules allow a hold to last; the installation's own may be shorter."""


def _not_reserved(text: str) -> str:
    if text.startswith("\0"):
        raise ValueError("ids that begin with NUL are reserved")
    return text


Account = Annotated[Id, AfterValidator(_not_reserved)]
TtlSeconds = Annotated[int, Field(ge=1, le=TTL_SECONDS_MAX)]


class PreflightFields(Part):
    """May this be spent? An approval holds `estimate` until it is settled, released or expired."""

    customer_id: Account
    idempotency_key: Id
    """Asked again with the same content, the same decision is answered; with other content the
    answer is the problem `conflict`."""
    source: Id
    denomination: Literal["unit", "token", "usd"] = "unit"
    estimate: Amount | None = None
    """What it may cost at the most. Without it: 1 unit, or nothing in tokens and dollars."""
    agent_id: Id | None = None
    task_ref: Account | None = None
    ceiling: Amount | None = None
    """The most that this one request may cost."""
    task_ceiling: Amount | None = None
    """Opens the task with this ceiling; ignored where it is open already."""
    ttl_seconds: TtlSeconds | None = None


class Asked(Record):
    """Base of what is asked: whose answer it is, and how long anybody waits for it."""

    customer_id: Account
    ask_before: Time | None = None
    """After this nobody waits any more: it is not asked, and answered `too_late`. Without it a
    minute after the append; never later than four minutes after it."""


class AskedPreflight(Asked, PreflightFields):
    """May this be spent? `source` and `idempotency_key` name the decision, as over HTTP."""

    kind: Literal["preflight"] = "preflight"


class AskedRelease(Asked):
    """Gives a hold back before it was used."""

    kind: Literal["release"] = "release"
    reservation_id: Id


class AskedExtension(Asked):
    """Holds on for `ttl_seconds` from now, never shorter."""

    kind: Literal["extension"] = "extension"
    reservation_id: Id
    ttl_seconds: TtlSeconds
