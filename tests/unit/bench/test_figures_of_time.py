"""Percentiles, growth, what is due, delays: the arithmetic of latency and endurance."""

import time

import pytest

from streams.bench.endurance import growth
from streams.bench.latency import Delays, percentile
from streams.bench.pace import due
from tests.rows import row


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert percentile(values, 50) == 50
    assert percentile(values, 99) == 99
    assert percentile(values, 100) == 100
    assert percentile([7.0], 1) == 7


def test_what_is_due_never_exceeds_the_rate() -> None:
    assert due(1_000, 0) == 0
    assert due(1_000, 0.0205) == 20
    assert due(0.5, 3) == 1


def test_memory_is_compared_by_quarters_after_the_first() -> None:
    assert growth([100, 200, 200, 100, 100, 220, 180, 100]) == pytest.approx(0.9)
    assert growth([1, 100, 1, 150]) == pytest.approx(1.5)
    assert growth([1, 2, 3]) is None


def test_only_entries_of_records_after_the_warm_time_are_measured() -> None:
    now_us = time.time_ns() // 1_000  # noqa: TID251 - the clock that arrivals are measured by
    delays = Delays(now_us - 1_000_000)
    for appended_at_us in (now_us - 2_000_000, now_us - 500_000):
        delays.take(0, b"k", row(0, decided_at=appended_at_us), 0)
    assert len(delays.found) == 1
    assert 500 <= delays.found[0] < 60_000


def test_what_is_no_usage_is_not_measured() -> None:
    delays = Delays(0)
    delays.take(0, None, b'{"kind":"cycle"}', 0)
    assert not delays.found
