"""An installation as its log says it is, for another that takes its place: rows of its accounts,
its catalog, what its ledger says of invoices, and what is not at rest yet.

Reads alone. The ledger is read once, so this takes what an audit of it would take without deciding
anything; nothing is held of usage but how much of each customer's is not invoiced.
"""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from schemas import codec
from schemas.structs import CatalogRecord, Lease, Tick
from schemas.topics import ACCOUNTS_CHANGELOG, CATALOG, INBOUND, PREFLIGHTS
from streams.adapters.books import (
    ChangelogImage,
    KafkaBook,
    LogEnds,
    open_books,
    read_bounds,
    read_ends,
)
from streams.app.addresses import kafka_bootstrap
from streams.app.generations import check_topics, recorded_generation
from streams.app.invoices.books import BILLED, Log, heads, open_log
from streams.domain.appends import decode_account, decode_billing, decode_progress, decode_task
from streams.domain.billing import Billing as BillingRow
from streams.domain.billing import is_billing_row
from streams.domain.budget import Account
from streams.domain.decoding import RESERVED
from streams.domain.rate_cards import RateShelf
from streams.domain.state import Progress
from streams.domain.tasks import Task, is_task_row
from streams.invoicing.billing import KINDS, Billing, place_of
from streams.ports import PROGRESS_KEY
from streams.settings import Settings

Show = Callable[[int, int], None]
"""Told how many partitions are read, and how many there are."""


@dataclass(slots=True)
class Unbilled:
    """What a customer used that no closed period holds: how many entries, and from when to when."""

    entries: int = 0
    first_us: int = 2**62
    last_us: int = 0

    def add(self, occurred_us: int) -> None:
        """Counts an entry."""
        self.entries += 1
        self.first_us = min(self.first_us, occurred_us)
        self.last_us = max(self.last_us, occurred_us)


@dataclass(slots=True)
class Rows:
    """The tables of all partitions: what a recovery of its workers would rebuild."""

    progress: dict[int, Progress] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    billing: dict[str, BillingRow] = field(default_factory=dict)

    def add(self, partition: int, image: Mapping[bytes, bytes]) -> None:
        """Takes the rows of one partition."""
        for key, row in image.items():
            if key == PROGRESS_KEY:
                self.progress[partition] = decode_progress(row)
            elif is_task_row(key):
                task = decode_task(row)
                self.tasks[task.task_ref] = task
            elif is_billing_row(key):
                billing = decode_billing(row)
                self.billing[billing.customer_id] = billing
            elif key[:1] != RESERVED:
                account = decode_account(row)
                self.accounts[account.customer_id] = account

    @property
    def domain_time_us(self) -> int:
        """The latest of all partitions."""
        return max((one.domain_time_us for one in self.progress.values()), default=0)


@dataclass(slots=True)
class Left:
    """An installation that is left behind. `lag` counts records that are not decided, by topic and
    partition; what ledger and catalog say is empty where they were not asked for."""

    settings: Settings
    partitions: int
    rows: Rows = field(default_factory=Rows)
    lag: dict[tuple[str, int], int] = field(default_factory=dict)
    catalog: list[CatalogRecord] = field(default_factory=list)
    shelf: RateShelf = field(default_factory=RateShelf)
    billings: dict[str, Billing] = field(default_factory=dict)
    unbilled: dict[str, Unbilled] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        """What its figures are said to come from."""
        return self.settings.topic_prefix


def read_left(settings: Settings, show: Show) -> Left:
    """All of an installation. Raises SetupError where its topics are not the recorded ones, and
    TransientError."""
    bootstrap, prefix = kafka_bootstrap(settings), settings.topic_prefix
    generation = asyncio.run(recorded_generation(settings))
    asyncio.run(check_topics(settings, generation))
    left = Left(settings, generation.partitions)
    ends = read_ends(bootstrap, prefix, left.partitions)
    _read_catalog(left, ends)
    log = open_log(settings, left.partitions)
    for partition in range(left.partitions):
        with open_books(bootstrap, prefix, partition, ends.bounds) as books:
            left.rows.add(partition, ChangelogImage(books[ACCOUNTS_CHANGELOG.name]).accounts())
            progress = left.rows.progress.get(partition, Progress())
            for topic in INBOUND:
                behind = _behind(books[topic.name], progress.consumed.get(topic.name, 0))
                if behind:
                    left.lag[topic.name, partition] = behind
        _read_ledger(left, log, partition)
        show(partition + 1, left.partitions)
    return left


def read_rows(settings: Settings, partitions: int) -> Rows:
    """The tables of an installation alone."""
    bootstrap, prefix = kafka_bootstrap(settings), settings.topic_prefix
    bounds, rows = read_ends(bootstrap, prefix, partitions).bounds, Rows()
    for partition in range(partitions):
        with open_books(bootstrap, prefix, partition, bounds) as books:
            rows.add(partition, ChangelogImage(books[ACCOUNTS_CHANGELOG.name]).accounts())
    return rows


def read_values(settings: Settings, partitions: int, topic: str) -> Iterator[bytes]:
    """All values of one of an installation's topics, partition by partition."""
    bootstrap, prefix = kafka_bootstrap(settings), settings.topic_prefix
    bounds = read_bounds(bootstrap, prefix, partitions)
    for partition in range(partitions):
        with open_books(bootstrap, prefix, partition, bounds) as books:
            for batch in books[topic].batches(0):
                yield from (record.value for record in batch if record.value is not None)


def _read_catalog(left: Left, ends: LogEnds) -> None:
    for offset, value in ends.catalog:
        record = codec.decode_catalog(value)
        left.catalog.append(record)
        left.shelf.fold(offset, record)
    left.shelf.passed(ends.bounds[CATALOG.name, 0][1])


def _behind(book: KafkaBook, consumed: int) -> int:
    """Records that no cycle has taken. What an owner says of itself decides nothing."""
    count = 0
    for batch in book.batches(consumed):
        for record in batch:
            if book.topic == PREFLIGHTS.name and record.value is not None:
                said = codec.decode_preflights(record.value)
                count += not isinstance(said, Lease | Tick)
            else:
                count += 1
    return count


_TOLD: Final = heads(KINDS)
_ALL: Final = heads((*KINDS, *BILLED))


def _read_ledger(left: Left, log: Log, partition: int) -> None:
    """What a partition's ledger says of invoices. Without a rate card there are none."""
    begins = _ALL if left.shelf.card_records else _TOLD
    for value in log.entries(partition, begins, None, lambda _offset: None):
        entry: dict[str, Any] = json.loads(value)
        kind, customer = str(entry["kind"]), str(entry["customer_id"])
        if kind in KINDS:
            # Every field stands there: the log leaves out what is as ever.
            whole = KINDS[kind].model_validate_json(value).model_dump()
            left.billings.setdefault(customer, Billing(customer)).add(whole)
            continue
        row = left.rows.billing.get(customer)
        cut = (0, 0) if row is None else (row.cut_generation, row.cut_sequence)
        if place_of(entry) > cut:
            left.unbilled.setdefault(customer, Unbilled()).add(int(entry["occurred_at"]))
