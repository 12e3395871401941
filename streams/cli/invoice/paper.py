"""The forms of an invoice on the command line: which one is wanted, and where it goes.

Commands that print a document take `paper_options` and hand the document to `write_paper`.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import click

from streams.domain.invoices.documents import Document
from streams.errors import SetupError
from streams.papers.page import html_page
from streams.papers.parties import PARTIES_BYTES_MAX, Parties, parties_of
from streams.papers.plain import Plain, json_text
from streams.papers.prices import Cards
from streams.papers.rows import csv_text
from streams.papers.table import table_text

P = ParamSpec("P")
R = TypeVar("R")

STDOUT: Final = "-"
"""The name of stdout as a file."""


@dataclass(frozen=True, slots=True)
class Form:
    """How a document is wanted: `kind` is table, json, csv or html; `to` a file or `-`."""

    kind: str
    parties: Parties
    to: str


def paper_options(
    command: Callable[Concatenate[Form, P], R],
) -> Callable[P, R]:
    """Give a command its `Form` as first argument, and the options that choose it."""

    @wraps(command)
    def with_form(*args: P.args, **kwargs: P.kwargs) -> R:
        wanted = [kind for kind in ("json", "csv", "html") if kwargs.pop(f"as_{kind}", False)]
        parties_file, to = kwargs.pop("parties", None), kwargs.pop("to", None)
        if len(wanted) > 1:
            raise click.UsageError(f"--{wanted[0]} and --{wanted[1]}: one form at a time")
        kind = wanted[0] if wanted else "table"
        if parties_file is not None and kind != "html":
            raise click.UsageError("--parties: names and addresses stand on the page, --html")
        parties = Parties() if parties_file is None else read_parties(Path(str(parties_file)))
        return command(Form(kind, parties, str(to or STDOUT)), *args, **kwargs)

    decorated: Callable[P, R] = with_form
    for option in reversed(
        (
            click.option("--json", "as_json", is_flag=True, help="What its digest is of."),
            click.option("--csv", "as_csv", is_flag=True, help="One row per line."),
            click.option("--html", "as_html", is_flag=True, help="A page that prints as a bill."),
            parties_option,
            click.option("--to", metavar="FILE", help="Where to write it. Default: stdout."),
        )
    ):
        decorated = option(decorated)
    return decorated


parties_option: Final[Callable[[Callable[..., Any]], Callable[..., Any]]] = click.option(
    "--parties",
    metavar="FILE",
    help="YAML or JSON with names and addresses for the page (docs/bill.md).",
)
"""Which file says who bills whom."""


def write_paper(
    document: Document | Plain,
    form: Form,
    *,
    issued_at_us: int | None = None,
    cards: Cards | None = None,
) -> None:
    """Write a document in a form: to stdout, or whole to a file. Raises SetupError for a file that
    cannot be written."""
    write_bytes(
        paper_text(document, form, issued_at_us=issued_at_us, cards=cards).encode(), form.to
    )


def paper_text(
    document: Document | Plain,
    form: Form,
    *,
    issued_at_us: int | None = None,
    cards: Cards | None = None,
) -> str:
    """A document in a form."""
    if form.kind == "json":
        return json_text(document)
    if form.kind == "csv":
        return csv_text(document, cards)
    if form.kind == "html":
        return html_page(document, form.parties, issued_at_us=issued_at_us, cards=cards)
    return table_text(document, cards)


def write_bytes(content: bytes, to: str) -> None:
    """Write to stdout (`-`) or a file, which is there whole or not at all. Raises SetupError."""
    if to == STDOUT:
        # As bytes: the ends of CSV's rows are CR LF on every system.
        click.echo(content, nl=False)
        return
    path = Path(to)
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        raise SetupError(
            f"{to} cannot be written: {error.strerror}",
            action="Name a file in a directory that exists and that you may write to.",
        ) from error


def read_parties(path: Path) -> Parties:
    """The parties that a file names, YAML or JSON by its ending. Raises SetupError."""
    try:
        if path.stat().st_size > PARTIES_BYTES_MAX:
            raise ValueError(f"larger than {PARTIES_BYTES_MAX:,} bytes")
        return parties_of(_parsed(path.read_text(encoding="utf-8"), path.suffix))
    except OSError as error:
        raise SetupError(
            f"{path} cannot be read: {error.strerror}",
            action="Name the file with the seller's and the customers' names and addresses.",
        ) from error
    except ValueError as error:
        raise SetupError(
            f"{path} does not say who bills whom:\n{error}",
            action="Correct the file; docs/bill.md shows what may stand in it.",
        ) from error


def _parsed(text: str, suffix: str) -> Any:
    if suffix == ".json":
        return json.loads(text)
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
