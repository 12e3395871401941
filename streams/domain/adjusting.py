"""Adjustments: what a usage entry costs after all, as a correction that stands beside it.

What is written stays written: an adjustment says by how much the sums change. Where the cost rose,
grants that are open now pay for it, in burn order. Where it fell, what no grant had paid for falls
first; the rest goes back to the grants that paid, the last one first, as far as they could still be
spent. What belongs to a grant that is over, or to a period that is, lapses (decision 021).
"""

from typing import Final

from schemas.errors import RejectCode
from schemas.money import format_amount, parse_signed_amount
from schemas.structs import AdjustmentEntry, Burn, LedgerEntry, Return
from streams.domain.budget import Account, parse_balance_text, take
from streams.domain.entries import DENOMINATIONS, Position, sourced
from streams.domain.facts import AdjustmentFact
from streams.domain.grants import OpenGrant, insert_grant, plan_burns
from streams.domain.limits import OpenLimit, count_use
from streams.domain.periods import period_index
from streams.domain.refusal import Refusal

USD: Final = "usd"


def decide_adjustment(
    fact: AdjustmentFact, account: Account | None, position: Position, sequence: int
) -> list[LedgerEntry] | Refusal:
    """What an adjustment means for the account of its customer. Nothing is changed."""
    if account is None:
        reason = "nothing is known of this customer: there is no entry to correct"
        return Refusal(RejectCode.INVALID_FIELD, reason, "customer_id")
    return [_entry(fact, account, position, sequence)]


def _entry(
    fact: AdjustmentFact, account: Account, position: Position, sequence: int
) -> AdjustmentEntry:
    body, now_us = fact.body, position.decided_at_us
    rise = fact.new_pico - fact.old_pico
    burns: list[Burn] = []
    returned: list[Return] = []
    covered = 0
    if rise > 0:
        due = {USD: rise}
        burns = [
            Burn(
                grant_id=grant.grant_id,
                denomination=DENOMINATIONS[USD],
                amount=format_amount(part),
            )
            for grant, part in plan_burns(account.grants, due, now_us)
        ]
        covered = rise - due[USD]
    elif rise < 0:
        beyond_grants = fact.old_pico - fact.covered_pico
        covered = -max(0, -rise - beyond_grants)
        returned = _returns(fact, account, -covered, now_us)
    common = sourced(fact, position, sequence)
    common["occurred_at"] = body.used_at
    return AdjustmentEntry(
        **common,
        adjusted_entry=body.entry_id,
        charged_at=body.charged_at,
        charged_generation=body.charged_generation,
        charged_sequence=body.charged_sequence,
        agent_id=body.agent_id or "",
        task_ref=body.task_ref or "",
        trace_id=body.trace_id or "",
        scope_id=body.scope_id or "",
        provider=body.provider or "",
        model=body.model or "",
        cost=format_amount(fact.cost_rise_pico),
        cost_basis="adjusted",
        price_version=body.price_version,
        price_override=body.price_override,
        priced_as=body.priced_as,
        provisional=format_amount(rise - fact.cost_rise_pico),
        covered_usd=format_amount(covered),
        burns=burns,
        returned=returned,
        was_unpriced=body.was_unpriced,
    )


def _returns(fact: AdjustmentFact, account: Account, amount: int, now_us: int) -> list[Return]:
    """What goes back to which grants of an amount that they had paid."""
    open_grants = {grant.grant_id: grant for grant in account.grants}
    returns = []
    for payer, paid in reversed(list(zip(fact.body.payers, fact.paid_pico, strict=True))):
        part = min(paid, amount)
        amount -= part
        if part and _could_be_spent(
            payer.expires_at, open_grants.get(payer.grant_id), fact, now_us
        ):
            returns.append(
                Return(
                    grant_id=payer.grant_id,
                    amount=format_amount(part),
                    priority=payer.priority,
                    effective_at=payer.effective_at,
                    expires_at=payer.expires_at,
                )
            )
    return returns


def _could_be_spent(
    expires_at_us: int | None, grant: OpenGrant | None, fact: AdjustmentFact, now_us: int
) -> bool:
    if expires_at_us is not None and expires_at_us <= now_us:
        return False
    if grant is None or grant.renewal is None:
        # One that does not reset and is not here any more has been spent whole: it opens again.
        return True
    interval, anchor = grant.renewal.interval, grant.renewal.anchor_us
    return period_index(interval, now_us, anchor) == period_index(
        interval, fact.body.charged_at, anchor
    )


def adjust(account: Account, entry: AdjustmentEntry) -> None:
    """Folds an adjustment into the account, in place."""
    rise = parse_signed_amount(entry.cost) + parse_signed_amount(entry.provisional)
    account.used_pico_usd += rise
    for burn in entry.burns:
        take(account, burn, entry.decided_at)
    for part in entry.returned:
        _give_back(account, part)
    for limit in account.limits:
        if (
            limit.denomination == USD
            and limit.agent_id in ("", entry.agent_id)
            and _counted(limit, entry)
        ):
            count_use(limit, rise, entry.decided_at)


def _counted(limit: OpenLimit, entry: AdjustmentEntry) -> bool:
    """Whether a limit has counted the charge that is corrected, in the period that it is in."""
    place = (entry.charged_generation, entry.charged_sequence)
    if place <= (limit.since_generation, limit.since_sequence):
        return False
    return not limit.resets or period_index(
        limit.resets, entry.charged_at, limit.anchor_us
    ) == period_index(limit.resets, entry.decided_at, limit.anchor_us)


def _give_back(account: Account, part: Return) -> None:
    amount = parse_balance_text(USD, part.amount)
    for grant in account.grants:
        if grant.grant_id == part.grant_id:
            # One that resets was burnt in its present period, else it would get nothing back.
            grant.remaining += amount
            return
    insert_grant(
        account.grants,
        OpenGrant(part.grant_id, USD, amount, part.priority, part.effective_at, part.expires_at),
    )
