"""Whether a fact may count at all: what the claim of its id says of it, and whether it comes in
time."""

from typing import Final

from schemas.errors import RejectCode
from streams.domain.context import Context
from streams.domain.facts import ClaimingFact, EventFact
from streams.domain.identity import Verdict, judge
from streams.domain.refusal import Refusal
from streams.domain.state import PartitionState

FRESH: Final = Verdict.FRESH


def judge_fact(
    state: PartitionState, fact: ClaimingFact, context: Context, asked_at_us: int
) -> Verdict | Refusal:
    """Whether a fact may count: FRESH, or what it is instead, as claims stand `asked_at_us`."""
    claim = state.claims.get(fact.claim_key)
    if claim is not None:
        verdict = judge(claim, fact.body_hash, asked_at_us, fact.record.offset, context.horizon_us)
        if verdict is Verdict.CONFLICT:
            return Refusal(
                RejectCode.CONFLICT,
                f"event_id {fact.body.event_id!r} was accepted before with other billing content; "
                "send a correction under an id of its own",
                "event_id",
            )
        if verdict is not Verdict.FRESH:
            return verdict
    ahead_us = fact.occurred_at_us - fact.record.appended_at_us
    if -context.lateness_us <= ahead_us <= context.future_us:
        return FRESH
    return untimely(fact, context) or FRESH


def untimely(fact: ClaimingFact, context: Context) -> Refusal | None:
    """Why a fact lies too far from its append time, None where it does not."""
    appended = fact.record.appended_at_us
    if fact.occurred_at_us < appended - context.lateness_us:
        return Refusal(
            RejectCode.TOO_OLD,
            "occurred_at lies before the lateness limit of the rules; a repeat of so old an event "
            "could no longer be told from a new one",
            "occurred_at",
        )
    if fact.occurred_at_us > appended + context.future_us:
        return Refusal(
            RejectCode.IN_FUTURE,
            "occurred_at lies after the append by more than the future limit: check the clock",
            "occurred_at",
        )
    return None


def beyond_claims(inner: EventFact, context: Context, decided_at_us: int) -> Refusal | None:
    """Why an event is too old to be replayed at a domain time, None where it is not: an accepted
    record of it may stand before the horizon, where claims end, only if the event does."""
    if inner.occurred_at_us >= decided_at_us - context.horizon_us + context.future_us:
        return None
    return Refusal(
        RejectCode.TOO_OLD,
        "the event lies before the claims' horizon: whether another record of it was accepted can "
        "no longer be told; send it anew as an event of today, or discard it",
        "occurred_at",
    )
