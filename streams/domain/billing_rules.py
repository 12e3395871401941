"""What facts about terms and invoices mean: numbers, cuts and the order of a customer's documents
(F1, F2, decision 026).

Periods are closed one after the other. A close takes the place of its own entry as its cut; the
document that says what the period comes to is issued before anything else of the customer's is
closed or voided, so that what late lines are measured against never changes under them.
"""

from collections.abc import Iterable

from schemas.errors import RejectCode
from schemas.limits import INVOICES_MAX
from schemas.money import format_amount, parse_signed_amount
from schemas.structs import (
    Credit,
    CreditEntry,
    InvoiceClose,
    InvoiceCloseEntry,
    InvoiceIssue,
    InvoiceIssueEntry,
    InvoiceLine,
    InvoiceTotal,
    InvoiceVoid,
    InvoiceVoidEntry,
    LedgerEntry,
    Terms,
    TermsEntry,
)
from streams.domain.billing import (
    Billing,
    Document,
    apply_close,
    apply_issue,
    apply_opening,
    apply_void,
    next_number,
    open_invoice,
    to_reissue,
)
from streams.domain.context import Context
from streams.domain.entries import Position, sourced
from streams.domain.facts import BillingFact
from streams.domain.refusal import Refusal
from streams.domain.state import PartitionState

BillingEntry = TermsEntry | CreditEntry | InvoiceCloseEntry | InvoiceIssueEntry | InvoiceVoidEntry
"""Entries about terms and invoices. None of them touches an account."""


def decide_billing(
    state: PartitionState, fact: BillingFact, context: Context, position: Position, sequence: int
) -> list[LedgerEntry] | Refusal:
    """What a fact about terms or invoices means. `sequence` is that of its entry, and of a close
    the cut."""
    body = fact.body
    billing = state.billing.get(body.customer_id) or Billing(body.customer_id)
    if isinstance(body, InvoiceClose):
        if body.reissues:
            return _reissue(billing, fact, body, position, sequence)
        return _close(billing, fact, body, context, position, sequence)
    if isinstance(body, InvoiceIssue):
        return _issue(billing, fact, body, position, sequence)
    if isinstance(body, InvoiceVoid):
        return _void(billing, fact, body, position, sequence)
    common = sourced(fact, position, sequence)
    if isinstance(body, Terms):
        if body.next_number is not None and (billing.documents or billing.closed_to_us):
            what = "periods of this customer are closed or numbered already"
            return _out_of_order(what, "next_number")
        terms = TermsEntry(
            **common,
            plan=body.plan or "",
            card=body.card or "",
            zone=body.zone,
            anchor_day=body.anchor_day,
            terms_from=body.effective_from or 0,
            next_number=body.next_number or 0,
            billed_to=body.billed_to or 0,
        )
        return [terms]
    assert isinstance(body, Credit)
    if body.number and isinstance(found := _invoice(billing, body.number), Refusal):
        return found
    credit = CreditEntry(
        **common,
        amount=format_amount(parse_signed_amount(body.amount)),
        currency=body.currency,
        reason=body.reason,
        number=body.number,
    )
    return [credit]


def evolve_billing(state: PartitionState, entry: BillingEntry) -> None:
    """Applies an entry about terms or invoices, in place. What terms and credits come to is read
    from the ledger: no row knows them, but where a customer's documents go on."""
    if isinstance(entry, CreditEntry) or (isinstance(entry, TermsEntry) and not entry.next_number):
        return
    billing = state.billing.get(entry.customer_id)
    if billing is None:
        billing = state.billing[entry.customer_id] = Billing(entry.customer_id)
    state.touched_billing.add(entry.customer_id)
    if isinstance(entry, TermsEntry):
        apply_opening(billing, entry)
    elif isinstance(entry, InvoiceCloseEntry):
        apply_close(billing, entry)
    elif isinstance(entry, InvoiceIssueEntry):
        apply_issue(billing, entry)
    else:
        apply_void(billing, entry)
    billing.last_sequence = entry.sequence


def _close(
    billing: Billing,
    fact: BillingFact,
    body: InvoiceClose,
    context: Context,
    position: Position,
    sequence: int,
) -> list[LedgerEntry] | Refusal:
    waiting = to_reissue(billing)
    if waiting:
        return _out_of_order(f"{waiting} is void and is to be reissued first", "period_from")
    if billing.closed_to_us and body.period_from != billing.closed_to_us:
        return _out_of_order(
            f"periods are closed up to {billing.closed_to_us}, and the next begins there",
            "period_from",
        )
    refused = _cannot_begin(billing)
    if refused is not None:
        return refused
    # By its append and not by the cycle, so that the cut of cycles decides nothing here (D7); one
    # that is replayed may have become due since.
    now_us = fact.record.appended_at_us if position.origin is None else position.decided_at_us
    if body.period_to + context.invoice_grace_us > now_us:
        return Refusal(
            RejectCode.INVOICE_NOT_DUE,
            f"the period and the {context.invoice_grace_us // 1_000_000} seconds of grace after it "
            "are not over: late usage may still come",
            "period_to",
        )
    return [
        _closed(
            billing,
            fact,
            body,
            position,
            sequence,
            cut=(position.generation, sequence),
            after=(billing.cut_generation, billing.cut_sequence, billing.closed_to_us),
        )
    ]


def _reissue(
    billing: Billing, fact: BillingFact, body: InvoiceClose, position: Position, sequence: int
) -> list[LedgerEntry] | Refusal:
    """A void invoice once more: with its own interval, whatever came since (F2)."""
    before = _invoice(billing, body.reissues)
    if isinstance(before, Refusal):
        return before
    if before.status != "to_reissue":
        return _out_of_order(f"{body.reissues} was not voided to be reissued", "reissues")
    period = (before.label, before.from_us, before.to_us)
    if (body.label, body.period_from, body.period_to) != period:
        what = f"{body.reissues} is about {before.label}, from {before.from_us} to {before.to_us}"
        return _out_of_order(what, "period_from")
    refused = _cannot_begin(billing)
    if refused is not None:
        return refused
    return [
        _closed(
            billing,
            fact,
            body,
            position,
            sequence,
            cut=(before.cut_generation, before.cut_sequence),
            after=(before.after_generation, before.after_sequence, before.after_end_us),
        )
    ]


def _closed(
    billing: Billing,
    fact: BillingFact,
    body: InvoiceClose,
    position: Position,
    sequence: int,
    cut: tuple[int, int],
    after: tuple[int, int, int],
) -> InvoiceCloseEntry:
    return InvoiceCloseEntry(
        **sourced(fact, position, sequence),
        number=next_number(billing),
        label=body.label,
        zone=body.zone,
        period_from=body.period_from,
        period_to=body.period_to,
        segments=body.segments,
        reissues=body.reissues,
        cut_generation=cut[0],
        cut_sequence=cut[1],
        after_generation=after[0],
        after_sequence=after[1],
        after_end=after[2],
    )


def _issue(
    billing: Billing, fact: BillingFact, body: InvoiceIssue, position: Position, sequence: int
) -> list[LedgerEntry] | Refusal:
    document = billing.documents.get(body.number)
    if document is None:
        return _unknown(body.number)
    kind = "credit_note" if document.voids else "invoice"
    if document.status != "closed" or body.document != kind:
        what = f"{body.number} is an {document.status} {kind}".replace("an closed", "a closed")
        return Refusal(RejectCode.INVOICE_NOT_OPEN, what, "number")
    found = sums(body.totals)
    if len(found) != len(body.totals) or found != sums(body.lines):
        what = "the totals are not one for each currency of the lines, its sum"
        return Refusal(RejectCode.INVOICE_SUM, what, "totals")
    due = {currency: parse_signed_amount(text) for currency, text in document.totals.items()}
    if document.voids and found != due:
        what = f"a credit note takes back what {document.voids} charged, no more and no less"
        return Refusal(RejectCode.INVOICE_SUM, what, "totals")
    issue = InvoiceIssueEntry(
        **sourced(fact, position, sequence),
        number=body.number,
        document=body.document,
        label=document.label,
        period_from=document.from_us,
        period_to=document.to_us,
        digest=body.digest,
        lines=body.lines,
        totals=body.totals,
        voids=document.voids,
    )
    return [issue]


def _void(
    billing: Billing, fact: BillingFact, body: InvoiceVoid, position: Position, sequence: int
) -> list[LedgerEntry] | Refusal:
    invoice = _invoice(billing, body.number)
    if isinstance(invoice, Refusal):
        return invoice
    if invoice.status != "issued":
        what = "is not issued yet" if invoice.status == "closed" else "is void already"
        return Refusal(RejectCode.INVOICE_NOT_OPEN, f"{body.number} {what}", "number")
    refused = _cannot_begin(billing)
    if refused is not None:
        return refused
    void = InvoiceVoidEntry(
        **sourced(fact, position, sequence),
        number=next_number(billing),
        voids=body.number,
        note=body.reason,
        reissue=body.reissue,
    )
    return [void]


def _cannot_begin(billing: Billing) -> Refusal | None:
    """Why no further document can get a number now."""
    waiting = open_invoice(billing)
    if waiting:
        return _out_of_order(f"{waiting} is closed and is to be issued first", "customer_id")
    if len(billing.documents) >= INVOICES_MAX:
        return Refusal(
            RejectCode.TOO_MANY_INVOICES,
            f"the customer has {len(billing.documents)} invoices and credit notes, the most there "
            "may be; go on under another customer id",
            "customer_id",
        )
    return None


def _invoice(billing: Billing, number: str) -> Document | Refusal:
    document = billing.documents.get(number)
    return _unknown(number) if document is None or document.voids else document


def _unknown(number: str) -> Refusal:
    what = f"the customer has no invoice {number!r}"
    return Refusal(RejectCode.INVOICE_UNKNOWN, what, "number")


def _out_of_order(reason: str, field: str) -> Refusal:
    return Refusal(RejectCode.INVOICE_OUT_OF_ORDER, reason, field)


def sums(parts: Iterable[InvoiceLine | InvoiceTotal]) -> dict[str, int]:
    """Pico amounts by currency."""
    found: dict[str, int] = {}
    for part in parts:
        found[part.currency] = found.get(part.currency, 0) + parse_signed_amount(part.amount)
    return found
