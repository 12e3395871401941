"""Entries about limits, ceilings, decisions and holds: what each says about where it comes from."""

from collections.abc import Mapping
from typing import Any, Literal

from schemas.structs import (
    CeilingEntry,
    ClosingEntry,
    DecisionEntry,
    Expiry,
    Extension,
    ExtensionEntry,
    HoldPart,
    LimitEntry,
    Release,
    SettlementEntry,
)
from streams.domain.budget import balance_text, parse_balance_text
from streams.domain.entries import DENOMINATIONS, Position, recorded, sourced
from streams.domain.facts import (
    CeilingFact,
    HoldFact,
    LimitFact,
    PreflightFact,
    TransferFact,
    UsageFact,
)
from streams.domain.holds import Hold, hold_id
from streams.domain.settling import Settlement, closes_as

ClosedAs = Literal["settled", "used_up", "released", "expired"]


def limit_entry(fact: LimitFact, position: Position, sequence: int) -> LimitEntry:
    """The entry of an accepted limit."""
    body = fact.body
    return LimitEntry(
        **sourced(fact, position, sequence),
        agent_id=body.agent_id or "",
        denomination=body.denomination,
        amount="0" if fact.amount is None else balance_text(body.denomination, fact.amount),
        lifted=fact.amount is None,
        resets="" if body.resets is None else body.resets.value,
        anchor=fact.anchor_us,
        used=None if fact.used is None else balance_text(body.denomination, fact.used),
    )


def ceiling_entry(fact: CeilingFact, position: Position, sequence: int) -> CeilingEntry:
    """The entry of an accepted ceiling."""
    body = fact.body
    common = sourced(fact, position, sequence)
    common["customer_id"] = ""
    return CeilingEntry(
        **common,
        task_ref=body.customer_id,
        denomination=body.denomination,
        amount=balance_text(body.denomination, fact.amount),
    )


def decision_entry(
    fact: PreflightFact, position: Position, sequence: int, *, opens: bool
) -> DecisionEntry:
    """The entry of a decision that counts. `opens` says whether it opens its task."""
    body = fact.body
    ceiling = ""
    if opens and fact.task_ceiling is not None:
        ceiling = balance_text(body.denomination, fact.task_ceiling)
    of_task = body.account_kind == "task"
    return DecisionEntry(
        **recorded(fact.record, position, sequence, 0, body.decided_at),
        customer_id="" if of_task else body.account_id,
        source=body.source,
        event_id=body.idempotency_key,
        account_kind=body.account_kind,
        agent_id=body.agent_id or "",
        task_ref=body.account_id if of_task else body.task_ref or "",
        denomination=body.denomination,
        amount=balance_text(body.denomination, fact.estimate),
        approved=body.approved,
        reason=body.reason or "",
        reservation_id=hold_id(position.generation, position.partition, fact.record.offset),
        task_reservation_id=body.task_reservation_id or "",
        expires_at=body.expires_at,
        ceiling=ceiling,
    )


def extension_entry(
    fact: HoldFact, hold: Hold, position: Position, sequence: int
) -> ExtensionEntry:
    """The entry of an extension that counts."""
    body = fact.body
    assert isinstance(body, Extension)
    return ExtensionEntry(
        **recorded(fact.record, position, sequence, 0, body.decided_at),
        **_of_account(body.account_kind, body.account_id, hold),
        reservation_id=hold.reservation_id,
        expires_at=body.expires_at,
    )


def closing_entry(fact: HoldFact, hold: Hold, position: Position, sequence: int) -> ClosingEntry:
    """The entry of a release or an expiry that counts."""
    body = fact.body
    assert isinstance(body, Release | Expiry)
    return _closing(
        recorded(fact.record, position, sequence, 0, body.decided_at),
        body.account_kind,
        body.account_id,
        hold,
        "released" if isinstance(body, Release) else "expired",
        hold.open,
    )


def settled_entries(
    fact: UsageFact, settlement: Settlement, position: Position, sequence: int
) -> list[ClosingEntry]:
    """The closings that follow from a usage event, behind its own entry."""
    body = fact.body
    closing = [taken for taken in settlement.taken if taken.closes]
    return [
        _closing(
            recorded(fact.record, position, sequence + at, 1 + at, fact.occurred_at_us),
            "customer",
            body.customer_id,
            taken.hold,
            closes_as(body, taken),
            taken.hold.open - taken.amount,
        )
        for at, taken in enumerate(closing)
    ]


def transfer_entries(
    fact: TransferFact, holds: Mapping[str, Hold], position: Position, sequence: int
) -> list[SettlementEntry | ClosingEntry]:
    """What a transfer means for the task whose open holds these are: what was used, then which of
    its holds end."""
    body = fact.body
    entries: list[SettlementEntry | ClosingEntry] = []
    parts = {part.reservation_id: part for part in body.holds}
    if body.usage:
        entries.append(
            SettlementEntry(
                **recorded(fact.record, position, sequence, 0, body.decided_at),
                source=body.customer_id,
                event_id=body.entry_id,
                task_ref=body.task_ref,
                agent_id=body.agent_id,
                units=body.units,
                tokens=body.tokens,
                usd=body.usd,
                holds=[
                    HoldPart(reservation_id=name, amount=part.amount)
                    for name, part in parts.items()
                    if name in holds
                ],
                success=body.success,
                usage_missing=body.usage_missing,
                unpriced=body.unpriced,
                adjusts=body.adjusts,
            )
        )
    for at, end in enumerate(body.ends, 1):
        hold = holds.get(end.reservation_id)
        if hold is None:
            continue
        part_taken = parts.get(end.reservation_id)
        taken = 0 if part_taken is None else part_amount(hold, part_taken.amount)
        entries.append(
            _closing(
                recorded(fact.record, position, sequence + len(entries), at, body.decided_at),
                "task",
                body.task_ref,
                hold,
                end.closed_as,
                hold.open - taken,
            )
        )
    return entries


def part_amount(hold: Hold, text: str) -> int:
    """What a part takes from a hold, in the hold's smallest step."""
    return parse_balance_text(hold.denomination, text)


def _closing(
    common: dict[str, Any],
    account_kind: Literal["customer", "task"],
    account_id: str,
    hold: Hold,
    closed_as: ClosedAs,
    released: int,
) -> ClosingEntry:
    return ClosingEntry(
        **common,
        **_of_account(account_kind, account_id, hold),
        agent_id=hold.agent_id,
        reservation_id=hold.reservation_id,
        denomination=DENOMINATIONS[hold.denomination],
        amount=balance_text(hold.denomination, hold.amount),
        closed_as=closed_as,
        released=balance_text(hold.denomination, released),
        task_reservation_id=hold.task_reservation_id,
    )


def _of_account(account_kind: str, account_id: str, hold: Hold) -> dict[str, Any]:
    of_task = account_kind == "task"
    return {
        "customer_id": "" if of_task else account_id,
        "account_kind": account_kind,
        "task_ref": account_id if of_task else hold.task_ref,
        "source": "tollgate",
        "event_id": hold.reservation_id,
    }
