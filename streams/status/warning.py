"""What of an installation needs attention, in words, and what to do about it. Pure.

A warning stands for something that is wrong, or will be unless somebody acts; that a producer's
records are refused is none.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from schemas.topics import ASKS, LEDGER
from streams.status.report import Partition, Report, Warn
from streams.status.seen import Look

STANDS_SECONDS: Final = 5.0
"""How long a partition may hold waiting records without a new entry before it stands still: a cycle
is committed ten times a second, and a busy machine makes that once."""

SINK_BEHIND_SECONDS: Final = 30.0
"""How old the newest row may be beside the newest entry: a sink inserts five times a second."""

BACKLOG_SECONDS: Final = 60.0
"""Work that waits, at the pace of the moment, before the workers are too few."""


class Since:
    """Remembers since when something is so, in microseconds of the time of day: a warning that
    stays says how long it has."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._known: dict[str, int] = {}

    def keep(self, first: Mapping[str, int]) -> dict[str, int]:
        """What is so now, with the time that the evidence gives; gives the earliest time known for
        each. What is not so any more is forgotten."""
        self._known = {
            what: min(at_us, self._known.get(what, at_us)) for what, at_us in first.items()
        }
        return self._known


def warn(report: Report, before: Look | None, now: Look, since: Since) -> list[Warn]:
    """All warnings, the gravest first."""
    return [
        *_servers(report, now),
        *_topics(report, now),
        *_partitions(report, before, now, since),
        *_pace(report, now),
        *_tables(report, now),
    ]


def _warn(code: str, message: str, action: str, partitions: Iterable[int] = ()) -> Warn:
    return Warn(code=code, partitions=sorted(partitions), message=message, action=action)


def _servers(report: Report, now: Look) -> Iterator[Warn]:
    if now.log is None:
        yield _warn(
            "kafka_unreachable",
            f"Kafka cannot be asked: {now.log_fault}",
            "Start the broker, or correct TOLLGATE_KAFKA_BOOTSTRAP. Nothing is decided meanwhile; "
            "nothing that is in the log is lost.",
        )
        return
    if now.tables is None:
        yield _warn(
            "clickhouse_unreachable",
            f"ClickHouse cannot be asked: {now.tables_fault}",
            "Start it, or correct TOLLGATE_CLICKHOUSE_URL and its user. Decisions go on; sinks "
            "catch up from the log.",
        )
    for what, why in now.log.faults.items():
        yield _warn(
            "kafka_part_unknown",
            f"Kafka does not tell the {what}: {why}",
            "Ask again; if it stays, look at the broker's log and at this client's rights.",
        )
    for address, why in now.metrics_faults.items():
        yield _warn(
            "metrics_unreachable",
            f"no metrics from {address}: {why}",
            "Start that process, or leave its address out of --metrics.",
        )
    if report.kafka.partitions_without_leader:
        yield _warn(
            "no_leader",
            f"{_count(report.kafka.partitions_without_leader, 'partition')} of topics without a "
            "leader: nobody can write there",
            "Bring the brokers back that hold them.",
        )
    if report.kafka.partitions_missing_replicas:
        yield _warn(
            "missing_replicas",
            f"{_count(report.kafka.partitions_missing_replicas, 'partition')} of topics with fewer "
            "copies in step than they should have",
            "Look which broker is away or behind. A second loss may stop writing.",
        )


def _topics(report: Report, now: Look) -> Iterator[Warn]:
    if now.log is None:
        return
    if now.installation is None:
        yield _warn(
            "not_installed",
            now.installation_fault or "the catalog holds no generation of the topics",
            "Run `tollgate topics create`, or correct TOLLGATE_TOPIC_PREFIX.",
        )
    elif now.installation.differences:
        yield _warn(
            "topics_changed",
            f"the topics are not those of generation {now.installation.generation}: "
            + "; ".join(now.installation.differences[:3]),
            "Workers and sinks refuse to start. See `tollgate topics generation` and "
            "docs/decisions/013-generations.md.",
        )


def _partitions(report: Report, before: Look | None, now: Look, since: Since) -> Iterator[Warn]:
    if now.log is None or not report.partitions:
        return
    group = now.log.workers
    if group is None:
        return
    found: dict[str, list[Partition]] = {"none": [], "silent": [], "taking": [], "stands": []}
    for one in report.partitions:
        if one.state != "owned":
            found[one.state].append(one)
        elif _stands(one, before, now):
            found["stands"].append(one)
    first = {
        f"{state} {one.partition}": _evidence_us(one, now)
        for state, partitions in found.items()
        for one in partitions
    }
    known = since.keep(first)

    def seconds(state: str) -> float:
        starts = [known[f"{state} {one.partition}"] for one in found[state]]
        return max(0.0, (_now_us(now) - min(starts)) / 1_000_000)

    if not group.members:
        yield _warn(
            "no_worker",
            f"no worker runs: no partition has an owner since {seconds('none'):.0f} s",
            "Start `tollgate worker`. Events wait in the log; preflights are answered 503.",
            (one.partition for one in found["none"]),
        )
        return
    texts = {
        "none": ("no_owner", "no owner", "The group gives them away within its session timeout."),
        "silent": (
            "owner_silent",
            "an owner that does not answer",
            (
                "If that worker was killed, another takes over after the session timeout; if it "
                "runs, see whether its address (TOLLGATE_HOP_LISTEN) can be reached from here."
            ),
        ),
        "taking": (
            "being_taken",
            "a new owner that has no lease yet",
            "This takes a second. If it stays, read the log of that worker.",
        ),
        "stands": (
            "stands_still",
            "records that wait and no new entry",
            (
                "Read the log of its owner; a transaction that somebody left open holds readers up "
                "for 15 s at the most."
            ),
        ),
    }
    for state, (code, what, action) in texts.items():
        if found[state]:
            numbers = [one.partition for one in found[state]]
            yield _warn(
                code,
                f"{_named(numbers)} {what} since {seconds(state):.0f} s"
                + _waiting(one.lag for one in found[state]),
                action,
                numbers,
            )


def _stands(one: Partition, before: Look | None, now: Look) -> bool:
    """Whether records wait and nothing has come of any since the look before, for a while."""
    if not one.lag or before is None or before.log is None or now.log is None:
        return False
    place = (LEDGER.name, one.partition)
    if before.log.tails.get(place) != now.log.tails.get(place):
        return False
    return _now_us(now) - _evidence_us(one, now) > STANDS_SECONDS * 1_000_000


def _evidence_us(one: Partition, now: Look) -> int:
    """Since when nobody has served a partition, as far as the log tells: since its last entry,
    where records wait for the next; else nothing speaks for an earlier time than now."""
    tail = now.log.tails.get((LEDGER.name, one.partition)) if now.log else None
    if tail is not None and one.lag:
        return min(tail.decided_at_us, _now_us(now))
    return _now_us(now)


def _pace(report: Report, now: Look) -> Iterator[Warn]:
    topics = {topic.topic: topic for topic in report.topics}
    for topic in report.topics:
        taken = topic.taken_per_second
        if topic.lag and taken and topic.lag > taken * BACKLOG_SECONDS:
            yield _warn(
                "backlog",
                f"{topic.topic}: {topic.lag:,} records wait, {topic.lag / taken:.0f} s of work at "
                f"{taken:,.0f}/s",
                "Start another worker, as long as there are partitions for it (docs/scale.md).",
            )
    asks = topics.get(ASKS.name)
    if asks and asks.lag and report.gateways == 0:
        yield _warn(
            "no_gateway",
            f"{_count(asks.lag, 'ask')} in the log and no gateway that answers them",
            "Start `tollgate gateway`.",
        )


def _tables(report: Report, now: Look) -> Iterator[Warn]:
    if now.tables is None or now.log is None or now.installation is None:
        return
    generation = now.installation.generation
    for (table, where, number), mark in sorted(now.tables.marks.items()):
        if mark.rows != mark.mark + 1:
            yield _warn(
                "rows_wrong",
                f"{table} holds {mark.rows:,} rows of generation {where}, partition {number}, up "
                f"to sequence {mark.mark:,}: rows are missing or doubled",
                "Stop the sinks, restore or rebuild the table (docs/recovery.md), and run "
                "`tollgate audit`.",
                (number,),
            )
    if now.tables.read_only:
        yield _warn(
            "table_read_only",
            f"replicas of {', '.join(now.tables.read_only)} take no inserts",
            "They have lost their Keeper: look at it first. Sinks try again by themselves.",
        )
    behind = report.sink.rows_behind or 0
    if behind and report.sink.sinks == 0:
        yield _warn(
            "no_sink",
            f"no sink runs, and {_count(behind, 'entry', 'entries')} are not in ClickHouse",
            "Start `tollgate sink`.",
        )
    elif behind and _late_us(now, generation) > SINK_BEHIND_SECONDS * 1_000_000:
        yield _warn(
            "sink_behind",
            f"ClickHouse is {_count(behind, 'entry', 'entries')} and "
            f"{_late_us(now, generation) / 1_000_000:.0f} s behind the log",
            "Read the log of the sinks; start another one, as long as there are partitions.",
        )


def _late_us(now: Look, generation: int) -> int:
    """The time between the newest entry of the log and the newest row, at the worst partition."""
    assert now.log is not None
    assert now.tables is not None
    late = 0
    for (name, number), tail in now.log.tails.items():
        mark = now.tables.marks.get(("ledger", generation, number))
        if name == LEDGER.name and mark is not None and mark.mark < tail.sequence:
            late = max(late, tail.decided_at_us - mark.newest_us)
    return late


def _now_us(now: Look) -> int:
    assert now.log is not None
    return now.log.now_us


def _named(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return f"partition {numbers[0]} has"
    return f"partitions {', '.join(map(str, numbers))} have"


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _waiting(lags: Iterable[int]) -> str:
    waiting = sum(lags)
    return f"; {_count(waiting, 'record')} wait there" if waiting else ""
