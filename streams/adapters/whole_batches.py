"""Record batches out of aiokafka's fetcher as they were appended: without an object, a call or an
await per record.

The fetcher unpacks a batch record by record, which costs more than reading the events' JSON. Here
a fetched batch is shown to it as one that holds a single record, whose value is the list of all its
records; they are unpacked in C. What decides which batches are delivered stays aiokafka's own code:
checksums, aborted transactions, markers and the position after them (`PartitionRecords`).

What is delivered says from where on it is whole (`Run`). Offsets alone do not tell: markers,
aborted and compacted records leave gaps in them that are none in the log, and a run that was
dropped on the way, because of a rebalance or a seek, looks just the same.

Uses names of aiokafka 0.14.0 that are not public (tests/guard/test_private_names.py).
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, cast

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import Fetcher, FetchResult

LogRecord = Any
"""A record as aiokafka unpacks it: `offset`, `timestamp` in milliseconds, `key`, `value`."""


@dataclass(frozen=True, slots=True)
class Run:
    """Records of one partition in their order, never none: all that the log shows from
    `from_offset` up to the last of them."""

    from_offset: int
    records: list[LogRecord]

    def __len__(self) -> int:
        return len(self.records)

    def beginning_at(self, offset: int) -> list[LogRecord]:
        """The records of this offset and later."""
        if self.records[0].offset >= offset:
            return self.records
        return [record for record in self.records if record.offset >= offset]


class _Batch:
    """The one record of a batch that is delivered whole: its last offset, and its records as a
    run."""

    __slots__ = ("offset", "value")

    # What else aiokafka reads of a record.
    key: Final = None
    headers: Final = ()
    timestamp: Final = 0
    timestamp_type: Final = 0
    checksum: Final = None

    def __init__(self, run: Run) -> None:
        self.offset = run.records[-1].offset
        self.value = run


class _Read:
    """How far a partition has been read: `reached` is the position, `whole_from` the offset after
    the last record that was delivered before it. Between them the log shows nothing.

    Written by the fetcher's thread and read by others: first `whole_from` grows, then `reached`, so
    whoever reads them the other way round never takes records for nothing.
    """

    __slots__ = ("reached", "whole_from")

    def __init__(self, offset: int) -> None:
        self.reached = self.whole_from = offset


class _WholeBatch:
    """A batch that iterates as one run; everything else is the batch's own."""

    __slots__ = ("_batch", "_from_offset", "_read")

    def __init__(self, batch: Any, from_offset: int, read: _Read) -> None:
        self._batch = batch
        self._from_offset = from_offset
        self._read = read

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[_Batch]:
        records = list(self._batch)
        if records and records[0].offset < self._from_offset:
            # A fetch brings the whole batch in which its offset lies.
            records = [record for record in records if record.offset >= self._from_offset]
        if records:
            run = Run(self._read.whole_from, records)
            self._read.whole_from = records[-1].offset + 1
            yield _Batch(run)


class _WholeBatches:
    """The batches of one fetch of one partition, for `PartitionRecords`."""

    __slots__ = ("_batch", "_from_offset", "_read", "_records")

    def __init__(self, records: Any, from_offset: int, read: _Read) -> None:
        self._records = records
        self._from_offset = from_offset
        self._read = read
        self._batch: Any = None

    def has_next(self) -> bool:
        """Whether there is a batch left. Asked when the batch before has been unpacked or left
        out, after the last one too."""
        if self._batch is not None:
            self._read.reached = self._batch.next_offset
            self._batch = None
        return bool(self._records.has_next())

    def next_batch(self) -> Any:
        """The next batch. A marker stays what it is: aiokafka reads which kind it is."""
        self._batch = batch = self._records.next_batch()
        if batch.is_control_batch:
            return batch
        return _WholeBatch(batch, self._from_offset, self._read)


class _Fetched(OrderedDict[TopicPartition, Any]):
    """What the fetcher has in store, by partition: each result is changed when it is put in, so
    that none is read in the usual way."""

    def __init__(self) -> None:
        super().__init__()
        self._read: dict[TopicPartition, _Read] = {}

    def __setitem__(self, partition: TopicPartition, result: Any) -> None:
        if isinstance(result, FetchResult):
            unpacking = result._partition_records
            offset = unpacking.next_fetch_offset
            read = self._read.get(partition)
            if read is None or read.reached != offset:
                # Sought meanwhile, or fetched and never unpacked.
                read = self._read[partition] = _Read(offset)
            unpacking._records = _WholeBatches(unpacking._records, offset, read)
        super().__setitem__(partition, result)

    def shows_nothing(self, partition: TopicPartition, first: int, last: int) -> bool:
        """Whether it has been read that the log shows no record from `first` to `last`."""
        read = self._read.get(partition)
        return read is not None and read.reached > last and read.whole_from <= first

    def delivered_up_to(self, partition: TopicPartition) -> int:
        """The offset after the last record that was delivered, or that was sought since; 0 where
        nothing was read."""
        read = self._read.get(partition)
        return 0 if read is None else read.whole_from


def fetch_whole_batches(fetcher: Fetcher) -> None:
    """Makes a fetcher that has not fetched anything yet deliver runs; `runs_of` unwraps them."""
    assert not fetcher._records, "records were fetched before"
    fetcher._records = _Fetched()


def shows_nothing(fetcher: Fetcher, partition: TopicPartition, first: int, last: int) -> bool:
    """Whether such a fetcher has read that the log shows no record from `first` to `last`: markers
    are there, or what was aborted. False where it does not know."""
    return cast(_Fetched, fetcher._records).shows_nothing(partition, first, last)


def delivered_up_to(fetcher: Fetcher, partition: TopicPartition) -> int:
    """The offset after the last record that such a fetcher has delivered, whether or not it arrived
    anywhere."""
    return cast(_Fetched, fetcher._records).delivered_up_to(partition)


def behind(fetcher: Fetcher, partition: TopicPartition) -> int:
    """Offsets between the position of a partition and its last stable offset: what can be read and
    has not been delivered, without the markers at the end. 0 where either is not known."""
    subscription = fetcher._subscriptions.subscription
    if subscription is None or subscription.assignment is None:
        return 0
    try:
        state = subscription.assignment.state_value(partition)
    except KeyError:
        return 0
    if not state or not state.has_valid_position or state.lso is None:
        return 0
    return max(0, int(state.lso) - int(state.position))


def runs_of(fetched: Mapping[TopicPartition, Sequence[Any]]) -> dict[TopicPartition, Run]:
    """What such a fetcher's `fetched_records` returned, one run for each partition."""
    return {
        partition: Run(
            batches[0].value.from_offset,
            list(chain.from_iterable([batch.value.records for batch in batches])),
        )
        for partition, batches in fetched.items()
        if batches
    }
