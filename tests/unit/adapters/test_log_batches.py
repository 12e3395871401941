"""How the records of a cycle are cut into batches: the bytes are those that aiokafka's own layer
would have built."""

import time
from typing import Any

import pytest
from aiokafka.producer.message_accumulator import BatchBuilder

from streams.adapters import log
from streams.errors import FaultError

BATCH_BYTES = 400
NOW_MS = 1_780_000_000_000


class Producer:
    """Makes batches as a transactional producer does."""

    def create_batch(self) -> BatchBuilder:
        return BatchBuilder(BATCH_BYTES, 0, is_transactional=1)


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: NOW_MS * 1_000_000)


def built(records: list[tuple[bytes | None, bytes]]) -> list[tuple[bytes, int]]:
    batches: Any = log._batches(Producer(), records)
    found = []
    for batch in batches:
        assert batch.closed(), "nothing may be added beside it"
        found.append((bytes(batch._build()), batch.record_count()))
    return found


def by_aiokafka(records: list[tuple[bytes | None, bytes]]) -> list[tuple[bytes, int]]:
    batches = [Producer().create_batch()]
    for key, value in records:
        if batches[-1].append(timestamp=NOW_MS, key=key, value=value) is None:
            batches.append(Producer().create_batch())
            assert batches[-1].append(timestamp=NOW_MS, key=key, value=value) is not None
    return [(bytes(batch._build()), batch.record_count()) for batch in batches]


@pytest.mark.parametrize("count", [1, 2, 5, 50])
def test_the_batches_are_those_of_aiokafka(count: int) -> None:
    records: list[tuple[bytes | None, bytes]] = [
        (b"key" if n % 3 else None, b"v" * (n * 7 % 120)) for n in range(count)
    ]
    assert built(records) == by_aiokafka(records)
    assert sum(held for _, held in built(records)) == count


def test_a_record_larger_than_a_batch_gets_one_of_its_own() -> None:
    records: list[tuple[bytes | None, bytes]] = [
        (None, b"a"),
        (None, b"b" * (2 * BATCH_BYTES)),
        (None, b"c"),
    ]
    assert [held for _, held in built(records)] == [1, 1, 1]
    assert built(records) == by_aiokafka(records)


def test_a_record_that_the_builder_does_not_take_is_never_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Refusing:
        def append(self, *_args: Any) -> None:
            return None

    class Batch:
        _builder = Refusing()
        _relative_offset = 0

        def close(self) -> None: ...

    monkeypatch.setattr(Producer, "create_batch", lambda _self: Batch())
    with pytest.raises(FaultError, match="fits no batch"):
        list(log._batches(Producer(), [(None, b"v")]))
