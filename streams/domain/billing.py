"""What a partition knows of a customer's invoices: the row by which facts about them are decided.

Usage never looks at it. It stands under a key of its own beside the accounts, and is loaded by
cycles that hold such facts alone.
"""

import re
from base64 import b32encode
from hashlib import blake2b
from typing import Final, Literal

from schemas.money import format_amount, parse_signed_amount
from schemas.structs import (
    InvoiceCloseEntry,
    InvoiceIssueEntry,
    InvoiceVoidEntry,
    Row,
    TermsEntry,
    column,
)

ROW_PREFIX: Final = "\0billing\0"
"""Before a customer's id in the key of the row. No customer's id begins with NUL."""

Status = Literal["closed", "issued", "voided", "to_reissue", "reissued"]
"""A document is closed once it has a number, and issued once it is said what is on it. `voided`,
`to_reissue` and `reissued` are void invoices: nothing follows, a reissue has to, it has been
closed."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}\Z", re.ASCII)
"""Ids that can be read aloud and typed, UUIDs among them. The count is what follows the last
hyphen of a number, so that those within an id mislead nobody."""

_DIGEST_BYTES: Final = 10
"""80 bits, 16 characters: among 10**9 customers two meet with a chance below 10**-6."""


class Document(Row):
    """An invoice or a credit note. `totals` are decimal texts by currency: what was issued, and of
    a credit note what is due."""

    status: Status
    label: str
    from_us: int
    to_us: int
    cut_generation: int = 0
    cut_sequence: int = 0
    after_generation: int = 0
    after_sequence: int = 0
    after_end_us: int = 0
    totals: dict[str, str] = column(default_factory=dict)
    voids: str = ""
    """Of a credit note: the invoice that it takes back."""


class Billing(Row):
    """The row of one customer. The cut is that of the last period closed; `closed_to_us` its end,
    0 before the first."""

    customer_id: str
    closed_to_us: int = 0
    cut_generation: int = 0
    cut_sequence: int = 0
    next_number: int = 1
    documents: dict[str, Document] = column(default_factory=dict)
    last_sequence: int = -1


def row_key(customer_id: str) -> bytes:
    """The key of a customer's row among the accounts."""
    return (ROW_PREFIX + customer_id).encode()


def is_billing_row(key: bytes) -> bool:
    """Whether a row of the accounts is about a customer's invoices."""
    return key.startswith(ROW_PREFIX.encode())


def number_base(customer_id: str) -> str:
    """What the numbers of a customer's documents begin with: the id where it can be read aloud and
    typed, else a hash of it. No two customers share one."""
    if _PLAIN.match(customer_id):
        return customer_id
    digest = blake2b(customer_id.encode(), digest_size=_DIGEST_BYTES).digest()
    return f"~{b32encode(digest).decode().lower()}"


def next_number(billing: Billing) -> str:
    """The number of the customer's next document: invoices and credit notes share one series
    without gaps."""
    return f"{number_base(billing.customer_id)}-{billing.next_number:04d}"


def open_invoice(billing: Billing) -> str:
    """The invoice that is closed and not issued, '' where there is none; there is never another."""
    found = billing.documents.items()
    return next((n for n, one in found if one.status == "closed" and not one.voids), "")


def to_reissue(billing: Billing) -> str:
    """A void invoice whose reissue has to be closed yet, '' where there is none."""
    return next((n for n, one in billing.documents.items() if one.status == "to_reissue"), "")


def apply_opening(billing: Billing, entry: TermsEntry) -> None:
    """Folds where a customer's documents go on who was billed elsewhere, in place. There is no cut
    yet: whatever this ledger holds of the time before was not billed there (decision 039)."""
    billing.next_number, billing.closed_to_us = entry.next_number, entry.billed_to


def apply_close(billing: Billing, entry: InvoiceCloseEntry) -> None:
    """Folds a closed period into the row, in place."""
    billing.documents[entry.number] = Document(
        "closed",
        entry.label,
        entry.period_from,
        entry.period_to,
        entry.cut_generation,
        entry.cut_sequence,
        entry.after_generation,
        entry.after_sequence,
        entry.after_end,
    )
    billing.next_number += 1
    if entry.reissues:
        billing.documents[entry.reissues].status = "reissued"
        return
    billing.closed_to_us = entry.period_to
    billing.cut_generation, billing.cut_sequence = entry.cut_generation, entry.cut_sequence


def apply_issue(billing: Billing, entry: InvoiceIssueEntry) -> None:
    """Folds an issued document into the row, in place."""
    document = billing.documents[entry.number]
    document.status = "issued"
    document.totals = {total.currency: total.amount for total in entry.totals}


def apply_void(billing: Billing, entry: InvoiceVoidEntry) -> None:
    """Folds a void and its credit note into the row, in place."""
    invoice = billing.documents[entry.voids]
    invoice.status = "to_reissue" if entry.reissue else "voided"
    billing.documents[entry.number] = Document(
        "closed",
        invoice.label,
        invoice.from_us,
        invoice.to_us,
        totals={
            currency: format_amount(-parse_signed_amount(amount))
            for currency, amount in invoice.totals.items()
        },
        voids=entry.voids,
    )
    billing.next_number += 1
