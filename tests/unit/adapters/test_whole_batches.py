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

from streams.adapters.whole_batches import fetch_whole_batches, records_of

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


def read_whole(
    content: bytes, aborted: list[tuple[int, int]], from_offset: int
) -> tuple[list[Any], int]:
    """What our fetcher delivers of this answer, and the position after it."""
    fetcher = Fetcher.__new__(Fetcher)
    fetcher._records = {}
    fetch_whole_batches(fetcher)
    state = State(from_offset)
    assignment = SimpleNamespace(active=True, state_value=lambda _: state)
    fetcher._records[PARTITION] = FetchResult(
        PARTITION,
        assignment=assignment,
        partition_records=unpacking(content, aborted, from_offset),
        backoff=0,
    )
    runs = fetcher._records[PARTITION].getall(None)
    return records_of({PARTITION: runs})[PARTITION], state.position


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
    mine = partial(Batch, producer=7, transactional=True)
    log = [mine(2), Batch(2), mine(marker=ABORT), mine(2)]
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
    fetcher = Fetcher.__new__(Fetcher)
    fetcher._records = {}
    fetch_whole_batches(fetcher)
    state = State(9)
    fetcher._records[PARTITION] = result = FetchResult(
        PARTITION,
        assignment=SimpleNamespace(active=True, state_value=lambda _: state),
        partition_records=unpacking(fetched([Batch(2)]), [], 0),
        backoff=0,
    )
    assert result.getall(None) == []
    assert state.position == 9


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
