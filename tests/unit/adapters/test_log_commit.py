"""What a commit sends, and what it waits for before it goes on (decision 006, step 6)."""

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import MessageSizeTooLargeError
from aiokafka.producer.message_accumulator import BatchBuilder

from streams.adapters.log import KafkaCycleLog
from streams.errors import FaultError
from streams.ports import Appends

BATCH_BYTES = 400
LEDGER = Appends("ledger", [(b"k", b"v" * 300)] * 3)
CLAIMS = Appends("claims", [(b"k", b"claim")])
NOTHING = Appends("dead", [])


class Producer:
    """Remembers what happened in which order; the test answers the batches."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.open: list[tuple[str, asyncio.Future[Any]]] = []
        self.offsets: Mapping[Any, int] = {}

    def create_batch(self) -> BatchBuilder:
        return BatchBuilder(BATCH_BYTES, 0, is_transactional=1)

    async def begin_transaction(self) -> None:
        self.told.append("begin")

    async def send_batch(self, _batch: Any, topic: str, *, partition: int) -> asyncio.Future[Any]:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.told.append(topic)
        self.open.append((topic, answer))
        return answer

    async def send_offsets_to_transaction(self, offsets: Mapping[Any, int], _group: str) -> None:
        self.told.append("offsets")
        self.offsets = offsets

    async def commit_transaction(self) -> None:
        self.told.append("commit")

    def answer(self, topic: str, base_offset: int) -> None:
        """Acknowledges the first batch of a topic that has no answer yet."""
        future = next(f for name, f in self.open if name == topic and not f.done())
        future.set_result(SimpleNamespace(offset=base_offset))


async def settle() -> None:
    """Lets everything run that waits for nothing."""
    for _ in range(10):
        await asyncio.sleep(0)


def begun(*appends: Appends) -> tuple[Producer, "asyncio.Task[dict[str, int]]"]:
    log, producer = KafkaCycleLog("", "app", "p."), Producer()
    log._producers[3] = producer
    return producer, asyncio.ensure_future(log.commit(3, appends, {"usage": 7}))


def test_every_batch_of_every_topic_is_sent_before_any_is_answered() -> None:
    async def story() -> None:
        producer, commit = begun(LEDGER, NOTHING, CLAIMS)
        await settle()
        assert producer.told[0] == "begin"
        assert sorted(producer.told[1:]) == ["p.claims", "p.ledger", "p.ledger", "p.ledger"]
        commit.cancel()

    asyncio.run(story())


def test_the_offsets_follow_the_last_answer_and_the_commit_follows_them() -> None:
    async def story() -> None:
        producer, commit = begun(LEDGER, NOTHING, CLAIMS)
        await settle()
        for topic, offset in (("p.ledger", 20), ("p.claims", 5), ("p.ledger", 21)):
            producer.answer(topic, offset)
            await settle()
            assert "offsets" not in producer.told
        producer.answer("p.ledger", 22)
        assert await commit == {"ledger": 22, "claims": 5}
        assert producer.told[-2:] == ["offsets", "commit"]
        assert list(producer.offsets.values()) == [7]

    asyncio.run(story())


@pytest.mark.parametrize("failing", ["p.ledger", "p.claims"])
def test_one_refused_batch_stops_the_commit_when_all_have_their_answer(failing: str) -> None:
    async def story() -> None:
        producer, commit = begun(LEDGER, CLAIMS)
        await settle()
        next(f for name, f in producer.open if name == failing).set_exception(
            MessageSizeTooLargeError()
        )
        await settle()
        assert not commit.done()
        for topic, future in producer.open:
            if not future.done():
                producer.answer(topic, 1)
        with pytest.raises(FaultError, match="MessageSizeTooLarge"):
            await commit
        assert not {"offsets", "commit"} & set(producer.told)

    asyncio.run(story())
