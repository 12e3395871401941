"""`tollgate keys`: API keys for the gateway: made, listed, revoked, rotated."""

import asyncio
import json
from typing import Any, Final

import click

from schemas.structs import ApiKey
from schemas.times import format_time, parse_time_us
from streams.app.keys import (
    KeyLine,
    KeyWish,
    NewKey,
    create_key,
    days_from_now_us,
    list_keys,
    revoke_keys,
    rotate_key,
)
from streams.cli.options import with_settings
from streams.cli.tables import console, table
from streams.settings import Settings

SCOPES: Final = ("ingest", "preflight", "read", "admin")
OVERLAP_HOURS_DEFAULT: Final = 24
OVERLAP_HOURS_MAX: Final = 24 * 90

OUTCOMES: Final = {
    "done": "revoked",
    "already": "was revoked before",
    "unknown": "there is no such key",
}


@click.group()
def keys() -> None:
    """Make, list, revoke and rotate API keys.

    A key is shown once, when it is made: only a digest is kept.
    """


@keys.command()
@with_settings("kafka_bootstrap", "topic_prefix")
@click.option("--label", required=True, help="Whose key it is, for a person.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice(SCOPES),
    help="What it may be used for; may be given more than once. admin implies the others.",
)
@click.option(
    "--customer",
    "customers",
    multiple=True,
    metavar="ID",
    help="The only customer that it may name; may be given more than once. Default: all.",
)
@click.option("--expires-in-days", type=click.IntRange(1, 3650), help="How long it is good.")
@click.option("--expires-at", metavar="TIME", help="Until when, such as 2027-01-31T00:00:00Z.")
@click.option(
    "--requests-per-second",
    type=click.IntRange(1, 100_000),
    help="What each gateway takes under it. Default: the gateway's own bound.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, the key in it.")
def create(
    settings: Settings,
    label: str,
    scopes: tuple[str, ...],
    customers: tuple[str, ...],
    expires_in_days: int | None,
    expires_at: str | None,
    requests_per_second: int | None,
    as_json: bool,
) -> None:
    """Make a key and print it: the only time that it can be seen.

    The key alone goes to stdout. Gateways accept it within a second or so.
    """
    wish = KeyWish(
        label=label,
        scopes=scopes,
        customers=customers or None,
        expires_at_us=_end(expires_in_days, expires_at),
        requests_per_second=requests_per_second,
    )
    made = asyncio.run(create_key(settings, wish))
    if as_json:
        click.echo(json.dumps(_made_dict(made)))
        return
    _show(made)


@keys.command(name="list")
@with_settings("kafka_bootstrap", "topic_prefix")
@click.option("--all", "show_all", is_flag=True, help="Revoked and expired ones as well.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_(settings: Settings, show_all: bool, as_json: bool) -> None:
    """List keys by their ids; the keys themselves are not kept.

    Last uses are those that the gateways of this home have written, about a minute old.
    """
    lines = [
        line for line in asyncio.run(list_keys(settings)) if show_all or line.state == "active"
    ]
    if as_json:
        click.echo(json.dumps([_line_dict(line) for line in lines]))
        return
    if not lines:
        click.echo("there are no keys" if show_all else "there are no active keys", err=True)
        return
    titles = ("id", "label", "scopes", "customers", "state", "created", "ends", "last used")
    console().print(table([(title, False) for title in titles], [_cells(line) for line in lines]))


@keys.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@with_settings("kafka_bootstrap", "topic_prefix")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def revoke(settings: Settings, ids: tuple[str, ...], as_json: bool) -> int:
    """Revoke keys by their ids (`agb_ID_…`): for ever, in every gateway within 5 seconds.

    Exit code 1 where there is no key of one of the ids; the others are revoked all the same.
    """
    done = asyncio.run(revoke_keys(settings, [_id(text) for text in ids]))
    if as_json:
        click.echo(json.dumps([{"id": one.key_id, "outcome": one.outcome} for one in done]))
    else:
        for one in done:
            click.echo(f"{one.key_id}  {OUTCOMES[one.outcome]}", err=one.outcome == "unknown")
    return 1 if any(one.outcome == "unknown" for one in done) else 0


@keys.command()
@click.argument("key_id", metavar="ID")
@with_settings("kafka_bootstrap", "topic_prefix")
@click.option(
    "--overlap-hours",
    type=click.IntRange(0, OVERLAP_HOURS_MAX),
    default=OVERLAP_HOURS_DEFAULT,
    show_default=True,
    help="How long the old key is good beside the new one; 0 revokes it now.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, the key in it.")
def rotate(settings: Settings, key_id: str, overlap_hours: int, as_json: bool) -> None:
    """Make a key with the same rights in the place of another, and let that one end.

    Both are good during the overlap, so nothing has to stop: give the new key to whoever uses the
    old one, and watch the old one's last use in `tollgate keys list`.
    """
    made, old = asyncio.run(rotate_key(settings, _id(key_id), overlap_hours * 3600))
    if as_json:
        replaced = {
            "id": old.id,
            "expires_at": _time(old.expires_at),
            "revoked_at": _time(old.revoked_at),
        }
        click.echo(json.dumps(_made_dict(made) | {"replaced": replaced}))
        return
    _show(made)
    fate = f"is good until {_time(old.expires_at)}" if old.revoked_at is None else "is revoked"
    click.echo(f"key {old.id} {fate}", err=True)


def _end(days: int | None, time: str | None) -> int | None:
    """When a key expires, in microseconds since the epoch. Raises click.UsageError."""
    if days is not None and time is not None:
        raise click.UsageError("give --expires-in-days or --expires-at, not both")
    if days is not None:
        return days_from_now_us(days)
    if time is None:
        return None
    try:
        return parse_time_us(time)
    except ValueError as fault:
        raise click.BadParameter(str(fault), param_hint="--expires-at") from None


def _id(text: str) -> str:
    """The id that was meant. A whole key given instead is not repeated in the message: it would
    stand in one more terminal."""
    if "_" in text:
        raise click.UsageError(
            "give the id alone: the 16 digits between agb_ and the second _. A key that was typed "
            "in whole is in the history of the shell: rotate it."
        )
    return text


def _show(made: NewKey) -> None:
    click.echo(made.text)
    click.echo(f"key {made.record.id}: keep it now, it cannot be shown again", err=True)


def _made_dict(made: NewKey) -> dict[str, Any]:
    return {"key": made.text} | _record_dict(made.record)


def _line_dict(line: KeyLine) -> dict[str, Any]:
    return _record_dict(line.record) | {
        "state": line.state,
        "revoked_at": _time(line.record.revoked_at),
        "last_used_at": _time(line.used_at_us),
    }


def _record_dict(record: ApiKey) -> dict[str, Any]:
    """What a script may know of a key: not its digest, which is of no use to anybody."""
    return {
        "id": record.id,
        "label": record.label,
        "scopes": record.scopes,
        "customers": record.customers,
        "created_at": _time(record.created_at),
        "expires_at": _time(record.expires_at),
        "requests_per_second": record.requests_per_second,
        "replaces": record.replaces,
    }


def _cells(line: KeyLine) -> list[str]:
    record = line.record
    ends = record.expires_at if record.revoked_at is None else record.revoked_at
    return [
        record.id,
        record.label,
        " ".join(record.scopes),
        "all" if record.customers is None else " ".join(record.customers),
        line.state,
        _minute(record.created_at),
        "-" if ends is None else _minute(ends),
        "not known" if line.used_at_us is None else _minute(line.used_at_us),
    ]


def _minute(time_us: int) -> str:
    return format_time(time_us)[:16].replace("T", " ") + "Z"


def _time(time_us: int | None) -> str | None:
    return None if time_us is None else format_time(time_us)
