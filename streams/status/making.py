"""From two looks at an installation to its report: sums, rates, who holds what. Pure.

The second look says how things are; the first gives the rates. What of it needs attention is said
in `warning`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from schemas.structs import Owner
from schemas.topics import (
    ASKS,
    ATTRIBUTIONS,
    BUDGETS,
    DEAD_LETTERS,
    LEDGER,
    PREFLIGHTS,
    SIGNALS,
    TRANSFERS,
    UNASSIGNED,
    USAGE,
)
from streams.status.report import (
    Broker,
    ClickHouse,
    DeadLetters,
    Decisions,
    Hold,
    Installation,
    Kafka,
    Partition,
    Report,
    Sink,
    Topic,
    TopicPartition,
    Worker,
)
from streams.status.seen import LogSeen, Look, Member, TablesSeen
from streams.status.warning import Since, warn

READ: Final = (USAGE.name, SIGNALS.name, BUDGETS.name, TRANSFERS.name, UNASSIGNED.name)
"""What workers commit offsets of. Of `preflights` an owner reads what others wrote once, when it
takes a partition."""

SHOWN: Final = (
    *READ,
    PREFLIGHTS.name,
    ASKS.name,
    LEDGER.name,
    ATTRIBUTIONS.name,
    DEAD_LETTERS.name,
)
TABLES: Final = {
    LEDGER.name: "ledger",
    ATTRIBUTIONS.name: "attributions",
    DEAD_LETTERS.name: "dead_letters",
}
"""Outbound topics and the tables that they fill."""

APPROVED: Final = "approved"
SECOND_US: Final = 1_000_000


def make_report(before: Look | None, now: Look, since: Since) -> Report:
    """The report of `now`. `since` remembers, from report to report, since when something is so."""
    log = now.log
    seconds = _seconds(before, now)
    earlier = before.log if before is not None else None
    generation = now.installation.generation if now.installation else None
    workers = _workers(log, now.answers)
    partitions = _partitions(now, workers, generation)
    report = Report(
        version=1,
        asked_at=iso(now.now_us),
        verdict="well",
        sampled_seconds=round(seconds, 3),
        installation=_installation(now),
        kafka=_kafka(now),
        clickhouse=_clickhouse(now),
        workers=workers,
        gateways=len(log.gateways.members) if log and log.gateways else None,
        topics=[_topic(name, log, earlier, seconds) for name in SHOWN] if log else [],
        partitions=partitions,
        decisions=_decisions(log, earlier, seconds),
        open_holds=now.open_holds,
        dead_letters=_dead_letters(log, generation),
        sink=_sink(log, now.tables, generation),
        warnings=[],
    )
    warnings = warn(report, before, now, since)
    worst = "unreachable" if log is None else "attention" if warnings else "well"
    return report.model_copy(update={"warnings": warnings, "verdict": worst})


def iso(us: int) -> str:
    """Microseconds since the epoch as UTC in ISO 8601, to the millisecond."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _seconds(before: Look | None, now: Look) -> float:
    if before is None or before.log is None or now.log is None:
        return 0.0
    return max(0.0, now.log.at - before.log.at)


def _rate(count: int, seconds: float) -> float | None:
    return round(max(0, count) / seconds, 1) if seconds else None


def _installation(now: Look) -> Installation:
    found, names = now.installation, now.names
    return Installation(
        topic_prefix=names.topic_prefix,
        app_id=names.app_id,
        generation=found.generation if found else None,
        partitions=found.partitions if found else None,
        catalog_offset=found.catalog_offset if found else None,
        price_version=(found.price_version or None) if found else None,
    )


def _kafka(now: Look) -> Kafka:
    log = now.log
    return Kafka(
        reachable=log is not None,
        fault=now.log_fault,
        bootstrap=now.names.bootstrap,
        version=log.broker_version if log else None,
        brokers=[Broker(id=one.id, address=one.address) for one in log.brokers] if log else [],
        partitions_missing_replicas=log.missing_replicas if log else 0,
        partitions_without_leader=log.leaderless if log else 0,
    )


def _clickhouse(now: Look) -> ClickHouse:
    return ClickHouse(
        reachable=now.tables is not None,
        fault=now.tables_fault,
        url=now.names.clickhouse_url,
        database=now.names.clickhouse_database,
        version=now.tables.version if now.tables else None,
    )


# --- workers and partitions ----------------------------------------------------------------------


def _workers(log: LogSeen | None, answers: Mapping[str, bool]) -> list[Worker]:
    """Members of the workers' group with the addresses under which they answer, then addresses that
    hold leases and belong to no member: workers that are gone, or that nobody counts any more."""
    if log is None:
        return []
    members = log.workers.members if log.workers else ()
    named = _addresses(members, log.owners, answers)
    workers = [
        _worker(named.get(member.id), member, log.owners, answers)
        for member in sorted(members, key=lambda one: (numbers(one), one.id))
    ]
    left = {owner.address for owner in log.owners.values()} - set(named.values())
    return workers + [_worker(address, None, log.owners, answers) for address in sorted(left)]


def _addresses(
    members: Iterable[Member], owners: Mapping[int, Owner], answers: Mapping[str, bool]
) -> dict[str, str]:
    """Members' addresses by their id. The log names both, but not together: an address belongs to
    the member that was given most of the partitions whose leases it has; one that answers goes
    before one that does not, as the dead one's partitions are somebody else's by now."""
    shares: Counter[tuple[bool, str, str]] = Counter()
    for member in members:
        for number in numbers(member):
            if (owner := owners.get(number)) is not None:
                answering = answers.get(owner.address, True)
                shares[answering, owner.address, member.id] += 1
    named: dict[str, str] = {}
    for _, address, member_id in sorted(
        shares, key=lambda one: (not one[0], -shares[one], one[1], one[2])
    ):
        if member_id not in named and address not in named.values():
            named[member_id] = address
    return named


def numbers(member: Member) -> list[int]:
    """The installation's partitions that a worker was given."""
    return sorted({number for name, number in member.places if name == USAGE.name})


def _worker(
    address: str | None,
    member: Member | None,
    owners: Mapping[int, Owner],
    answers: Mapping[str, bool],
) -> Worker:
    given = numbers(member) if member else []
    leases = {n: owner for n, owner in owners.items() if address and owner.address == address}
    held = {n: owner for n, owner in leases.items() if member is None or n in given}
    return Worker(
        member=member.id if member else None,
        host=member.host if member else None,
        address=address,
        answers=answers.get(address) if address else None,
        partitions=given,
        leases=sorted(leases),
        since=iso(min(owner.since for owner in held.values())) if held else None,
        generation=max((owner.generation for owner in leases.values()), default=None),
    )


def _partitions(now: Look, workers: Iterable[Worker], generation: int | None) -> list[Partition]:
    log = now.log
    if log is None:
        return []
    count = now.installation.partitions if now.installation else log.partitions.get(USAGE.name, 0)
    given = {number: worker for worker in workers for number in worker.partitions}
    found = []
    for number in range(count):
        owner = log.owners.get(number)
        tail = log.tails.get((LEDGER.name, number))
        entries = tail.sequence + 1 if tail and tail.generation == generation else 0
        rows = _rows(now.tables, "ledger", generation, number)
        found.append(
            Partition(
                partition=number,
                state=_state(given.get(number), owner),
                owner=owner.address if owner else None,
                lease=owner.lease if owner else None,
                lease_generation=owner.generation if owner else None,
                since=iso(owner.since) if owner else None,
                lag=sum(_lag(log, name, number) for name in READ),
                entries=entries,
                last_entry_at=iso(tail.decided_at_us) if tail else None,
                rows=rows,
                rows_behind=None if rows is None else max(0, entries - rows),
            )
        )
    return found


def _state(worker: Worker | None, owner: Owner | None) -> Hold:
    if worker is None:
        return "none"
    if owner is None or owner.address != worker.address:
        return "taking"
    return "silent" if worker.answers is False else "owned"


def _lag(log: LogSeen, name: str, number: int) -> int:
    committed = log.asks_committed if name == ASKS.name else log.committed
    return max(0, log.ends.get((name, number), 0) - committed.get((name, number), 0))


def _rows(tables: TablesSeen | None, table: str, generation: int | None, number: int) -> int | None:
    if tables is None or generation is None:
        return None
    mark = tables.marks.get((table, generation, number))
    return mark.mark + 1 if mark else 0


# --- figures -------------------------------------------------------------------------------------


def _topic(name: str, log: LogSeen, earlier: LogSeen | None, seconds: float) -> Topic:
    committed = log.asks_committed if name == ASKS.name else log.committed
    before = {} if earlier is None else earlier.ends
    taken = {} if earlier is None else _taken_by(earlier, name)
    is_read = name in READ or name == ASKS.name
    places = sorted(place for place in log.ends if place[0] == name)
    rows = [
        TopicPartition(
            partition=place[1],
            end=log.ends[place],
            committed=committed.get(place, 0) if is_read else None,
            lag=_lag(log, *place) if is_read else None,
        )
        for place in places
    ]
    grown = sum(log.ends[place] - before.get(place, log.ends[place]) for place in places)
    done = sum(committed.get(place, 0) - taken.get(place, 0) for place in places)
    ends = sum(row.end for row in rows)
    return Topic(
        topic=name,
        ends=ends,
        committed=sum(row.committed or 0 for row in rows) if is_read else None,
        lag=sum(row.lag or 0 for row in rows) if is_read else None,
        in_per_second=_rate(grown, seconds),
        taken_per_second=_rate(done, seconds) if is_read else None,
        partitions=rows,
    )


def _taken_by(log: LogSeen, name: str) -> Mapping[tuple[str, int], int]:
    return log.asks_committed if name == ASKS.name else log.committed


def _decisions(log: LogSeen | None, earlier: LogSeen | None, seconds: float) -> Decisions:
    decided = log.decided if log and earlier else None
    outcomes = Counter(decided.outcomes) if decided else Counter[str]()
    refused = {
        reason: _rate(count, seconds) or 0.0
        for reason, count in sorted(outcomes.items())
        if reason != APPROVED
    }
    known = decided is not None
    return Decisions(
        per_second=_rate(outcomes.total(), seconds) if known else None,
        approved_per_second=_rate(outcomes[APPROVED], seconds) if known else None,
        refused_per_second=refused if seconds else {},
        complete=decided.complete if decided else True,
    )


def _dead_letters(log: LogSeen | None, generation: int | None) -> DeadLetters:
    tails = log.tails if log else {}
    total = sum(
        tail.sequence + 1
        for (name, _), tail in tails.items()
        if name == DEAD_LETTERS.name and tail.generation == generation
    )
    return DeadLetters(total=total, last_minute=log.dead_last_minute if log else None)


def _sink(log: LogSeen | None, tables: TablesSeen | None, generation: int | None) -> Sink:
    newest = max((mark.newest_us for mark in tables.marks.values()), default=0) if tables else 0
    behind: int | None = None
    if log is not None and tables is not None:
        behind = 0
        for (name, number), tail in log.tails.items():
            if tail.generation == generation:
                rows = _rows(tables, TABLES[name], generation, number) or 0
                behind += max(0, tail.sequence + 1 - rows)
    now_us = log.now_us if log else 0
    age = (now_us - newest) / SECOND_US if log and newest else None
    return Sink(
        sinks=len(log.sinks.members) if log and log.sinks else None,
        rows_behind=behind,
        newest_row_at=iso(newest) if newest else None,
        newest_row_age_seconds=None if age is None else round(max(0.0, age), 1),
    )
