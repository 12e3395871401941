"""Which ids an accepted fact claims: its own (I1), its original's where it replays a dead letter
(I5), and those of the holds that it ends (P9)."""

from schemas.structs import ClosingEntry, LedgerEntry, ResolutionEntry
from streams.domain.facts import (
    ClaimingFact,
    DecidedFact,
    HoldFact,
    LeaseFact,
    Rejected,
    ReplayFact,
    TransferFact,
    UsageFact,
    closed_key,
)
from streams.domain.holds import closed_claim
from streams.domain.identity import Claim
from streams.domain.state import PartitionState


def claim(state: PartitionState, fact: DecidedFact, decision: list[LedgerEntry]) -> None:
    """Claims the ids of an accepted fact, and those of the holds that it ends."""
    if len(decision) > 1 or type(fact) is not UsageFact:
        _claim_closed(state, decision)
        if isinstance(fact, HoldFact | TransferFact):
            return
        assert not isinstance(fact, LeaseFact), "a lease has no entry"
    for one in _claimants(fact, decision) if isinstance(fact, ReplayFact) else (fact,):
        claim = Claim(one.body_hash, one.record.appended_at_us, one.record.offset)
        state.claims[one.claim_key] = state.new_claims[one.claim_key] = claim


def _claim_closed(state: PartitionState, decision: list[LedgerEntry]) -> None:
    for entry in decision:
        if isinstance(entry, ClosingEntry):
            kind = entry.account_kind
            account = entry.task_ref if kind == "task" else entry.customer_id
            key = closed_key(kind, account, entry.reservation_id)
            state.claims[key] = state.new_claims[key] = closed_claim(
                entry.closed_as, entry.decided_at, entry.source_offset
            )


def _claimants(fact: ReplayFact, decision: list[LedgerEntry]) -> list[ClaimingFact]:
    """The facts whose ids are claimed by a replay: it claims for its original too, unless that had
    been accepted before."""
    first = decision[0]
    if (
        isinstance(first, ResolutionEntry)
        and first.resolution == "replayed"
        and not isinstance(fact.inner, Rejected)
    ):
        return [fact, fact.inner]
    return [fact]
