"""Terms and invoices, version 1: how a customer is charged, which periods are closed, what was told
about them. Facts on `budgets`, and their entries in the ledger.

Only what cannot be derived again is a fact (decision 026): where a period was cut, by what it was
charged, which document went out. Field names of entries are column names, as in `schemas.entry`.
"""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from schemas.entry import SourcedEntry
from schemas.envelope import (
    Amount,
    Count,
    Currency,
    Fact,
    Name,
    Part,
    Sequence,
    SignedAmount,
    TimeUs,
)
from schemas.limits import (
    INVOICE_LINES_MAX,
    INVOICE_NUMBER_CHARS_MAX,
    INVOICE_SEGMENTS_MAX,
    INVOICE_TOTALS_MAX,
    NAME_CHARS_MAX,
    REASON_CHARS_MAX,
    UNITS_MAX,
    ZONE_CHARS_MAX,
)

Zone = Annotated[
    str,
    StringConstraints(min_length=1, max_length=ZONE_CHARS_MAX, pattern=r"^[A-Za-z0-9_+/-]+$"),
]
"""The name of a time zone, as the IANA has it."""

DocumentNumber = Annotated[
    str, StringConstraints(min_length=1, max_length=INVOICE_NUMBER_CHARS_MAX)
]
"""The number of an invoice or a credit note."""

NoNumber = Annotated[str, StringConstraints(max_length=INVOICE_NUMBER_CHARS_MAX)]
"""The same, empty for none."""

Text = Annotated[str, StringConstraints(max_length=NAME_CHARS_MAX)]
"""A name or a title, empty for none."""


class Terms(Fact):
    """How a customer is charged from a time on: by which rate card, in which periods.

    Exactly one of `plan` and `card`. What a period is charged by is pinned when it is closed, so
    terms change nothing that is closed.
    """

    kind: Literal["terms"] = "terms"
    plan: Name | None = None
    """A rate plan of the catalog: whatever card it names at that time."""
    card: Name | None = None
    """A rate card of the catalog."""
    zone: Zone = "UTC"
    """Whose days and months count."""
    anchor_day: Annotated[int, Field(ge=1, le=31)] = 1
    """The day of the month on which periods begin; its last one where it has no such day."""
    effective_from: TimeUs | None = None
    """From ever where it is missing."""
    next_number: Annotated[int, Field(ge=1, le=UNITS_MAX)] | None = None
    """The count in the number of the customer's next document, where documents before it were made
    in another installation; counted from 1 where it is missing. Goes with `billed_to`."""
    billed_to: TimeUs | None = None
    """Up to, but not at, this time the customer was billed there: the first period begins here."""


class Credit(Fact):
    """Money that the seller lets a customer off: a line of the next invoice."""

    kind: Literal["credit"] = "credit"
    amount: Amount
    """More than nothing."""
    currency: Currency = "USD"
    reason: Annotated[str, StringConstraints(max_length=REASON_CHARS_MAX)] = ""
    number: NoNumber = ""
    """The invoice that it is about; empty for none."""


class Segment(Part):
    """A stretch [from_us, to_us) of a period under one version of one rate card."""

    card: Text
    """Empty where nothing is charged."""
    version: Text
    from_us: TimeUs
    to_us: TimeUs


class InvoiceClose(Fact):
    """The end of a customer's period: what is in the ledger before this fact's own entry is on the
    invoice, the rest on later ones (F1).

    `segments` pin by what is charged, so that nothing is looked up when the invoice is made again.
    """

    kind: Literal["invoice_close"] = "invoice_close"
    label: Name
    """What the period is called, such as 2026-10."""
    zone: Zone
    period_from: TimeUs
    period_to: TimeUs
    segments: Annotated[list[Segment], Field(min_length=1, max_length=INVOICE_SEGMENTS_MAX)]
    """They follow on one another and cover the period."""
    reissues: NoNumber = ""
    """The voided invoice whose period is invoiced anew, with its entries and no others."""


class InvoiceLine(Part):
    """What is charged for one thing: rounded to the smallest unit of its currency (F3)."""

    line: Annotated[int, Field(ge=1, le=INVOICE_LINES_MAX)]
    """Its place on the document, from 1."""
    line_kind: Literal["usage", "fee", "discount", "minimum", "credit"]
    corrects: NoNumber = ""
    """The invoice whose period it corrects; empty for the document's own."""
    label: Name
    """The period that it is about."""
    item: Text = ""
    """Of the rate card."""
    title: Text = ""
    card: Annotated[str, StringConstraints(max_length=2 * NAME_CHARS_MAX + 1)] = ""
    """Rate card and version, as `pro@2`."""
    group: Text = ""
    """The model, agent or signal that the line is for, where the item has a line for each."""
    metric: Text = ""
    quantity: Annotated[
        str, StringConstraints(pattern=r"^(-?[0-9]{1,26}(\.[0-9]{1,12})?)?$", max_length=40)
    ] = ""
    """How much of the metric, a decimal; empty where nothing is counted."""
    from_us: TimeUs
    to_us: TimeUs
    """The stretch [from_us, to_us) of the period that it is for."""
    amount: SignedAmount
    currency: Currency


class InvoiceTotal(Part):
    """The sum of all lines in one currency."""

    currency: Currency
    amount: SignedAmount


class InvoiceIssue(Fact):
    """A document as it goes to the customer: what a closed period comes to, or the credit note of a
    voided one.

    The lines follow from the ledger up to the cut; they stand here so that what was told to the
    customer can be shown, and compared, for ever.
    """

    kind: Literal["invoice_issue"] = "invoice_issue"
    number: DocumentNumber
    document: Literal["invoice", "credit_note"]
    digest: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 of the document's bytes."""
    lines: Annotated[list[InvoiceLine], Field(max_length=INVOICE_LINES_MAX)]
    totals: Annotated[list[InvoiceTotal], Field(max_length=INVOICE_TOTALS_MAX)]
    """One for each currency of the lines."""


class InvoiceVoid(Fact):
    """An issued invoice taken back: a credit note with a number of its own follows."""

    kind: Literal["invoice_void"] = "invoice_void"
    number: DocumentNumber
    """Of the invoice."""
    reason: Annotated[str, StringConstraints(max_length=REASON_CHARS_MAX)] = ""
    reissue: bool = False
    """The same period will be invoiced again: what it was charged does not count any more."""


class TermsEntry(SourcedEntry):
    """Terms that now hold, from `terms_from` on. Touches no account."""

    kind: Literal["terms"] = "terms"
    plan: str = ""
    card: str = ""
    zone: str
    anchor_day: Count
    terms_from: TimeUs = 0
    """0 is from ever."""
    next_number: Count = 0
    """0 where the count goes on."""
    billed_to: TimeUs = 0
    """0 where nothing was billed elsewhere."""


class CreditEntry(SourcedEntry):
    """Money that a customer is let off: it lowers the next invoice. Touches no account."""

    kind: Literal["credit"] = "credit"
    amount: SignedAmount
    currency: Currency = "USD"
    reason: str = ""
    number: str = ""
    """The invoice that it is about."""


class InvoiceCloseEntry(SourcedEntry):
    """A period that is closed under a number. The entry's own place is the cut."""

    kind: Literal["invoice_close"] = "invoice_close"
    number: Name
    label: Name
    zone: str
    period_from: TimeUs
    period_to: TimeUs
    segments: list[Segment]
    reissues: str = ""
    cut_generation: Annotated[int, Field(ge=1)]
    cut_sequence: Sequence
    """Entries up to this place are on the invoice: this entry's own, of a reissue that of the
    invoice which it takes the place of."""
    after_generation: Count = 0
    after_sequence: Count = 0
    """The cut before it, generation 0 where there is none: what came later and is from before the
    period corrects earlier ones."""
    after_end: TimeUs = 0
    """The end of the period before it, 0 where there is none."""


class InvoiceIssueEntry(SourcedEntry):
    """A document as it went to the customer, with the period that it is about."""

    kind: Literal["invoice_issue"] = "invoice_issue"
    number: Name
    document: Literal["invoice", "credit_note"]
    label: Name
    period_from: TimeUs
    period_to: TimeUs
    digest: Name
    lines: list[InvoiceLine]
    totals: list[InvoiceTotal]
    voids: str = ""
    """Of a credit note: the invoice that it takes back."""


class InvoiceVoidEntry(SourcedEntry):
    """An invoice that is void, and the number of the credit note that says so."""

    kind: Literal["invoice_void"] = "invoice_void"
    number: Name
    """Of the credit note."""
    voids: Name
    """Of the invoice."""
    note: str = ""
    """Why, for a person."""
    reissue: bool = False
    """Its period is to be invoiced again, so what it charged does not count any more."""
