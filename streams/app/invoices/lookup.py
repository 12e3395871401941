"""Invoices looked up by number: their documents from rows, their lines down to ledger entries."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from schemas.codec import to_plain
from streams.app.invoices.documents import Wanted, make_documents
from streams.app.invoices.session import Session, open_session
from streams.app.warehouse import clickhouse
from streams.domain.invoices.documents import Document, digest, line_from
from streams.errors import SetupError
from streams.invoicing.billing import Billing, Plain, customers_of, read_billing
from streams.invoicing.invoice_lines import (
    CountedEntry,
    ListedInvoice,
    counted_entries,
    counts_entries,
    list_invoices,
)
from streams.settings import Settings


@dataclass(frozen=True, slots=True)
class Shown:
    """A document. `issue` is its entry, None while it is closed and not issued; `as_issued` says
    whether the rows make the document that was issued."""

    document: Document
    issue: Plain | None
    as_issued: bool
    cards: Mapping[str, Mapping[str, Any]]


def find_document(settings: Settings, number: str) -> Shown:
    """The document of a number, from rows. Raises SetupError for a number that nobody has."""
    with open_session(settings, caught_up=False) as session:
        wanted = _wanted(session, number)
        (made,) = make_documents(session.warehouse, session.shelf, [wanted])
        issue = _issue_of(wanted.billing, number)
        document, as_issued = made.document, True
        if issue is not None and issue["digest"] != digest(document):
            # What was told to the customer is shown, whatever the rows have become.
            lines = tuple(line_from(line) for line in issue["lines"])
            document, as_issued = replace(document, lines=lines), False
        return Shown(document, issue, as_issued, cards_of(session, document))


def cards_of(session: Session, document: Document) -> dict[str, Mapping[str, Any]]:
    """The rate cards that a document's lines name, as their records."""
    names = {line.card for line in document.lines if line.card}
    found = session.shelf.cards
    return {name: to_plain(found[name]) for name in sorted(names) if name in found}


def list_documents(
    settings: Settings, customer_id: str | None, label: str | None, limit: int
) -> list[ListedInvoice]:
    """Invoices and credit notes of a customer, or of all."""
    with closing(clickhouse(settings, analyst=True)) as warehouse:
        return list_invoices(warehouse, customer_id, label, limit)


@dataclass(frozen=True, slots=True)
class Counted:
    """A line and the entries that it counts; `reason` where it counts none."""

    line: Plain
    entries: list[CountedEntry]
    reason: str = ""


def line_entries(settings: Settings, number: str, at: int, limit: int) -> Counted:
    """The ledger entries behind line `at` of an issued document.

    Raises SetupError for a document or a line that there is not.
    """
    with open_session(settings, caught_up=False) as session:
        wanted = _wanted(session, number)
        issue = _issue_of(wanted.billing, number)
        lines = [] if issue is None else issue["lines"]
        line = next((one for one in lines if one["line"] == at), None)
        if line is None:
            raise SetupError(
                f"{number} has no line {at}, it has {len(lines)}",
                action=f"`tollgate invoice show {number}` shows them with their numbers.",
            )
        if not counts_entries(line):
            return Counted(
                line, [], f"a {line['line_kind']} counts no entries: the rate card says it"
            )
        item, groups = None, []
        if line["line_kind"] == "usage":
            card = session.shelf.cards.get(line["card"])
            items = [] if card is None else to_plain(card)["items"]
            item = next((one for one in items if one["id"] == line["item"]), None)
            if item is None:
                raise SetupError(
                    f"rate card {line['card']} has no item {line['item']}",
                    action="Restore the catalog topic.",
                )
            groups = [
                one["group"]
                for one in lines
                if (one["item"], one["card"], one["label"], one["from_us"])
                == (line["item"], line["card"], line["label"], line["from_us"])
            ]
        found = counted_entries(session.warehouse, wanted.close, line, item, groups, limit)
        return Counted(line, list(found))


def _wanted(session: Session, number: str) -> Wanted:
    customers = customers_of(session.warehouse, [number])
    for billing in read_billing(session.warehouse, customers, with_lines=True).values():
        closes = {one["number"]: one for one in billing.closes}
        if number in closes:
            return Wanted(billing, closes[number])
        for void in billing.voids:
            if void["number"] == number:
                return Wanted(billing, closes[void["voids"]], void)
    raise SetupError(
        f"there is no invoice {number}", action="`tollgate invoice list` shows all there are."
    )


def _issue_of(billing: Billing, number: str) -> Plain | None:
    return next((one for one in billing.issues if one["number"] == number), None)
