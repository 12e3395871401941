"""Record batches out of aiokafka's fetcher as they were appended: without an object, a call or an
await per record.

The fetcher unpacks a batch record by record, which costs more than reading the events' JSON. Here
a fetched batch is shown to it as one that holds a single record, whose value is the list of all its
records; they are unpacked in C. What decides which batches are delivered stays aiokafka's own code:
checksums, aborted transactions, markers and the position after them (`PartitionRecords`).

Uses names of aiokafka 0.14.0 that are not public (tests/guard/test_private_names.py).
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import Fetcher, FetchResult

LogRecord = Any
"""A record as aiokafka unpacks it: `offset`, `timestamp` in milliseconds, `key`, `value`."""


class _Run:
    """The one record of a batch that is delivered whole: its last offset, and all its records."""

    __slots__ = ("offset", "value")

    # What else aiokafka reads of a record.
    key: Final = None
    headers: Final = ()
    timestamp: Final = 0
    timestamp_type: Final = 0
    checksum: Final = None

    def __init__(self, records: list[LogRecord]) -> None:
        self.offset = records[-1].offset
        self.value = records


class _WholeBatch:
    """A batch that iterates as one run; everything else is the batch's own."""

    __slots__ = ("_batch", "_from_offset")

    def __init__(self, batch: Any, from_offset: int) -> None:
        self._batch = batch
        self._from_offset = from_offset

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[_Run]:
        records = list(self._batch)
        if records and records[0].offset < self._from_offset:
            # A fetch brings the whole batch in which its offset lies.
            records = [record for record in records if record.offset >= self._from_offset]
        if records:
            yield _Run(records)


class _WholeBatches:
    """The batches of one fetch of one partition, for `PartitionRecords`."""

    __slots__ = ("_from_offset", "_records")

    def __init__(self, records: Any, from_offset: int) -> None:
        self._records = records
        self._from_offset = from_offset

    def has_next(self) -> bool:
        """Whether there is a batch left."""
        return bool(self._records.has_next())

    def next_batch(self) -> Any:
        """The next batch. A marker stays what it is: aiokafka reads which kind it is."""
        batch = self._records.next_batch()
        return batch if batch.is_control_batch else _WholeBatch(batch, self._from_offset)


class _Fetched(OrderedDict[TopicPartition, Any]):
    """What the fetcher has in store, by partition: each result is changed when it is put in, so
    that none is read in the usual way."""

    def __setitem__(self, partition: TopicPartition, result: Any) -> None:
        if isinstance(result, FetchResult):
            unpacking = result._partition_records
            unpacking._records = _WholeBatches(unpacking._records, unpacking.next_fetch_offset)
        super().__setitem__(partition, result)


def fetch_whole_batches(fetcher: Fetcher) -> None:
    """Makes a fetcher that has not fetched anything yet deliver runs; `records_of` unwraps them."""
    assert not fetcher._records, "records were fetched before"
    fetcher._records = _Fetched()


def records_of(
    fetched: Mapping[TopicPartition, Sequence[Any]],
) -> dict[TopicPartition, list[LogRecord]]:
    """The records in what such a fetcher's `fetched_records` returned, in their order."""
    return {
        partition: list(chain.from_iterable([run.value for run in runs]))
        for partition, runs in fetched.items()
    }
