"""A status report as a screen of 100 columns and 40 lines: aligned, with colours for what is wrong.

Eight partitions, three workers and a handful of warnings fit. Texts of servers are shown as they
are: `Text` interprets no markup.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from streams.status.report import Partition, Report, Topic, Worker

WIDTH: Final = 100
WARNINGS_SHOWN: Final = 5
"""More would push the figures off the screen; `--json` has all."""

VERDICTS: Final = {
    "well": ("all is well", "green"),
    "attention": ("needs attention", "yellow"),
    "unreachable": ("cannot be asked", "red"),
}
STATES: Final = {
    "owned": "owned",
    "taking": "being taken",
    "silent": "does not answer",
    "none": "no owner",
}
UNKNOWN: Final = "-"


def screen(report: Report, *, partitions: bool = False) -> RenderableType:
    """Everything on one screen; with `partitions` also a line for each of them."""
    parts: list[RenderableType] = [_head(report), Text("")]
    if report.verdict != "unreachable":
        parts += [_figures(report), Text(""), _workers(report.workers), Text("")]
        parts += [_topics(report.topics), Text("")]
        if partitions:
            parts += [_partitions(report.partitions), Text("")]
    parts += _warnings(report)
    return Group(*parts)


def _head(report: Report) -> RenderableType:
    words, colour = VERDICTS[report.verdict]
    place, kafka, tables = report.installation, report.kafka, report.clickhouse
    brokers = ", ".join(broker.address for broker in kafka.brokers)
    version = f"{kafka.version}, " if kafka.version else ""
    log = f"{version}{_count(len(kafka.brokers), 'broker')}: {brokers}" if brokers else "away"
    rows = f"{tables.version}, database {tables.database} at {tables.url}"
    generation = (
        f"{_count(place.partitions or 0, 'partition')}, generation {place.generation}, "
        f"catalog {place.catalog_offset}, prices {place.price_version or 'none'}"
        if place.generation
        else "no generation"
    )
    head = f"Tollgate  {report.asked_at[:19].replace('T', ' ')} UTC  prefix {place.topic_prefix}  "
    lines = [
        Text.assemble(head, (words, f"bold {colour}")),
        _line("topics", generation),
        _line("Kafka", log if kafka.reachable else f"cannot be asked ({kafka.bootstrap})"),
        _line("ClickHouse", rows if tables.reachable else f"cannot be asked ({tables.url})"),
    ]
    return Group(*(_cut(line) for line in lines))


def _figures(report: Report) -> RenderableType:
    decided, sink, dead = report.decisions, report.sink, report.dead_letters
    refused = ", ".join(
        f"{reason} {rate:g}/s" for reason, rate in decided.refused_per_second.items()
    )
    more = "" if decided.complete else " at least"
    lines = [
        _line(
            "decisions",
            f"{_number(decided.per_second)}/s{more}; refused: {refused or 'none'}; open holds: "
            f"{_number(report.open_holds)}",
        ),
        _line("dead letters", f"{dead.total:,}, {_number(dead.last_minute)} in the last minute"),
        _line(
            "sink",
            f"{_number(sink.sinks)} running, {_number(sink.rows_behind)} rows behind, newest row "
            f"{_age(sink.newest_row_age_seconds)} old",
        ),
    ]
    if report.gateways is not None:
        lines.append(_line("gateways", f"{report.gateways} that read `asks`"))
    return Group(*(_cut(line) for line in lines))


def _workers(workers: Sequence[Worker]) -> Table:
    made = _table(("worker", False), ("partitions", False), ("since (UTC)", False), ("", False))
    for worker in workers:
        state, colour = _alive(worker)
        made.add_row(
            Text(worker.address or worker.host or UNKNOWN),
            Text(_ranges(worker.partitions or worker.leases)),
            Text((worker.since or UNKNOWN)[:19].replace("T", " ")),
            Text(state, style=colour),
        )
    if not workers:
        made.add_row(Text("none"), Text(""), Text(""), Text(""))
    return made


def _alive(worker: Worker) -> tuple[str, str]:
    if worker.answers is False:
        return ("does not answer" if worker.member else "gone", "red")
    if worker.member is None:
        return "not in the group", "yellow"
    if set(worker.partitions) - set(worker.leases):
        return "takes over", "yellow"
    return ("answers" if worker.answers else "waits for partitions", "green")


def _topics(topics: Iterable[Topic]) -> Table:
    made = _table(
        ("topic", False),
        ("ends", True),
        ("committed", True),
        ("lag", True),
        ("in/s", True),
        ("taken/s", True),
    )
    for topic in topics:
        made.add_row(
            Text(topic.topic),
            Text(f"{topic.ends:,}"),
            Text(_number(topic.committed)),
            Text(_number(topic.lag), style="yellow" if topic.lag else ""),
            Text(_number(topic.in_per_second)),
            Text(_number(topic.taken_per_second)),
        )
    return made


def _partitions(partitions: Iterable[Partition]) -> Table:
    made = _table(
        ("partition", True),
        ("owner", False),
        ("lease", True),
        ("since (UTC)", False),
        ("lag", True),
        ("entries", True),
        ("behind", True),
        ("", False),
    )
    for one in partitions:
        made.add_row(
            Text(str(one.partition)),
            Text(one.owner or UNKNOWN),
            Text(_number(one.lease)),
            Text(one.since[11:19] if one.since else UNKNOWN),
            Text(f"{one.lag:,}", style="yellow" if one.lag else ""),
            Text(f"{one.entries:,}"),
            Text(_number(one.rows_behind)),
            Text(STATES[one.state], style="green" if one.state == "owned" else "red"),
        )
    return made


def _warnings(report: Report) -> Iterator[RenderableType]:
    for warning in report.warnings[:WARNINGS_SHOWN]:
        yield Text(f"! {warning.message}", style="yellow", overflow="fold")
        yield Text(f"  {warning.action}", overflow="fold")
    left = len(report.warnings) - WARNINGS_SHOWN
    if left > 0:
        yield Text(f"  and {_count(left, 'further warning')}; --json has all", style="yellow")


def _table(*columns: tuple[str, bool]) -> Table:
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for title, right in columns:
        made.add_column(Text(title), justify="right" if right else "left", no_wrap=True)
    return made


def _line(what: str, text: str) -> Text:
    return Text.assemble((f"{what:<13}", "bold"), text)


def _cut(line: Text) -> Text:
    line.truncate(WIDTH, overflow="ellipsis")
    return line


def _ranges(numbers: Sequence[int]) -> str:
    """`0-2, 5` for 0, 1, 2, 5."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    texts = [f"{run[0]}-{run[-1]}" if run[1:] else str(run[0]) for run in runs]
    return ", ".join(texts) or UNKNOWN


def _number(number: float | None) -> str:
    return UNKNOWN if number is None else f"{number:,}"


def _age(seconds: float | None) -> str:
    return UNKNOWN if seconds is None else f"{seconds:,.1f} s"


def _count(number: int, one: str) -> str:
    return f"{number:,} {one if number == 1 else one + 's'}"
