"""From a decoded record about terms or invoices to the fact that it states."""

from schemas.errors import RejectCode, RejectError
from schemas.structs import (
    BillingRecord,
    Credit,
    InvoiceClose,
    InvoiceIssue,
    InvoiceVoid,
    Terms,
)
from streams.domain.canonical import hash_content, read_amount, read_time
from streams.domain.facts import BillingFact, SourceRecord, claim_key


def billing_fact(record: SourceRecord, body: BillingRecord) -> BillingFact:
    """The fact that a decoded record about terms or invoices states. Raises RejectError for what no
    state of the books could make sense of.

    Reasons, for a person to read, are outside the hash: the same fact with another reason is a
    repeat.
    """
    occurred = read_time("occurred_at", body.occurred_at)
    if isinstance(body, Terms):
        content = _terms(body)
    elif isinstance(body, Credit):
        content = _credit(body)
    elif isinstance(body, InvoiceClose):
        content = _close(body)
    elif isinstance(body, InvoiceIssue):
        content = _issue(body)
    else:
        assert isinstance(body, InvoiceVoid)
        content = ["invoice_void", body.number, body.reissue]
    return BillingFact(
        record,
        body,
        claim_key(record.topic, body.customer_id, body.source, body.event_id),
        hash_content([*content, occurred]),
        record.appended_at_us if occurred is None else occurred,
    )


def _terms(body: Terms) -> list[object]:
    if (body.plan is None) == (body.card is None):
        raise _invalid("card", "terms name a plan or a card, and not both")
    content: list[object] = ["terms", body.plan, body.card, body.zone, body.anchor_day]
    content.append(body.effective_from)
    if (body.next_number is None) != (body.billed_to is None):
        raise _invalid("next_number", "next_number and billed_to go together")
    if body.next_number is not None:
        content += ("billed", body.next_number, body.billed_to)
    return content


def _credit(body: Credit) -> list[object]:
    amount = read_amount("amount", body.amount)
    if not amount:
        raise _invalid("amount", "a credit must be worth something")
    return ["credit", amount, body.currency, body.number]


def _close(body: InvoiceClose) -> list[object]:
    at_us = body.period_from
    for segment in body.segments:
        if segment.from_us != at_us or segment.to_us <= at_us:
            raise _invalid("segments", "they do not follow on one another from period_from on")
        if (segment.card == "") != (segment.version == ""):
            raise _invalid("segments", "a card and its version stand together, or neither")
        at_us = segment.to_us
    if at_us != body.period_to:
        raise _invalid("segments", "they do not end with period_to")
    content: list[object] = ["invoice_close", body.label, body.zone]
    content += (body.period_from, body.period_to, body.reissues)
    content += ((one.card, one.version, one.from_us, one.to_us) for one in body.segments)
    return content


def _issue(body: InvoiceIssue) -> list[object]:
    content: list[object] = ["invoice_issue", body.number, body.document, body.digest]
    for place, line in enumerate(body.lines, 1):
        if line.line != place:
            raise _invalid("lines", f"line {line.line} where line {place} was due")
        if line.to_us < line.from_us:
            raise _invalid("lines", f"line {place} ends before it begins")
        content += (line.line_kind, line.corrects, line.label, line.item, line.title, line.card)
        content += (line.group, line.metric, line.quantity, line.from_us, line.to_us)
        content += (line.amount, line.currency)
    content.append("totals")
    for total in body.totals:
        content += (total.currency, total.amount)
    return content


def _invalid(field: str, reason: str) -> RejectError:
    return RejectError(RejectCode.INVALID_FIELD, f"{field}: {reason}", field)
