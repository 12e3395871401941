"""The audit of an installation: what it needs to know first, then one partition after the other, in
as many processes as there are cores."""

import asyncio
import gc
import multiprocessing
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from schemas import codec
from schemas.partitioner import partition_of
from schemas.structs import CycleEntry
from schemas.topics import (
    ACCOUNTS_CHANGELOG,
    ATTRIBUTIONS,
    CATALOG,
    DEAD_LETTERS,
    INBOUND,
    LEDGER,
    TRANSFERS,
)
from streams.adapters.archive import read_manifest
from streams.adapters.archive_books import ArchiveLibrary
from streams.adapters.audited_rows import ClickHouseAuditedRows
from streams.adapters.books import (
    ChangelogImage,
    KafkaLibrary,
    Library,
    LogEnds,
    StoreImage,
)
from streams.adapters.topic_ids import topic_identities
from streams.app.addresses import kafka_bootstrap
from streams.app.audited_transfers import Exchange, compare_exchanges
from streams.app.generations import recorded_generation
from streams.app.invoices.verifying import Choice, Verification, verify_invoices
from streams.app.warehouse import clickhouse
from streams.audit.books import CatalogHistory
from streams.audit.replay import EachCycle, PartitionBooks, Scope, audit_partition
from streams.audit.report import PartitionReport
from streams.audit.row_check import TABLES, RowCheck
from streams.audit.transfers import Received, Sent
from streams.domain.facts import SourceRecord
from streams.domain.generations import generations_of
from streams.errors import FaultError, SetupError
from streams.ports import TableImage
from streams.settings import Settings

PROGRESS_SECONDS: Final = 0.2
"""Between two looks at how far the processes are."""

ROWS_POLL_SECONDS: Final = 0.2
"""Between two looks at how far the sink is."""

GC_THRESHOLD: Final = 200_000
"""Records make no cycles of references; looking for them often costs a tenth of the time."""

Marks = dict[tuple[str, int, int], int]


@dataclass(frozen=True, slots=True)
class AuditOptions:
    """What is audited. `wait_seconds` is the patience with a sink that is behind."""

    scope: Scope = field(default_factory=Scope)
    state_dirs: tuple[Path, ...] = ()
    clickhouse: bool = True
    wait_seconds: float = 10.0
    jobs: int = 1
    archive: Path | None = None
    """Where the log is read, if not on the broker: an archive of it."""


@dataclass(frozen=True, slots=True)
class AuditResult:
    """All partitions' reports in their order, and how long it took. `invoices` are made again
    where nothing bounds the audit in time."""

    partitions: list[PartitionReport]
    seconds: float
    invoices: Verification | None = None


@dataclass(frozen=True, slots=True)
class _Job:
    """What all partitions have in common; crosses over to the processes."""

    settings: Settings
    library: Library
    options: AuditOptions
    ends: LogEnds
    marks: Marks
    gone: frozenset[tuple[int, str]]
    """Inbound topics of a generation that are no longer there, by generation and logical name."""

    @property
    def partitions(self) -> int:
        """How many there are."""
        return self.library.partitions

    def lives(self, generation: int, topic: str) -> bool:
        """Whether what a generation calls by a topic's name is the topic that there is now."""
        return (generation, topic) not in self.gone


_Audited = tuple[PartitionReport, Exchange | None]
"""What comes back of a partition; no transfers where one customer is audited alone."""


Show = Callable[[int, int], None]
"""Told how far the audit is: ledger offsets, done and in all."""


def run_audit(settings: Settings, options: AuditOptions, show: Show) -> AuditResult:
    """Audits an installation, running or not. Writes nothing anywhere.

    Raises SetupError and TransientError where something cannot be read; differences are in the
    result.
    """
    began = time.monotonic()
    job = _prepare(settings, options)
    if options.scope.customer is None:
        chosen = list(range(job.partitions))
    else:
        chosen = [partition_of(options.scope.customer.encode(), job.partitions)]
    if options.jobs == 1 or len(chosen) == 1:
        audited = _in_this_process(job, chosen, show)
    else:
        audited = _in_processes(job, chosen, show)
    reports = [report for report, _ in audited]
    exchanges = [exchange for _, exchange in audited if exchange is not None]
    compare_exchanges(
        job.library,
        {report.partition: report for report in reports},
        exchanges,
        options.scope.until_us,
        job.lives,
    )
    invoices, scope = None, options.scope
    if scope.since_us is None and scope.until_us is None:
        choice = Choice(
            (),
            scope.customer,
            options.clickhouse,
            options.wait_seconds,
            None if options.archive is None else job.library,
        )
        invoices = verify_invoices(settings, choice, lambda _done, _total: None)
    return AuditResult(reports, time.monotonic() - began, invoices)


def _prepare(settings: Settings, options: AuditOptions) -> _Job:
    """Everything that is asked for once, in the order that makes it consistent: rows before the
    tables' ends, those before the ledger's end, that before all that the ledger names."""
    library, ids = _library(settings, options)
    marks: Marks = {}
    if options.clickhouse:
        with closing(clickhouse(settings, analyst=True)) as warehouse:
            marks = dict(ClickHouseAuditedRows(warehouse).marks())
    _check_stores(options.state_dirs)
    ends = library.ends()
    generations = generations_of(codec.decode_catalog(value) for _, value in ends.catalog)
    gone = frozenset(
        (number, topic.name)
        for number, generation in generations.items()
        for topic in INBOUND
        if generation.topic_ids.get(topic.name) not in (None, ids.get(topic.name))
    )
    return _Job(settings, library, options, ends, marks, gone)


def _library(settings: Settings, options: AuditOptions) -> tuple[Library, dict[str, str]]:
    """Where the log is read, and the ids of its topics by logical name."""
    library: Library
    if options.archive is not None:
        manifest = read_manifest(options.archive)
        library, ids = ArchiveLibrary(options.archive, manifest), manifest.topic_ids
    else:
        bootstrap, prefix = kafka_bootstrap(settings), settings.topic_prefix
        found = asyncio.run(topic_identities(bootstrap, prefix))
        ids = {name: identity.topic_id for name, identity in found.items()}
        partitions = asyncio.run(recorded_generation(settings)).partitions
        library = KafkaLibrary(bootstrap, prefix, partitions)
    if library.partitions != settings.partitions:
        raise SetupError(
            f"the catalog says {library.partitions} partitions, the settings {settings.partitions}",
            action="Set TOLLGATE_PARTITIONS to what the catalog says.",
        )
    return library, ids


def _check_stores(directories: Sequence[Path]) -> None:
    for directory in directories:
        if not (directory / "v1" / "tables").is_dir():
            raise SetupError(
                f"{directory} is no state directory of a worker",
                action="Name the directory that the worker's TOLLGATE_STATE_DIR names, "
                "usually `state` in its home.",
            )


def _in_this_process(job: _Job, partitions: Sequence[int], show: Show) -> list[_Audited]:
    total, done = _size(job, partitions), 0
    reports = []
    for partition in partitions:
        start, end = job.ends.bounds[LEDGER.name, partition]

        def shown(offset: int, before: int = done, start: int = start) -> None:
            show(before + offset - start, total)

        reports.append(_audit(job, partition, shown))
        done += end - start
        show(done, total)
    return reports


def _size(job: _Job, partitions: Sequence[int]) -> int:
    return sum(
        job.ends.bounds[LEDGER.name, p][1] - job.ends.bounds[LEDGER.name, p][0] for p in partitions
    )


_offsets: Any = None
"""In a process of the pool: how far each partition is, in memory that all of them share."""


def _begin(offsets: Any) -> None:
    global _offsets
    _offsets = offsets


def _in_processes(job: _Job, partitions: Sequence[int], show: Show) -> list[_Audited]:
    # The largest first: with one partition per process the longest decides how long it takes.
    order = sorted(partitions, key=lambda p: -(_size(job, [p])))
    spawning = multiprocessing.get_context("spawn")
    offsets = spawning.Array("q", [job.ends.bounds[LEDGER.name, p][0] for p in partitions])
    begins, total = sum(offsets[:]), _size(job, partitions)
    with ProcessPoolExecutor(
        min(job.options.jobs, len(order)), spawning, initializer=_begin, initargs=(offsets,)
    ) as pool:
        futures = {partition: pool.submit(_audit_in_process, job, partition) for partition in order}
        try:
            waiting: set[Future[_Audited]] = set(futures.values())
            while waiting:
                done, waiting = wait(waiting, PROGRESS_SECONDS, FIRST_COMPLETED)
                for future in done:
                    _result(future)
                show(sum(offsets[:]) - begins, total)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    show(total, total)
    return [futures[partition].result() for partition in partitions]


def _result(future: Future[_Audited]) -> _Audited:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise FaultError(
            "a process of the audit ended before it was done",
            action="Often the memory ran out: give it fewer processes with --jobs.",
        ) from error


def _audit_in_process(job: _Job, partition: int) -> _Audited:
    def shown(offset: int) -> None:
        _offsets[partition] = offset

    return _audit(job, partition, shown)


def _audit(job: _Job, partition: int, shown: Callable[[int], None]) -> _Audited:
    began = time.monotonic()
    gc.set_threshold(GC_THRESHOLD)
    with ExitStack() as opened:
        # A store is opened before the ends are asked for that it must not be ahead of.
        stores = [StoreImage(path, partition) for path in job.options.state_dirs]
        for store in stores:
            opened.callback(store.close)
        ends = job.library.ends() if stores else job.ends
        books = opened.enter_context(job.library.open(partition, ends.bounds))
        images: list[TableImage] = [*stores, ChangelogImage(books[ACCOUNTS_CHANGELOG.name])]
        check, rows = None, None
        if job.options.clickhouse:
            warehouse = opened.enter_context(closing(clickhouse(job.settings, analyst=True)))
            rows = ClickHouseAuditedRows(warehouse, job.options.scope.customer)
            check = RowCheck(rows, partition, job.options.scope.customer)
        history = _history(ends)
        lives = PartitionBooks(partition, books, job.lives)
        each_cycle, scope = _tell(check, job.options.scope, shown), job.options.scope
        sent = None if scope.customer is not None else Sent(job.partitions)
        report = audit_partition(lives, history.context, images, scope, each_cycle, sent)
        exchange = None
        if sent is not None:
            received = Received(job.partitions, scope.until_us)
            received.read(report, books[TRANSFERS.name])
            exchange = Exchange(partition, job.partitions, sent, received)
        if check is not None and rows is not None:
            _await_rows(rows, check.lasts(), partition, job.options.wait_seconds)
            # Rows may well be younger than an archive.
            whole = scope == Scope() and job.options.archive is None
            check.finish(report, books.__getitem__, job.marks if whole else {})
    report.seconds = time.monotonic() - began
    return report, exchange


def _history(ends: LogEnds) -> CatalogHistory:
    records = [(offset, codec.decode_catalog(value)) for offset, value in ends.catalog]
    return CatalogHistory(records, ends.bounds[CATALOG.name, 0][1])


def _tell(check: RowCheck | None, scope: Scope, shown: Callable[[int], None]) -> EachCycle:
    """What is done with each cycle: its rows are summed, the progress is shown."""

    def each_cycle(
        _own: CycleEntry,
        entries: Sequence[SourceRecord],
        attributions: Sequence[SourceRecord],
        letters: Sequence[SourceRecord],
    ) -> None:
        if check is not None:
            check.add(LEDGER.name, entries)
            check.add(ATTRIBUTIONS.name, attributions)
            if scope.customer is None:
                check.add(DEAD_LETTERS.name, letters)
        shown(entries[-1].offset)

    return each_cycle


def _await_rows(
    rows: ClickHouseAuditedRows,
    lasts: Mapping[tuple[str, int], int],
    partition: int,
    seconds: float,
) -> None:
    """Returns when the tables hold the last rows that are due, or the time is up."""
    deadline = time.monotonic() + seconds
    while True:
        marks = rows.marks()
        behind = [
            at
            for at, last in lasts.items()
            if marks.get((TABLES[at[0]], at[1], partition), -1) < last
        ]
        if not behind or time.monotonic() > deadline:
            return
        threading.Event().wait(ROWS_POLL_SECONDS)
