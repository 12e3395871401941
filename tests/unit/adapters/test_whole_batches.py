"""Whole batches hold exactly the records that aiokafka itself delivers, and leave it at the same
position: the same bytes are read in both ways."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any, Final

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, Fetcher, FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from streams.adapters.whole_batches import (
    Run,
    delivered_up_to,
    fetch_whole_batches,
    runs_of,
    shows_nothing,
)

PARTITION: Final = TopicPartition("usage", 0)
ABORT, COMMIT = b"\x00\x00\x00\x00", b"\x00\x00\x00\x01"
CODECS: Final = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
ATTRIBUTES_AT: Final = 21
CONTROL: Final = 0x20


@dataclass(frozen=True)
class Batch:
    """A batch of the log: `marker` makes it a control batch; `holes` are records that a compaction
    has removed."""

    count: int = 3
    producer: int = -1
    transactional: bool = False
    marker: bytes | None = None
    holes: frozenset[int] = frozenset()
    codec: int = 0

    def __bytes__(self) -> bytes:
        builder = DefaultRecordBatchBuilder(
            2, self.codec, int(self.transactional), self.producer, 0, 0, 1 << 20
        )
        if self.marker is not None:
            builder.append(0, 1_000, self.marker, b"\x00" * 6, [])
        for number in range(self.count):
            if number not in self.holes:
                key = b"key" if number % 2 else None
                builder.append(number, 1_000 + number, key, b"v%d" % number, [("h", b"1")])
        built = bytearray(builder.build())
        if self.marker is not None:
            struct.pack_into(">h", built, ATTRIBUTES_AT, CONTROL | 0x10)
        struct.pack_into(">i", built, ATTRIBUTES_AT + 2, self.length - 1)  # the last offset stays
        struct.pack_into(">I", built, ATTRIBUTES_AT - 4, crc32c(bytes(built[ATTRIBUTES_AT:])))
        return bytes(built)

    @property
    def length(self) -> int:
        """Offsets that it takes."""
        return 1 if self.marker is not None else self.count


MINE: Final = partial(Batch, producer=7, transactional=True)


def crc32c(content: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def fetched(batches: Sequence[Batch], first_offset: int = 0) -> bytes:
    """The answer of a broker: these batches one after the other."""
    content, offset = b"", first_offset
    for batch in batches:
        one = bytearray(bytes(batch))
        struct.pack_into(">q", one, 0, offset)  # the checksum does not cover it
        content += one
        offset += batch.length
    return content


def unpacking(content: bytes, aborted: list[tuple[int, int]], from_offset: int) -> PartitionRecords:
    return PartitionRecords(
        PARTITION, MemoryRecords(content), aborted, from_offset, None, None, True, READ_COMMITTED
    )


class State:
    """The position of a partition as aiokafka keeps it."""

    def __init__(self, position: int) -> None:
        self.position = position
        self.paused = False

    def consumed_to(self, position: int) -> None:
        self.position = position


class Partition:
    """One partition behind our fetcher, as aiokafka treats it."""

    def __init__(self) -> None:
        self.fetcher = Fetcher.__new__(Fetcher)
        self.fetcher._records = {}
        fetch_whole_batches(self.fetcher)
        self.state = State(0)

    def fetch(
        self, content: bytes, from_offset: int, aborted: Sequence[tuple[int, int]] = ()
    ) -> FetchResult:
        """An answer of the broker arrives."""
        self.fetcher._records[PARTITION] = FetchResult(
            PARTITION,
            assignment=SimpleNamespace(active=True, state_value=lambda _: self.state),
            partition_records=unpacking(content, list(aborted), from_offset),
            backoff=0,
        )
        result: FetchResult = self.fetcher._records[PARTITION]
        return result

    def read(
        self, content: bytes, from_offset: int, aborted: Sequence[tuple[int, int]] = ()
    ) -> Run | None:
        """What is delivered of an answer, whose offset was sought if it is not the next one."""
        self.state.position = from_offset
        batches = self.fetch(content, from_offset, aborted).getall(None)
        return runs_of({PARTITION: batches}).get(PARTITION)

    def empty(self, first: int, last: int) -> bool:
        return shows_nothing(self.fetcher, PARTITION, first, last)


def read_whole(
    content: bytes, aborted: list[tuple[int, int]], from_offset: int
) -> tuple[list[Any], int]:
    """What our fetcher delivers of this answer, and the position after it."""
    partition = Partition()
    run = partition.read(content, from_offset, aborted)
    assert run is None or run.from_offset == from_offset
    return [] if run is None else run.records, partition.state.position


def fields(records: Sequence[Any]) -> list[tuple[int, int, bytes | None, bytes | None]]:
    return [(r.offset, r.timestamp, r.key, r.value) for r in records]


def assert_same(
    batches: Sequence[Batch], aborted: list[tuple[int, int]], from_offset: int = 0
) -> list[int]:
    """Reads in both ways; returns the offsets that were delivered."""
    content = fetched(batches)
    stock = unpacking(content, list(aborted), from_offset)
    expected = fields(list(stock))
    found, position = read_whole(content, list(aborted), from_offset)
    assert fields(found) == expected
    assert position == stock.next_fetch_offset
    return [offset for offset, *_ in expected]


def test_plain_batches_are_delivered_whole() -> None:
    assert assert_same([Batch(3), Batch(2)], []) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_every_codec_is_unpacked(codec: int) -> None:
    assert assert_same([Batch(40, codec=codec)], []) == list(range(40))


def test_an_aborted_transaction_is_left_out_up_to_its_marker_and_not_beyond() -> None:
    log = [MINE(2), Batch(2), MINE(marker=ABORT), MINE(2)]
    assert assert_same(log, [(7, 0)]) == [2, 3, 5, 6]


def test_a_marker_at_the_end_moves_the_position_beyond_itself() -> None:
    log = [Batch(2, producer=7, transactional=True), Batch(marker=COMMIT, producer=7)]
    assert assert_same(log, []) == [0, 1]
    assert read_whole(fetched(log), [], 0)[1] == 3


def test_a_fetch_from_the_middle_of_a_batch_leaves_out_what_lies_before() -> None:
    assert assert_same([Batch(5), Batch(2)], [], from_offset=3) == [3, 4, 5, 6]


def test_records_that_were_compacted_away_leave_a_gap() -> None:
    log = [Batch(4, holes=frozenset({0, 3})), Batch(2, holes=frozenset({0, 1})), Batch(1)]
    assert assert_same(log, []) == [1, 2, 6]


def test_a_batch_whose_checksum_is_wrong_is_refused() -> None:
    content = bytearray(fetched([Batch(2), Batch(2)]))
    content[-1] ^= 1
    with pytest.raises(CorruptRecordException):
        read_whole(bytes(content), [], 0)


def test_a_seek_meanwhile_throws_away_what_was_fetched() -> None:
    partition = Partition()
    result = partition.fetch(fetched([Batch(2)]), 0)
    partition.state.position = 9
    assert result.getall(None) == []
    assert partition.state.position == 9


def test_a_run_is_whole_from_the_end_of_the_one_before_whatever_markers_lie_between() -> None:
    partition = Partition()
    first = partition.read(fetched([MINE(2), MINE(marker=COMMIT)]), 0)
    then = partition.read(fetched([MINE(marker=COMMIT), Batch(1)], 3), 3)
    assert first is not None
    assert then is not None
    assert (first.from_offset, [r.offset for r in first.records]) == (0, [0, 1])
    assert (then.from_offset, [r.offset for r in then.records]) == (2, [4])


def test_an_answer_without_records_does_not_break_the_run() -> None:
    partition = Partition()
    partition.read(fetched([Batch(2)]), 0)
    assert partition.read(fetched([MINE(2), MINE(marker=ABORT)], 2), 2, [(7, 2)]) is None
    then = partition.read(fetched([Batch(1)], 5), 5)
    assert then is not None
    assert then.from_offset == 2


def test_after_a_seek_a_run_is_whole_from_the_offset_sought() -> None:
    partition = Partition()
    partition.read(fetched([Batch(2)]), 0)
    for offset in (0, 1, 7):
        run = partition.read(fetched([Batch(1)], offset), offset)
        assert run is not None
        assert run.from_offset == offset


def test_what_was_unpacked_and_dropped_is_missing_in_the_next_run() -> None:
    partition = Partition()
    partition.read(fetched([Batch(3)]), 0)
    run = partition.read(fetched([Batch(1)], 3), 3)
    assert run is not None
    assert run.from_offset == 3, "who was not given the first three sees that they are missing"


def test_what_was_delivered_is_known_until_it_is_sought() -> None:
    partition = Partition()
    delivered = partial(delivered_up_to, partition.fetcher, PARTITION)
    assert delivered() == 0
    partition.read(fetched([MINE(3), MINE(marker=COMMIT)]), 0)
    assert delivered() == 3
    partition.fetch(fetched([Batch(1)], 1), 1)
    assert delivered() == 1


def test_only_markers_and_what_was_aborted_are_shown_to_be_nothing() -> None:
    partition = Partition()
    assert not partition.empty(0, 0), "nothing was read yet"
    partition.read(
        fetched([MINE(2), MINE(marker=COMMIT), MINE(1), MINE(marker=ABORT)]), 0, [(7, 3)]
    )
    assert partition.empty(2, 4)
    assert not partition.empty(1, 4), "offset 1 is a record"
    assert not partition.empty(2, 5), "offset 5 was not read"


def test_a_batch_that_is_still_to_be_unpacked_is_not_taken_for_nothing() -> None:
    partition = Partition()
    partition.read(fetched([Batch(1)]), 0)
    result = partition.fetch(fetched([Batch(2)], 1), 1)
    assert not partition.empty(1, 2)
    result.getall(None)
    assert not partition.empty(1, 2)
    assert partition.empty(3, 2)


def test_a_run_begins_where_it_is_asked_to() -> None:
    run = Run(3, [SimpleNamespace(offset=offset) for offset in (4, 6, 7)])
    assert [[r.offset for r in run.beginning_at(at)] for at in (2, 5, 7, 8)] == [
        [4, 6, 7],
        [6, 7],
        [7],
        [],
    ]


def test_a_fetcher_that_has_records_already_is_refused() -> None:
    fetcher = Fetcher.__new__(Fetcher)
    fetcher._records = {PARTITION: object()}
    with pytest.raises(AssertionError, match="fetched before"):
        fetch_whole_batches(fetcher)


BATCHES = st.builds(
    Batch,
    count=st.integers(1, 4),
    producer=st.integers(1, 3),
    transactional=st.booleans(),
    marker=st.sampled_from([None, None, ABORT, COMMIT]),
    holes=st.frozensets(st.integers(0, 3), max_size=3),
)


@given(
    log=st.lists(BATCHES, min_size=1, max_size=8),
    aborted=st.lists(st.tuples(st.integers(1, 3), st.integers(0, 20)), max_size=4),
    within=st.integers(0, 3),
)
def test_any_log_is_read_as_aiokafka_reads_it(
    log: list[Batch], aborted: list[tuple[int, int]], within: int
) -> None:
    # A broker answers with the batch in which the offset lies, and what follows.
    assert_same(log, aborted, min(within, log[0].length - 1))
