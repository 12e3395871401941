"""From the spool to the log: everything once it can be, in order, and nothing blocks the rest."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from schemas.client import Later, NotDeliveredError, Outcome, Refused, Spool, Spooled
from schemas.client.forwarding import ASKED_SECONDS_MAX, BATCH_RECORDS_MAX, Forwarder
from tests.client_fakes import FakeSender, but, each, record

SECONDS = 60.0
"""A deadline, not a pause."""

QUICK = (0.001, 0.01)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path) as made:
        yield made


@pytest.fixture
def start(spool: Spool) -> Iterator[Callable[..., Forwarder]]:
    """Starts a forwarder, and stops it after the test."""
    started: list[Forwarder] = []

    def begin(sender: FakeSender) -> Forwarder:
        forwarder = Forwarder(spool, sender, pause_seconds=QUICK)
        started.append(forwarder)
        forwarder.start()
        return forwarder

    yield begin
    for forwarder in started:
        forwarder.stop()


def test_what_waits_is_sent_in_its_order_and_leaves(
    spool: Spool, start: Callable[..., Forwarder]
) -> None:
    sender = FakeSender()
    spool.append([record("left-by-an-earlier-process")])
    forwarder = start(sender)
    forwarder.flush(SECONDS)
    spool.append([record("a"), record("b")])
    forwarder.wake()
    forwarder.flush(SECONDS)
    assert sender.events == ["left-by-an-earlier-process", "a", "b"]
    status = forwarder.status
    assert (status.waiting, status.sent, status.refused, status.fault) == (0, 3, 0, "")
    forwarder.stop()
    assert sender.closed == 1


def test_a_backlog_goes_in_batches(spool: Spool, start: Callable[..., Forwarder]) -> None:
    spool.append([record(f"e{n}") for n in range(BATCH_RECORDS_MAX + 1)])
    sender = FakeSender()
    start(sender).flush(SECONDS)
    assert [len(batch) for batch in sender.sent] == [BATCH_RECORDS_MAX, 1]


def test_what_nobody_takes_is_sent_again_as_the_same_bytes(
    spool: Spool, start: Callable[..., Forwarder]
) -> None:
    sender = FakeSender()
    sender.answers += [each(Later("away")), each(Later("away"))]
    spool.append([record("a"), record("b")])
    start(sender).flush(SECONDS)
    assert sender.sent[0] == sender.sent[1] == sender.sent[2]


def test_where_nobody_takes_anything_the_rest_is_not_offered(
    spool: Spool, start: Callable[..., Forwarder]
) -> None:
    spool.append([record(f"e{n}") for n in range(BATCH_RECORDS_MAX + 1)])
    sender = FakeSender()
    sender.answers += [each(Later("away"))] * 3
    start(sender).flush(SECONDS)
    assert [batch[0].sequence for batch in sender.sent] == [1, 1, 1, 1, BATCH_RECORDS_MAX + 1]


def test_one_event_that_is_never_taken_does_not_keep_the_others(
    spool: Spool, start: Callable[..., Forwarder]
) -> None:
    sender = FakeSender(but("stuck", Later("odd")))
    spool.append([record("stuck"), record("a")])
    forwarder = start(sender)
    done = threading.Event()

    def produce() -> None:
        for n in range(20):
            spool.append([record(f"e{n}")])
            forwarder.wake()
        while spool.waiting > 1:
            spool.wait_settled(spool.last_sequence, 0.001, lambda: False)
        done.set()

    threading.Thread(target=produce).start()
    assert done.wait(SECONDS)
    assert spool.waiting == 1
    assert forwarder.status.fault == "odd"
    forwarder.stop()
    [stuck] = spool.take(0, 100, 10, 10_000)
    assert json.loads(stuck.value)["event_id"] == "stuck"


def test_a_refused_event_goes_to_the_file_and_the_rest_to_the_log(
    spool: Spool, start: Callable[..., Forwarder], caplog: pytest.LogCaptureFixture
) -> None:
    sender = FakeSender()
    sender.answers.append(but("bad", Refused("invalid_field", "because")))
    spool.append([record("a"), record("bad", "a-secret-customer"), record("b")])
    forwarder = start(sender)
    forwarder.flush(SECONDS)
    assert (forwarder.status.sent, forwarder.status.refused) == (2, 1)
    [line] = (spool.directory / "refused.jsonl").read_text().splitlines()
    assert json.loads(line)["event"]["event_id"] == "bad"
    assert "refused (invalid_field)" in caplog.text
    assert "secret" not in caplog.text


def test_a_senders_own_fault_loses_nothing(spool: Spool, start: Callable[..., Forwarder]) -> None:
    def fail(_records: Sequence[Spooled]) -> Sequence[Outcome]:
        raise ZeroDivisionError

    sender = FakeSender()
    sender.answers += [fail, lambda _records: [None]]
    spool.append([record("a"), record("b")])
    start(sender).flush(SECONDS)
    assert sender.events == ["a", "b"] * 3


def test_a_flush_that_ends_too_early_says_what_waits_and_why(
    spool: Spool, start: Callable[..., Forwarder]
) -> None:
    tries = threading.Semaphore(0)

    def refuse(records: Sequence[Spooled]) -> Sequence[Outcome]:
        tries.release()
        return [Later("no broker answers")] * len(records)

    spool.append([record("a")])
    forwarder = start(FakeSender(refuse))
    for _ in range(2):
        # When a second try begins, what the first one ended with is known.
        assert tries.acquire(timeout=SECONDS)
    with pytest.raises(NotDeliveredError, match=r"1 events .* no broker answers") as caught:
        forwarder.flush(0.02)
    assert caught.value.waiting == 1
    assert spool.waiting == 1


class Hanging(FakeSender):
    """Never answers."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Event()

    async def send(self, records: Sequence[Spooled]) -> Sequence[Outcome]:
        self.begun.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


def test_stopping_gives_up_what_is_under_way_and_ends_a_flush(
    spool: Spool, start: Callable[..., Forwarder]
) -> None:
    sender = Hanging()
    spool.append([record("a")])
    forwarder = start(sender)
    assert sender.begun.wait(SECONDS)
    faults: list[BaseException] = []

    def flush() -> None:
        try:
            forwarder.flush(None)
        except NotDeliveredError as fault:
            faults.append(fault)

    flushing = threading.Thread(target=flush)
    flushing.start()
    forwarder.stop()
    flushing.join(SECONDS)
    assert len(faults) == 1
    assert (spool.waiting, sender.closed) == (1, 1)


def test_a_pause_grows_is_spread_and_is_never_shorter_than_asked_for(spool: Spool) -> None:
    forwarder = Forwarder(spool, FakeSender(), pause_seconds=(1.0, 8.0))
    pauses = [forwarder._pause(Later("x")) for _ in range(8)]
    for pause, longest in zip(pauses, [1, 2, 4, 8, 8, 8, 8, 8], strict=True):
        assert longest / 2 <= pause <= longest
    assert forwarder._pause(Later("x", 100.0)) == 100.0
    assert forwarder._pause(Later("x", 1e6)) == ASKED_SECONDS_MAX


def test_a_spool_that_fails_ends_sending_with_a_word(
    spool: Spool, start: Callable[..., Forwarder], caplog: pytest.LogCaptureFixture
) -> None:
    (spool.directory / "refused.jsonl").mkdir()
    sender = FakeSender()
    sender.answers.append(each(Refused("no", "because")))
    spool.append([record("a")])
    forwarder = start(sender)
    with pytest.raises(NotDeliveredError, match="sending has ended: SpoolError"):
        forwarder.flush(SECONDS)
    assert "what waits is in" in caplog.text
