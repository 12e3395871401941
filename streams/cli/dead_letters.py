"""`tollgate dead-letters`: what could not be accepted, and what to do about it."""

import asyncio
import json
from base64 import b64decode
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import wraps
from typing import Any, TypeVar

import click

from schemas.errors import RejectCode
from schemas.limits import REASON_CHARS_MAX
from schemas.times import format_time, parse_time_us
from schemas.topics import INBOUND
from streams.app.letters import Plan, discard_letters, replay_letters, unknown
from streams.app.warehouse import clickhouse
from streams.cli.options import with_settings
from streams.cli.tables import console, table
from streams.invoicing.dead_letters import (
    LIST_LIMIT_MAX,
    STATES,
    DeadLetterFilter,
    DeadLetterLine,
    first_letters,
    known_ids,
    list_dead_letters,
)
from streams.settings import Settings

C = TypeVar("C", bound=Callable[..., Any])

_CLICKHOUSE = ("clickhouse_url", "clickhouse_database")
_BOTH = (*_CLICKHOUSE, "kafka_bootstrap", "topic_prefix")


@click.group(name="dead-letters")
def dead_letters() -> None:
    """What could not be accepted, with the reason; replay it after a fix, or discard it."""


def filters(command: C) -> C:
    """The options that choose letters by what they are."""
    for option in (
        click.option("--since", metavar="TIME", help="Refused since, as 2026-01-31 or RFC 3339."),
        click.option("--customer", help="Customer that the original's body names, if it is JSON."),
        click.option(
            "--topic",
            type=click.Choice([topic.name for topic in INBOUND]),
            help="Topic of the original, without prefix.",
        ),
        click.option(
            "--code", type=click.Choice([code.value for code in RejectCode]), help="This reason."
        ),
    ):
        command = option(command)
    return command


@dead_letters.command(name="list")
@with_settings(*_CLICKHOUSE)
@filters
@click.option(
    "--state", type=click.Choice(STATES), default="open", help="What became of it.  [default: open]"
)
@click.option("--all", "every_state", is_flag=True, help="Whatever became of them.")
@click.option(
    "--limit",
    type=click.IntRange(1, LIST_LIMIT_MAX),
    default=50,
    help="How many, the newest first.  [default: 50]",
)
@click.option("--payload", is_flag=True, help="With --json: key and value in base64 as well.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per dead letter.")
def list_(
    settings: Settings,
    code: str | None,
    topic: str | None,
    customer: str | None,
    since: str | None,
    state: str,
    every_state: bool,
    limit: int,
    payload: bool,
    as_json: bool,
) -> None:
    """List what was refused: its id, when, why, where the original lies, what became of it."""
    chosen = None if every_state else state
    wanted = DeadLetterFilter(code, topic, parse_since(since), customer, chosen)
    with closing(clickhouse(settings, analyst=True)) as warehouse:
        found = list_dead_letters(warehouse, wanted, limit, payload=payload and as_json)
    if as_json:
        for line in found.lines:
            click.echo(json.dumps(line_dict(line)))
        return
    if found.lines:
        titles = ("letter", "refused at", "code", "state", "bytes", "reason")
        columns = [(title, title == "bytes") for title in titles]
        console().print(table(columns, [_cells(line) for line in found.lines]))
    shown, total = len(found.lines), sum(found.counts.values())
    counts = ", ".join(f"{count:,} {name}" for name, count in found.counts.items())
    kind = f"{chosen} dead letters" if chosen else "dead letters"
    click.echo(f"{shown:,} of {total:,} {kind}" + (f": {counts}" if counts else ""))


@dead_letters.command()
@click.argument("letter_id")
@with_settings(*_CLICKHOUSE)
@click.option("--payload", is_flag=True, help="Key and value of the original as well.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object; payload in base64.")
def show(settings: Settings, letter_id: str, payload: bool, as_json: bool) -> int:
    """Show everything about one dead letter, by the id that `list` prints.

    Exit code 1 where no letter of this id is in ClickHouse.
    """
    wanted = DeadLetterFilter(ids=(letter_id,))
    with closing(clickhouse(settings, analyst=True)) as warehouse:
        found = list_dead_letters(warehouse, wanted, 1, payload=payload).lines
    if not found:
        click.echo(f"no dead letter {letter_id!r} is in ClickHouse", err=True)
        return 1
    fields = line_dict(found[0])
    if as_json:
        click.echo(json.dumps(fields))
        return 0
    for name, value in fields.items():
        if name in ("record_key", "record_value") and value is not None:
            value = b64decode(value).decode("utf-8", "backslashreplace")
        click.echo(f"{name:<15} {'' if value is None else value}")
    return 0


@dataclass(frozen=True, slots=True)
class Choice:
    """Which letters a command is about, and how it goes about them."""

    ids: tuple[str, ...]
    wanted: DeadLetterFilter
    limit: int
    dry_run: bool
    yes: bool
    as_json: bool


def selection(command: Callable[..., int]) -> Callable[..., int]:
    """The arguments of what changes letters; the command is given them as one `Choice`.

    They raise click.UsageError unless there are either ids or filters.
    """

    @wraps(command)
    def with_choice(settings: Settings, **given: Any) -> int:
        ids = given.pop("ids")
        names = ("code", "topic", "customer")
        wanted = DeadLetterFilter(
            **{name: given.pop(name) for name in names}, since_us=parse_since(given.pop("since"))
        )
        filtered = wanted != DeadLetterFilter()
        if filtered == bool(ids):
            raise click.UsageError("name letters by their ids, or choose them: --code, --topic, …")
        wanted = DeadLetterFilter(ids=ids) if ids else replace(wanted, state="open")
        options = {name: given.pop(name) for name in ("limit", "dry_run", "yes", "as_json")}
        return command(settings, Choice(ids, wanted, **options), **given)

    decorated: Callable[..., int] = with_choice
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One JSON object."),
        click.option("--yes", is_flag=True, help="Do not ask."),
        click.option("--dry-run", is_flag=True, help="Say what would be done; append nothing."),
        click.option(
            "--limit",
            type=click.IntRange(1, LIST_LIMIT_MAX),
            default=1000,
            help="How many at the most, the oldest first.  [default: 1000]",
        ),
    ):
        decorated = option(decorated)
    return click.argument("ids", metavar="[LETTER_ID]...", nargs=-1)(filters(decorated))


@dead_letters.command(name="replay")
@with_settings(*_BOTH)
@selection
def replay_(settings: Settings, choice: Choice) -> int:
    """Have letters decided again, by their ids or by filters.

    A replay carries the original bytes, position and append time. An event counts once, however
    often and in whatever order it is replayed, retried or corrected. Letters that this release
    would refuse again are named and left alone. By filters only open letters are chosen; a
    discarded one is replayed when it is named.

    Exit code 1 where a letter was left alone.
    """
    letters, left = choose(settings, choice, ("open", "discarded"))
    confirm(f"replay {len(letters):,} dead letters?", letters, choice)
    plans = asyncio.run(replay_letters(settings, letters, dry_run=choice.dry_run))
    return report("replayed", plans, left, choice)


@dead_letters.command()
@with_settings(*_BOTH)
@selection
@click.option("--reason", required=True, help="Why, for whoever reads the books later.")
def discard(settings: Settings, choice: Choice, reason: str) -> int:
    """Record that letters will not be replayed, by their ids or by filters.

    Nothing is deleted: the letters stay, with the reason. Exit code 1 where one was left alone,
    because it is not known or not open.
    """
    if not 1 <= len(reason) <= REASON_CHARS_MAX:
        raise click.BadParameter(f"1 to {REASON_CHARS_MAX} characters", param_hint="--reason")
    letters, left = choose(settings, choice, ("open",))
    confirm(f"discard {len(letters):,} dead letters?", letters, choice)
    plans = asyncio.run(discard_letters(settings, letters, reason, dry_run=choice.dry_run))
    return report("discarded", plans, left, choice)


def choose(
    settings: Settings, choice: Choice, states: tuple[str, ...]
) -> tuple[list[str], list[Plan]]:
    """The letters that are meant and in one of these states, and the named ones that are left
    alone, with the reason."""
    with closing(clickhouse(settings, analyst=True)) as warehouse:
        found, total = first_letters(warehouse, choice.wanted, choice.limit)
        known = known_ids(warehouse, choice.ids)
    if total > len(found):
        click.echo(
            f"{total - len(found):,} more are chosen than --limit allows: give the command again "
            "when these are resolved",
            err=True,
        )
    left = [unknown(letter) for letter in choice.ids if letter not in known]
    left += [
        Plan(letter, code=state, reason="it was resolved before")
        for letter, state in found
        if state not in states
    ]
    return [letter for letter, state in found if state in states], left


def confirm(question: str, letters: list[str], choice: Choice) -> None:
    """Asks, unless it was agreed or there is nothing to ask about. Raises click.ClickException for
    a no, click.Abort where nobody answers."""
    if not letters or choice.yes or choice.dry_run:
        return
    if not click.confirm(question, err=True):
        raise click.ClickException("nothing was appended")


def report(done: str, plans: list[Plan], left: list[Plan], choice: Choice) -> int:
    """Prints what was done, and returns the exit code: 1 where some letter was left alone."""
    refused = [plan for plan in plans if plan.refused] + left
    sent = [plan.letter_id for plan in plans if not plan.refused]
    if choice.as_json:
        fields = {
            "dry_run": choice.dry_run,
            done: sent,
            "left": [
                {"letter_id": one.letter_id, "code": one.code, "reason": one.reason}
                for one in refused
            ],
        }
        click.echo(json.dumps(fields))
    else:
        for one in refused:
            click.echo(f"left alone  {one.letter_id}  {one.code}: {one.reason}")
        verb = "would be" if choice.dry_run else "are on their way to be"
        click.echo(f"{len(sent):,} letters {verb} {done}, {len(refused):,} left alone")
        if sent and not choice.dry_run:
            click.echo(
                "what became of them: tollgate dead-letters list --all, or show LETTER_ID",
                err=True,
            )
    return 1 if refused else 0


def parse_since(text: str | None) -> int | None:
    """Microseconds since the epoch of a day (UTC) or an RFC 3339 time, None of none. Raises
    click.BadParameter."""
    if text is None:
        return None
    try:
        return parse_time_us(text if "T" in text else f"{text}T00:00:00Z")
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--since") from None


def line_dict(line: DeadLetterLine) -> dict[str, Any]:
    """A dead letter for a script."""
    found = asdict(line)
    record = found.pop("record")
    for name in ("decided_at", "appended_at", "resolved_at"):
        time_us = found.pop(f"{name}_us")
        found[name] = None if time_us is None else format_time(time_us)
    return {**found, **record}


def _cells(line: DeadLetterLine) -> list[str]:
    when = format_time(line.decided_at_us)
    return [line.entry_id, when, line.code, line.state, f"{line.size:,}", line.reason]
