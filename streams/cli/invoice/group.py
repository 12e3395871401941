"""`tollgate invoice`: from a draft to a closed, issued, verified document; the table of its
commands."""

from typing import Final

import click

from streams.cli.main import LazyGroup

INVOICE_COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "draft": ("streams.cli.invoice.draft:draft", "Print what a period would come to now."),
    "close": ("streams.cli.invoice.close:close", "Close periods and issue their invoices."),
    "list": ("streams.cli.invoice.show:list_", "List invoices and credit notes."),
    "show": ("streams.cli.invoice.show:show", "Print a document: table, JSON, CSV or page."),
    "entries": ("streams.cli.invoice.show:entries", "List the ledger entries behind a line."),
    "verify": ("streams.cli.invoice.verify:verify", "Make documents again and compare bytes."),
    "void": ("streams.cli.invoice.close:void", "Take an invoice back by a credit note."),
    "reissue": ("streams.cli.invoice.close:reissue", "Take an invoice back and invoice anew."),
    "credit": ("streams.cli.invoice.close:credit", "Let a customer off an amount."),
    "bill": ("streams.cli.invoice.bill:bill", "Write a bill that its customer can check."),
    "export": ("streams.cli.invoice.export:export", "Write issued invoices for a processor."),
    "usage": ("streams.cli.invoice.usage:usage", "Print what was used in a month, at cost."),
}
"""Name to where the command is and its line in the overview."""


@click.group(cls=LazyGroup, table=INVOICE_COMMANDS)
def invoice() -> None:
    """Draft, close, show and verify invoices.

    An invoice is what a customer's rate card makes of a period's entries in the ledger. Closing a
    period is a fact in the log, so invoices can be made again from it, byte for byte.
    """
