"""The producer: an event is on the disk when the call returns, and its id never changes."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from schemas.client import (
    BlockingProducer,
    Later,
    NotDeliveredError,
    Producer,
    RejectError,
    Spool,
    SpoolFullError,
)
from schemas.client.events import ready, validated
from schemas.client.spool import ROW_BYTES
from schemas.usage import Usage
from tests.client_fakes import FakeSender, each

NOW = "2026-01-15T12:00:00.000000Z"
SECONDS = 60.0
REQUIRED = {"event_id": "a", "source": "s", "customer_id": "acme"}


def away() -> FakeSender:
    """Nobody takes anything."""
    return FakeSender(each(Later("away")))


def sent(sender: FakeSender) -> list[dict[str, Any]]:
    return [json.loads(one.value) for batch in sender.sent for one in batch]


async def test_usage_and_signals_arrive_with_an_id_a_source_and_a_time(tmp_path: Path) -> None:
    sender = FakeSender()
    spool = Spool(tmp_path)
    async with Producer(spool, sender, source="bot", now_text=lambda: NOW) as producer:
        first = producer.usage(customer_id="acme", units=3, tokens={"input": 5})
        second = producer.signal(customer_id="acme", name="ticket_closed", source="other")
        await producer.flush(SECONDS)
        assert producer.status.sent == 2
    usage, signal = sent(sender)
    assert first != second
    assert usage == {
        "schema_version": 1,
        "event_id": first,
        "source": "bot",
        "customer_id": "acme",
        "occurred_at": NOW,
        "units": 3,
        "tokens": {"input": 5},
    }
    assert (signal["event_id"], signal["source"], signal["name"]) == (
        second,
        "other",
        "ticket_closed",
    )


def test_the_same_without_an_event_loop(tmp_path: Path) -> None:
    sender = FakeSender()
    with BlockingProducer(Spool(tmp_path), sender, source="bot") as producer:
        producer.usage(customer_id="acme")
        producer.flush(SECONDS)
        assert len(sender.sent) == 1


def test_an_event_with_an_id_of_the_callers_gets_no_time_that_a_repeat_would_not_have(
    tmp_path: Path,
) -> None:
    sender = FakeSender()
    with BlockingProducer(Spool(tmp_path), sender, source="bot") as producer:
        for _ in range(2):
            assert producer.usage(customer_id="acme", event_id="call-1") == "call-1"
        producer.usage(customer_id="acme", event_id="call-2", occurred_at=NOW)
    first, second, third = sent(sender)
    assert first == second
    assert "occurred_at" not in first
    assert third["occurred_at"] == NOW


def test_what_is_refused_at_the_door_never_reaches_the_spool(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    with BlockingProducer(spool, FakeSender(), source="bot") as producer:
        with pytest.raises(RejectError, match="unit: Extra"):
            producer.usage(customer_id="acme", unit=1)
        with pytest.raises(RejectError, match="name"):
            producer.signal(customer_id="acme")
        with pytest.raises(RejectError, match="customer_id"):
            producer.usage(customer_id="")
        assert spool.last_sequence == 0


def test_several_events_are_taken_all_or_none(tmp_path: Path) -> None:
    sender = FakeSender()
    good = validated(Usage, REQUIRED)
    bad = good.model_copy(update={"units": -1})
    spool = Spool(tmp_path)
    with BlockingProducer(spool, sender, source="bot") as producer:
        with pytest.raises(RejectError):
            producer.add([good, bad])
        assert spool.last_sequence == 0
        assert producer.add([good, good.model_copy(update={"event_id": "b"})]) == ["a", "b"]
        assert producer.add([]) == []
    assert [event["source"] for event in sent(sender)] == ["s", "s"]


async def test_what_could_not_be_sent_is_sent_by_the_next_producer(tmp_path: Path) -> None:
    async with Producer(Spool(tmp_path), away(), source="bot", close_seconds=0.01) as producer:
        event_id = producer.usage(customer_id="acme")
        with pytest.raises(NotDeliveredError):
            await producer.flush(0.01)
    sender = FakeSender()
    async with Producer(Spool(tmp_path), sender, source="bot") as producer:
        await producer.flush(SECONDS)
    assert sender.events == [event_id]


async def test_a_full_spool_that_blocks_does_not_wait_for_its_own_event_loop(
    tmp_path: Path,
) -> None:
    sender = FakeSender()
    spool = Spool(tmp_path, bytes_max=2_000, when_full="block", block_seconds=SECONDS)
    async with Producer(spool, sender, source="bot") as producer:
        ids = [producer.usage(customer_id="acme") for _ in range(50)]
        await producer.flush(SECONDS)
    assert sender.events == ids


def test_a_full_spool_says_so(tmp_path: Path) -> None:
    event = validated(Usage, REQUIRED)
    size = len(ready(event).key) + len(ready(event).value) + ROW_BYTES
    spool = Spool(tmp_path, bytes_max=3 * size)
    with BlockingProducer(spool, away(), source="bot", close_seconds=0.01) as producer:
        producer.add([event, event])
        with pytest.raises(SpoolFullError):
            producer.add([event, event])
        producer.add([event])


async def test_calls_from_many_threads_lose_nothing(tmp_path: Path) -> None:
    sender = FakeSender()
    async with Producer(Spool(tmp_path), sender, source="bot") as producer:
        calls = [
            asyncio.to_thread(producer.usage, customer_id=f"c{n % 3}", units=n) for n in range(60)
        ]
        ids = await asyncio.gather(*calls)
        await producer.flush(SECONDS)
    assert sorted(sender.events) == sorted(ids)
    assert len(set(ids)) == 60


async def test_a_fault_of_the_program_leaves_the_events_where_they_are(tmp_path: Path) -> None:
    async def run() -> None:
        async with Producer(Spool(tmp_path), away(), source="bot", close_seconds=0.01) as producer:
            producer.usage(customer_id="acme")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await run()
    with Spool(tmp_path) as spool:
        assert spool.waiting == 1
