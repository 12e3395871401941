"""`tollgate rates`: what customers are charged."""

import asyncio
import json
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from schemas.rates import effective_time_us
from schemas.times import format_time
from streams.app.administration import tell
from streams.app.rate_files import FilesRead, RateDocument, read_rate_files
from streams.app.rate_preview import preview as previewed
from streams.app.rate_preview import preview_shelves
from streams.app.rates import append_versions, now_us, plan_versions, read_rate_shelf
from streams.cli.grants import show_told
from streams.cli.options import with_settings
from streams.cli.rate_texts import (
    fault_dict,
    name_of,
    planned_dict,
    preview_csv,
    preview_dict,
    print_card,
    print_cards,
    print_faults,
    print_planned,
    print_plans,
    print_preview,
    record_dict,
)
from streams.demo.progress import Bars
from streams.errors import SetupError
from streams.settings import Settings

_KAFKA: Final = ("kafka_bootstrap", "topic_prefix")


@click.group()
def rates() -> None:
    """Say what customers are charged: rate cards, plans, and who has which."""


@rates.command()
@click.argument("files", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def validate(files: tuple[str, ...], as_json: bool) -> int:
    """Check FILES of rate cards and plans, without any server.

    Every fault is shown with the line and column that it stands on. Exit code 1 where there is
    one; doubts (what is right and may not be meant so) change no exit code.
    """
    found = read_rate_files(files)
    doubts = [doubt for document in found.documents for doubt in document.doubts]
    if as_json:
        for level, one in [*_leveled("fault", found.faults), *_leveled("doubt", doubts)]:
            click.echo(json.dumps({"level": level, **fault_dict(one)}))
        return 1 if found.faults else 0
    print_faults(found.faults)
    for doubt in doubts:
        click.echo(f"{doubt} (a doubt, no fault)")
    click.echo(f"{len(found.documents):,} documents are right, {len(found.faults):,} faults")
    return 1 if found.faults else 0


def _leveled(level: str, ones: Any) -> list[tuple[str, Any]]:
    return [(level, one) for one in ones]


@rates.command()
@click.argument("files", nargs=-1, required=True)
@with_settings(*_KAFKA)
@click.option("--dry-run", is_flag=True, help="Show what would be appended and append nothing.")
@click.option("--backdated", is_flag=True, help="Take what is effective from a time in the past.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per document.")
def apply(
    settings: Settings, files: tuple[str, ...], dry_run: bool, backdated: bool, as_json: bool
) -> None:
    """Append the rate cards and plans of FILES to the catalog, as new versions.

    What is in the catalog already is left alone, so the command can be repeated. Drafts and
    closes from now on use the new versions; closed invoices keep those that they name.
    """
    asyncio.run(_apply(settings, _documents(read_rate_files(files)), dry_run, backdated, as_json))


async def _apply(
    settings: Settings,
    documents: list[RateDocument],
    dry_run: bool,
    backdated: bool,
    as_json: bool,
) -> None:
    shelf = await read_rate_shelf(settings)
    planned = plan_versions(shelf, documents, now_us())
    new = [one for one in planned if one.is_new]
    late = [one for one in new if one.backdated]
    if not as_json:
        for one in planned:
            print_planned(one)
    for one in late:
        click.echo(
            f"warning: {name_of(one.record)} changes what was in force before now. Closed "
            "invoices keep the versions that they name; drafts and periods that are not closed "
            "yet follow the new one.",
            err=True,
        )
    if late and not (backdated or dry_run):
        raise SetupError(
            f"{name_of(late[0].record)} is effective from a time in the past; nothing was appended",
            action="Set effective_from to a time to come, or give --backdated if this is meant.",
        )
    if not dry_run:
        await append_versions(settings, shelf, planned)
    if as_json:
        for one in planned:
            click.echo(json.dumps(planned_dict(one, appended=not dry_run)))
    elif dry_run:
        click.echo(f"{len(new):,} versions would be appended")
    else:
        click.echo(f"{len(new):,} versions appended")


def _documents(found: FilesRead) -> list[RateDocument]:
    """The documents of files without a fault. Raises SetupError."""
    if found.faults:
        raise SetupError(
            "\n".join(str(fault) for fault in found.faults),
            action="Correct the files (`tollgate rates validate` checks them without a server); "
            "nothing was appended.",
        )
    return found.documents


@rates.command()
@click.argument("card", required=False)
@with_settings(*_KAFKA)
@click.option("--version", help="This version. Default: the one in force.")
@click.option("--at", metavar="TIME", help="In force at this time. Default: now.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per version.")
def show(
    settings: Settings, card: str | None, version: str | None, at: str | None, as_json: bool
) -> int:
    """Print rate cards: all of them as a list, or CARD as a table.

    Exit code 1 for a card that there is not.
    """
    shelf = asyncio.run(read_rate_shelf(settings))
    at_us = _at(at)
    if card is None:
        if as_json:
            for one in shelf.card_records:
                click.echo(json.dumps(record_dict(shelf, one, at_us)))
        else:
            print_cards(shelf, at_us)
        return 0
    in_force = shelf.card_in_force(card, at_us)
    found = shelf.card(card, version) if version else in_force
    if found is None:
        versions = [one.version for one in shelf.card_records if one.id == card]
        known = f"; its versions are {', '.join(versions)}" if versions else ""
        what = f"version {version}" if version else f"in force at {format_time(at_us)}"
        click.echo(f"there is no rate card {card}, {what}{known}", err=True)
        return 1
    if as_json:
        click.echo(json.dumps(record_dict(shelf, found, at_us), indent=2))
    else:
        print_card(found, found is in_force)
    return 0


@rates.command()
@with_settings(*_KAFKA)
@click.option("--at", metavar="TIME", help="In force at this time. Default: now.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per version.")
def plans(settings: Settings, at: str | None, as_json: bool) -> None:
    """List plans: names that point to rate cards, each from a time on."""
    shelf = asyncio.run(read_rate_shelf(settings))
    at_us = _at(at)
    if as_json:
        for one in shelf.plan_records:
            click.echo(json.dumps(record_dict(shelf, one, at_us)))
    else:
        print_plans(shelf, at_us)


@rates.command()
@click.argument("customer")
@with_settings(*_KAFKA)
@click.option("--plan", help="The plan: follows the card that it points to.")
@click.option("--card", help="A card of the customer's own, in place of a plan.")
@click.option("--zone", help="Time zone of billing, such as Europe/Berlin. Default: UTC.")
@click.option("--anchor-day", type=click.IntRange(1, 31), help="Periods begin on it. Default: 1.")
@click.option("--from", "begins", metavar="TIME", help="From when on. Default: from ever.")
@click.option("--id", "event_id", help="Id of this assignment: the same one twice counts once.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def assign(
    settings: Settings,
    customer: str,
    plan: str | None,
    card: str | None,
    zone: str | None,
    anchor_day: int | None,
    begins: str | None,
    event_id: str | None,
    as_json: bool,
) -> None:
    """Say which plan or rate card CUSTOMER has, and when its billing periods begin.

    A customer without an assignment has the plan `default`, where there is one. A later
    assignment replaces the earlier one from its own time on.
    """
    if (plan is None) == (card is None):
        raise click.UsageError("say what the customer has: --plan NAME or --card NAME")
    if zone is not None:
        _check_zone(zone)
    asyncio.run(_check_known(settings, plan, card))
    fields = {
        "plan": plan,
        "card": card,
        "zone": zone,
        "anchor_day": anchor_day,
        "effective_from": None if begins is None else _time("--from", begins),
    }
    show_told(asyncio.run(tell(settings, "terms", customer, fields, event_id)), as_json)


@rates.command()
@click.argument("files", nargs=-1, required=True)
@with_settings(*_KAFKA, "clickhouse_url", "clickhouse_database")
@click.option("--period", required=True, metavar="LABEL", help="The period, such as 2026-10.")
@click.option("--customer", "customers", multiple=True, help="This one alone; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per customer and currency.")
@click.option("--csv", "as_csv", is_flag=True, help="One row per customer and currency.")
def preview(
    settings: Settings,
    files: tuple[str, ...],
    period: str,
    customers: tuple[str, ...],
    as_json: bool,
    as_csv: bool,
) -> None:
    """Show what the invoices of a period would have been with the cards and plans of FILES.

    They take the place of all versions of the same ids, from ever; nothing is appended. Both sides
    are worked out anew from the ledger, also of periods that are closed, without corrections of
    earlier periods.
    """
    if as_json and as_csv:
        raise click.UsageError("either --json or --csv")
    documents = _documents(read_rate_files(files))
    old, new = asyncio.run(preview_shelves(settings, documents))
    with Bars() as bars:
        rows = previewed(settings, old, new, period, list(customers) or None, bars.show)
    if as_json:
        for row in rows:
            click.echo(json.dumps(preview_dict(row)))
    elif as_csv:
        click.echo(preview_csv(rows), nl=False)
    else:
        print_preview(rows)


def _check_zone(name: str) -> None:
    """No worker asks for the rules of a zone; whoever closes a period would find it missing."""
    try:
        ZoneInfo(name)
    except (ValueError, ZoneInfoNotFoundError, OSError):
        raise click.BadParameter(
            f"this machine knows no time zone {name!r}", param_hint="--zone"
        ) from None


async def _check_known(settings: Settings, plan: str | None, card: str | None) -> None:
    """Raises SetupError for a plan or card that the catalog does not hold: nobody would be charged
    by it."""
    shelf = await read_rate_shelf(settings)
    known = [one.id for one in (shelf.plan_records if plan else shelf.card_records)]
    if (plan or card) not in known:
        what = f"plan {plan}" if plan else f"rate card {card}"
        raise SetupError(
            f"there is no {what}; there are: {', '.join(dict.fromkeys(known)) or 'none'}",
            action="Apply it first with `tollgate rates apply FILE`; nothing was appended.",
        )


def _at(text: str | None) -> int:
    return now_us() if text is None else _time("--at", text)


def _time(option: str, text: str) -> int:
    try:
        return effective_time_us(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None
