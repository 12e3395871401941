"""`tollgate invoice bill`: a document with everything that its receiver needs to check it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from streams.app.invoices.books import read_bundle
from streams.cli.invoice.paper import parties_option, read_parties, write_bytes
from streams.cli.options import with_settings
from streams.domain.invoices.bundle import Bundle, differences, recompute
from streams.domain.invoices.documents import document_bytes
from streams.domain.invoices.tallies import Entry
from streams.errors import FaultError, SetupError
from streams.papers.bundles import bill_text, leaving
from streams.papers.page import html_page
from streams.papers.parties import Parties
from streams.papers.rows import csv_text
from streams.papers.verifier import BUNDLE, DOCUMENT, NOTE, VERIFIER, note_text, verifier_bytes
from streams.settings import Settings

PAGE: Final = "bill.html"
ROWS: Final = "bill.csv"


@click.command(name="bill")
@click.argument("number")
@with_settings("kafka_bootstrap", "topic_prefix", "clickhouse_url", "clickhouse_database")
@click.option(
    "--to", metavar="DIR", required=True, help="Directory for the files; made where missing."
)
@parties_option
@click.option(
    "--no-costs",
    is_flag=True,
    help="Leave out what calls cost you. Not for bills that charge by cost.",
)
def bill(settings: Settings, number: str, to: str, parties: str | None, no_costs: bool) -> None:
    """Write the bill NUMBER with all that it follows from, and a program that checks it.

    Its receiver runs `python verify.pyz bill.json`, which needs Python alone and computes every
    line again (docs/bill.md). The same bill gives the same files. Nothing is written that would
    not pass the check.
    """
    known = Parties() if parties is None else read_parties(Path(parties))
    files = bill_files(read_bundle(settings, number), number, known, with_costs=not no_costs)
    directory = Path(to)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(
            f"{to} cannot be made: {error.strerror}", action="Name a directory to write into."
        ) from error
    for name, content in files.items():
        write_bytes(content, str(directory / name))
        click.echo(str(directory / name))


def bill_files(
    whole: Bundle, number: str, parties: Parties, *, with_costs: bool = True
) -> dict[str, bytes]:
    """The files of a bill by name.

    Raises SetupError for a document that is not issued yet, or whose costs cannot be left out, and
    FaultError for one that is not what it follows from.
    """
    issued = _issued(whole, number)
    try:
        bundle = leaving(whole, with_costs=with_costs)
    except ValueError as error:
        raise SetupError(str(error), action="Give the command without --no-costs.") from error
    found = differences(bundle, issued)
    if found:
        raise FaultError(
            f"{number} is not what its entries come to: {found[0]}",
            action=f"Run `tollgate invoice verify {number}` and send no bill before it agrees.",
        )
    document = recompute(bundle)
    cards = _cards(bundle)
    page = html_page(document, parties, issued_at_us=issued.get("decided_at"), cards=cards)
    return {
        BUNDLE: bill_text(bundle, issued).encode(),
        VERIFIER: verifier_bytes(),
        PAGE: page.encode(),
        ROWS: csv_text(document, cards).encode(),
        DOCUMENT: document_bytes(document),
        NOTE: note_text(number, issued["digest"]).encode(),
    }


def _issued(bundle: Bundle, number: str) -> Entry:
    """The entry that issued the document. Raises SetupError where there is none."""
    for entry in bundle.case.issues:
        if entry["number"] == number:
            return entry
    raise SetupError(
        f"{number} is closed and not issued yet",
        action="Run `tollgate invoice close` again: it issues what was closed.",
    )


def _cards(bundle: Bundle) -> dict[str, Mapping[str, Any]]:
    """The rate cards of a bundle by the names that lines have for them."""
    return {
        f"{card['id']}@{card['version']}": card
        for card in bundle.case.cards
        if isinstance(card, Mapping)
    }
