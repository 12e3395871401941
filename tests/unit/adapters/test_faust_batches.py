"""Which fetched records reach an owner, and which are fetched again. The paths around Faust are
tested on the real broker."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from streams.adapters.faust_batches import BatchConsumer, BatchRecovery

USAGE = TP("usage", 0)
CHANGELOG = TP("accounts-changelog", 0)


@dataclass
class Owner:
    """Remembers what it is given."""

    delivered: list[tuple[int, ...]] = field(default_factory=list)

    async def deliver(self, _topic: str, _partition: int, _to: int, records: list[Any]) -> None:
        self.delivered.append(tuple(record.offset for record in records))


class Consumer(BatchConsumer):
    """A consumer without a broker: `sought` are the seeks that it would have made."""

    def __init__(self, expected: int | None) -> None:
        self._expected = {} if expected is None else {USAGE: expected}
        self._gap_seen = {}
        self._fetched_early = set()
        self._seek_generation = 1
        self._seeks = 0
        self.sought: list[tuple[TP, int]] = []
        self.owner = Owner()
        recovery = BatchRecovery.__new__(BatchRecovery)
        recovery.active_tps, recovery.standby_tps = {CHANGELOG}, set()
        recovery.active_offsets = Counter({CHANGELOG: 41})
        recovery.standby_offsets = Counter()
        self.app: Any = SimpleNamespace(
            owner=self.owner,
            inbound_topics={USAGE.topic},
            tables=SimpleNamespace(recovery=recovery),
        )

    async def _seek(self, partition: TP, offset: int) -> None:
        self.sought.append((partition, offset))

    def fetched(self, *offsets: int, generation: int = 1) -> None:
        """A run of records arrives."""
        asyncio.run(self._deliver(USAGE, records(*offsets), generation))


def records(*offsets: int) -> list[Any]:
    return [SimpleNamespace(offset=offset) for offset in offsets]


def test_runs_that_join_are_delivered() -> None:
    consumer = Consumer(expected=5)
    consumer.fetched(5, 6)
    consumer.fetched(7)
    assert consumer.owner.delivered == [(5, 6), (7,)]
    assert consumer.sought == []


def test_a_gap_is_read_again_once_and_accepted_when_it_repeats() -> None:
    consumer = Consumer(expected=5)
    consumer.fetched(8, 9)
    assert consumer.owner.delivered == []
    assert consumer.sought == [(USAGE, 5)]
    consumer.fetched(8, 9)
    assert consumer.owner.delivered == [(8, 9)]


def test_a_gap_that_closes_when_it_is_read_again_loses_nothing() -> None:
    consumer = Consumer(expected=5)
    consumer.fetched(8)
    consumer.fetched(5, 6, 7, 8)
    assert consumer.owner.delivered == [(5, 6, 7, 8)]


def test_a_second_gap_is_read_again_as_well() -> None:
    consumer = Consumer(expected=5)
    consumer.fetched(8)
    consumer.fetched(8)
    consumer.fetched(12)
    assert consumer.sought == [(USAGE, 5), (USAGE, 9)]


def test_records_from_before_the_position_are_cut_off() -> None:
    consumer = Consumer(expected=5)
    consumer.fetched(3, 4, 5)
    consumer.fetched(3, 4)
    assert consumer.owner.delivered == [(5,)]


@pytest.mark.parametrize("expected", [None, 5])
def test_records_from_before_the_take_over_are_remembered_to_be_fetched_again(
    expected: int | None,
) -> None:
    consumer = Consumer(expected)
    consumer.fetched(5, generation=2)
    assert consumer.owner.delivered == []
    assert consumer._fetched_early == {USAGE}


def test_what_was_fetched_across_a_seek_is_fetched_again_changelogs_among_it() -> None:
    consumer = Consumer(expected=5)
    asyncio.run(consumer._fetch_again({USAGE: records(9), CHANGELOG: records(60)}))
    assert consumer.sought == [(USAGE, 5), (CHANGELOG, 42)]


def test_what_was_fetched_across_a_seek_before_the_take_over_is_remembered() -> None:
    consumer = Consumer(expected=None)
    asyncio.run(consumer._fetch_again({USAGE: records(9), TP("accounts-changelog", 7): records(1)}))
    assert (consumer.sought, consumer._fetched_early) == ([], {USAGE})
