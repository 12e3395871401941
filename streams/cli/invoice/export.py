"""`tollgate invoice export`: issued documents as objects that a payment processor can charge."""

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

import click

from schemas.times import parse_time_us
from streams.app.warehouse import clickhouse
from streams.cli.invoice.paper import write_bytes
from streams.cli.options import with_settings
from streams.invoicing.issued import Wanted, issued_documents
from streams.papers.handover import handover
from streams.ports import Warehouse
from streams.settings import Settings

ITEMS_MIN: Final = 2
"""Items of an object at the least where they are bounded: one line, and one for the rest."""


@click.command(name="export")
@with_settings("clickhouse_url", "clickhouse_database")
@click.option("--to", metavar="FILE", required=True, help="Where to write them, - is stdout.")
@click.option("--customer", metavar="ID", help="Of this customer alone.")
@click.option("--since", metavar="TIME", help="Issued at this day (UTC) or RFC 3339 time or later.")
@click.option("--until", metavar="TIME", help="Issued before this day (UTC) or RFC 3339 time.")
@click.option(
    "--items-max",
    type=click.IntRange(min=ITEMS_MIN),
    help="Join the last lines of a document with more into one item. Stripe takes 250.",
)
@click.option("--array", "as_array", is_flag=True, help="One JSON array, not a line per object.")
def export(
    settings: Settings,
    to: str,
    customer: str | None,
    since: str | None,
    until: str | None,
    items_max: int | None,
    as_array: bool,
) -> None:
    """Write issued invoices and credit notes for a payment processor.

    One JSON object per document and currency, oldest first, amounts as integers in the currency's
    smallest unit, credit notes negative; docs/handover.md says what maps onto what. The same
    documents give the same bytes, and each object has the key under which it is to be charged once.
    """
    wanted = Wanted(
        customer or "",
        **{
            name: parse_day_or_time(f"--{name.removesuffix('_us')}", text)
            for name, text in (("since_us", since), ("until_us", until))
            if text is not None
        },
    )
    with closing(clickhouse(settings, analyst=True)) as warehouse:
        objects = list(_objects(warehouse, wanted, items_max))
    write_bytes(_text(objects, as_array=as_array).encode(), to)
    documents = len({(one["customer"], one["number"]) for one in objects})
    click.echo(f"objects: {len(objects)}, documents: {documents}", err=True)


def parse_day_or_time(option: str, text: str) -> int:
    """Microseconds since 1970 of a day in UTC or of an RFC 3339 time. Raises click.BadParameter."""
    try:
        return parse_time_us(text if "T" in text else f"{text}T00:00:00Z")
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None


def _objects(
    warehouse: Warehouse, wanted: Wanted, items_max: int | None
) -> Iterator[dict[str, Any]]:
    for issued in issued_documents(warehouse, wanted):
        yield from handover(issued, items_max=items_max)


def _text(objects: list[dict[str, Any]], *, as_array: bool) -> str:
    """The same bytes for the same objects: keys sorted, an object per line in either form."""
    lines = [json.dumps(one, sort_keys=True, ensure_ascii=False) for one in objects]
    if as_array:
        return "[\n" + ",\n".join(lines) + "\n]\n" if lines else "[]\n"
    return "".join(f"{line}\n" for line in lines)
