"""From a decoded correction to the fact that it states: an adjustment of a cost, a signal taken
back.

Their claims are not those of their own ids: what they correct is corrected once, whoever says it.
"""

from schemas.errors import RejectCode, RejectError
from schemas.structs import Adjustment, Void
from schemas.topics import SIGNALS
from streams.domain.canonical import hash_content, read_amount, read_time
from streams.domain.facts import AdjustmentFact, SourceRecord, VoidFact, claim_key


def adjustment_fact(record: SourceRecord, body: Adjustment) -> AdjustmentFact:
    """The fact that a decoded adjustment states. Raises RejectError for an impossible amount, and
    for an id that does not count the adjustments of its entry."""
    occurred = read_time("occurred_at", body.occurred_at)
    number = body.event_id.removeprefix(f"{body.entry_id}#")
    if not (number.isascii() and number.isdecimal()):
        raise RejectError(
            RejectCode.INVALID_FIELD, "event_id: not entry_id#number of this adjustment", "event_id"
        )
    old_cost, new_cost = (
        read_amount("old_cost", body.old_cost),
        read_amount("new_cost", body.new_cost),
    )
    old = old_cost + read_amount("old_provisional", body.old_provisional)
    new = new_cost + read_amount("new_provisional", body.new_provisional)
    covered = read_amount("covered", body.covered)
    if covered > old:
        raise RejectError(RejectCode.INVALID_FIELD, "covered: more than it cost", "covered")
    paid = [read_amount("payers.amount", payer.amount) for payer in body.payers]
    content: list[object] = ["adjustment", occurred, body.entry_id, body.charged_at, body.used_at]
    content += (body.charged_generation, body.charged_sequence)
    content += (body.agent_id, body.task_ref, body.trace_id, body.scope_id)
    content += (body.provider, body.model)
    content += (old_cost, old, new_cost, new, covered, body.was_unpriced)
    content += (body.price_version, body.price_override, body.priced_as)
    for payer, amount in zip(body.payers, paid, strict=True):
        content += (payer.grant_id, amount, payer.priority, payer.effective_at, payer.expires_at)
    return AdjustmentFact(
        record,
        body,
        # Whoever says it: an entry has one first adjustment, one second…
        claim_key(f"{record.topic}.adjustment", body.customer_id, "", body.event_id),
        hash_content(content),
        record.appended_at_us if occurred is None else occurred,
        old,
        new,
        new_cost - old_cost,
        covered,
        paid,
    )


def void_fact(record: SourceRecord, body: Void) -> VoidFact:
    """The fact that a decoded void states. Raises RejectError for an impossible time."""
    occurred = read_time("occurred_at", body.occurred_at)
    signal = (body.customer_id, body.signal_source, body.signal_event_id)
    content: list[object] = ["void", body.signal_entry, body.signal_decided_at, body.signal_name]
    content += (body.quantity, body.agent_id, body.trace_id, body.scope_id, body.cost)
    if body.signal_occurred_at is not None:
        content += ("signal_occurred_at", body.signal_occurred_at)
    return VoidFact(
        record,
        body,
        # Whoever says it: a signal is taken back once.
        claim_key(f"{record.topic}.void", *signal),
        hash_content(content),
        record.appended_at_us if occurred is None else occurred,
        claim_key(SIGNALS.name, *signal),
    )
