"""Looks at an installation that never was: three workers, eight partitions, everything well."""

from dataclasses import replace
from typing import Any, Final

from schemas.envelope import SCHEMA_VERSION
from schemas.structs import Owner
from schemas.topics import DEAD_LETTERS, LEDGER, PREFLIGHTS, USAGE
from streams.status.making import SHOWN
from streams.status.report import Report
from streams.status.seen import (
    Broker,
    Decided,
    Group,
    InstallationSeen,
    LogSeen,
    Look,
    Member,
    Names,
    TableMark,
    TablesSeen,
    Tail,
)

PARTITIONS: Final = 8
NOW_US: Final = 1_790_000_000_000_000
SECOND_US: Final = 1_000_000
ADDRESSES: Final = ("10.0.0.1:7001", "10.0.0.2:7001", "10.0.0.3:7001")
ENTRIES: Final = 100
WORKERS: Final = ((0, 1, 2), (3, 4, 5), (6, 7))


def owner(partition: int, address: str, lease: int = 5, since_us: int = NOW_US) -> Owner:
    """Who took a partition."""
    return Owner(
        schema_version=SCHEMA_VERSION,
        partition=partition,
        generation=1,
        address=address,
        lease=lease,
        nonce="0123456789abcdef",
        since=since_us,
    )


def member(number: int, partitions: tuple[int, ...]) -> Member:
    """A worker in the group."""
    return Member(
        f"worker-{number}", f"10.0.0.{number + 1}", frozenset((USAGE.name, p) for p in partitions)
    )


def log(seconds: float = 0.0, **changed: Any) -> LogSeen:
    """The log so long after NOW_US: 10 usage records per second and partition, all taken."""
    now_us = NOW_US + int(seconds * SECOND_US)
    grown = int(10 * seconds)
    numbers = range(PARTITIONS)
    ends = {(name, number): 50 for name in SHOWN for number in numbers}
    ends |= {(USAGE.name, number): 100 + grown for number in numbers}
    taken = {place: end for place, end in ends.items() if place[0] != PREFLIGHTS.name}
    seen = LogSeen(
        at=1_000.0 + seconds,
        now_us=now_us,
        brokers=(Broker(1, "kafka-1:9092"), Broker(2, "kafka-2:9092"), Broker(3, "kafka-3:9092")),
        broker_version="4.3",
        partitions=dict.fromkeys(SHOWN, PARTITIONS),
        ends=ends,
        committed=taken,
        asks_committed=taken,
        workers=Group("Stable", tuple(member(n, some) for n, some in enumerate(WORKERS))),
        sinks=Group("Stable", (Member("sink-0", "10.0.0.9", frozenset()),)),
        gateways=Group("Stable", (Member("gateway-0", "10.0.0.8", frozenset()),)),
        owners={p: owner(p, ADDRESSES[n]) for n, some in enumerate(WORKERS) for p in some},
        tails={
            (topic, number): Tail(1, ENTRIES - 1 + (grown if topic == LEDGER.name else 0), now_us)
            for topic in (LEDGER.name, DEAD_LETTERS.name)
            for number in numbers
        },
        decided=Decided({"approved": 18, "budget_exhausted": 2}) if seconds else None,
        dead_last_minute=3,
    )
    return replace(seen, **changed)


def tables(entries: int = ENTRIES, **changed: Any) -> TablesSeen:
    """Tables with so many rows of each partition."""
    marks = {
        (table, 1, number): TableMark(count - 1, count, NOW_US)
        for table, count in (("ledger", entries), ("dead_letters", ENTRIES))
        for number in range(PARTITIONS)
    }
    return replace(TablesSeen("26.9.2.1", marks), **changed)


def look(seen: LogSeen | None = None, **changed: Any) -> Look:
    """Everything at one moment."""
    seen = seen or log()
    found = Look(
        names=Names("tollgate.", "tollgate", "kafka-1:9092", "http://clickhouse:8123", "tollgate"),
        now_us=seen.now_us,
        log=seen,
        log_fault=None,
        tables=tables(max(ENTRIES, seen.tails[LEDGER.name, 0].sequence + 1)),
        tables_fault=None,
        installation=InstallationSeen(1, PARTITIONS, 12, "genai-prices@0.2.3"),
        answers=dict.fromkeys(ADDRESSES, True),
        open_holds=7,
    )
    return replace(found, **changed)


def codes(report: Report) -> list[str]:
    """The codes of a report's warnings."""
    return [warning.code for warning in report.warnings]
