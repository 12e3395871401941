"""Which records may stand in one insert."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import FaultError
from streams.ports import OutboundRecord
from streams.sink.rows import Batch, BatchLimits, cut, read_row
from tests.rows import FEBRUARY_US, row, rows

WIDE = BatchLimits(rows_max=1000, bytes_max=1_000_000)


def batches(values: list[bytes], limits: BatchLimits = WIDE) -> list[Batch]:
    records = (OutboundRecord(offset, value) for offset, value in enumerate(values))
    return list(cut((read_row(record, 0) for record in records), limits))


def spans(values: list[bytes], limits: BatchLimits = WIDE) -> list[tuple[int, int, int]]:
    return [(batch.generation, batch.first, batch.last) for batch in batches(values, limits)]


def test_consecutive_rows_are_one_batch_that_ends_behind_its_last_record() -> None:
    (batch,) = batches(rows(range(5, 9)))
    assert (batch.first, batch.last, batch.next_offset) == (5, 8, 4)
    assert batch.body_after(4).split(b"\n") == rows(range(5, 9))


def test_a_body_leaves_out_what_another_sink_has_inserted() -> None:
    (batch,) = batches(rows(range(5, 9)))
    assert batch.body_after(6).split(b"\n") == rows([7, 8])


def test_a_body_of_nothing_or_of_more_than_the_batch_is_our_own_bug() -> None:
    (batch,) = batches(rows(range(5, 9)))
    for mark in (3, 8):
        with pytest.raises(AssertionError, match=f"mark {mark}"):
            batch.body_after(mark)


def test_a_batch_ends_at_the_end_of_a_month() -> None:
    values = [row(0, decided_at=FEBRUARY_US - 1), row(1, decided_at=FEBRUARY_US)]
    assert spans(values) == [(1, 0, 0), (1, 1, 1)]


def test_a_batch_ends_where_a_generation_ends() -> None:
    assert spans([row(7), row(0, generation=2)]) == [(1, 7, 7), (2, 0, 0)]
    assert spans([row(7), row(8, generation=2)]) == [(1, 7, 7), (2, 8, 8)]


def test_a_batch_ends_at_a_gap_and_at_a_step_back() -> None:
    assert spans(rows([0, 1, 3, 4, 2])) == [(1, 0, 1), (1, 3, 4), (1, 2, 2)]


def test_a_batch_has_at_most_as_many_rows_as_it_may() -> None:
    limits = BatchLimits(rows_max=2, bytes_max=1_000_000)
    assert spans(rows(range(5)), limits) == [(1, 0, 1), (1, 2, 3), (1, 4, 4)]


def test_a_batch_has_at_most_as_many_bytes_as_it_may_unless_one_row_has_more() -> None:
    size = len(row(0)) + 1
    assert spans(rows(range(4)), BatchLimits(1000, 2 * size)) == [(1, 0, 1), (1, 2, 3)]
    assert spans(rows(range(2)), BatchLimits(1000, 1)) == [(1, 0, 0), (1, 1, 1)]


@given(st.lists(st.integers(0, 6), max_size=30), st.integers(1, 5), st.integers(1, 2000))
def test_cutting_loses_and_reorders_nothing(
    sequences: list[int], rows_max: int, bytes_max: int
) -> None:
    values = rows(sequences)
    found = batches(values, BatchLimits(rows_max, bytes_max))
    assert [value for batch in found for value in batch.values] == values
    assert all(len(b.values) == b.last - b.first + 1 <= rows_max for b in found)


@pytest.mark.parametrize("value", [b"", b"{}", b"not json", b'{"sequence":1}'])
def test_bytes_that_are_none_of_ours_stop_the_sink_and_name_their_offset(value: bytes) -> None:
    with pytest.raises(FaultError, match="offset 12 of partition 0"):
        read_row(OutboundRecord(12, value), 0)


def test_a_record_of_another_partition_stops_the_sink() -> None:
    with pytest.raises(FaultError, match="says partition 3 but lies in 0"):
        read_row(OutboundRecord(0, row(0, partition=3)), 0)
