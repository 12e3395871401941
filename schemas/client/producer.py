"""What a program calls: usage and signals, into the spool before the call returns, then sent.

    async with Producer(Spool("spool"), HttpSender(url, key), source="support-bot") as producer:
        producer.usage(customer_id="acme", units=1)
        await producer.flush()

`BlockingProducer` is the same for programs without an event loop. A producer owns its spool and its
sender: both are closed with it.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable
from typing import Any, Final, Self, TypeVar

from schemas.client import clock
from schemas.client.errors import NotDeliveredError
from schemas.client.events import Event, Ready, ready, validated
from schemas.client.forwarding import Forwarder, Status
from schemas.client.sending import Sender
from schemas.client.spool import Spool
from schemas.signal import Signal
from schemas.usage import Usage

log = logging.getLogger(__name__)

E = TypeVar("E", bound=Event)

CLOSE_SECONDS: Final = 5.0
"""How long closing waits for what is in the spool: less than a supervisor's patience. What is left
is sent by the next producer."""


class _Face:
    """What both kinds of producer have in common."""

    def __init__(
        self,
        spool: Spool,
        sender: Sender,
        *,
        source: str,
        close_seconds: float = CLOSE_SECONDS,
        now_text: Callable[[], str] = clock.now_text,
    ) -> None:
        """`source` names the producing system in every event that names none itself; never an API
        key, so that keys can be rotated between two tries."""
        self._spool = spool
        self._forwarder = Forwarder(spool, sender)
        self._source = source
        self._close_seconds = close_seconds
        self._now_text = now_text

    @property
    def status(self) -> Status:
        """How many events wait, were sent, were refused, and what the last try ended with."""
        return self._forwarder.status

    def usage(self, *, customer_id: str, **fields: Any) -> str:
        """Something consumed: the fields of `schemas.usage.Usage`. Returns the event id when the
        event is on the disk, after one sync of it (a millisecond or a few).

        Without an `event_id` the event gets one of its own, and the present time where it names
        none. An `event_id` of the caller's makes a repeat of the call count once, if its content is
        the same. Raises RejectError for what the contract refuses, SpoolFullError, SpoolError; then
        nothing was taken.
        """
        return self._take(Usage, customer_id, fields)

    def signal(self, *, customer_id: str, **fields: Any) -> str:
        """A business outcome: the fields of `schemas.signal.Signal`. Otherwise as `usage`."""
        return self._take(Signal, customer_id, fields)

    def add(self, events: Iterable[Event]) -> list[str]:
        """Takes all of these or none, in one sync of the disk, as they are. Returns their ids.

        Raises RejectError, SpoolFullError, SpoolError.
        """
        return self._append([ready(event) for event in events])

    def _take(self, model: type[E], customer_id: str, fields: dict[str, Any]) -> str:
        fields = {"source": self._source, **fields, "customer_id": customer_id}
        if fields.get("event_id") is None:
            # Only here: a caller that repeats a call under its own id must send the same content.
            fields["event_id"] = secrets.token_hex(16)
            if fields.get("occurred_at") is None:
                fields["occurred_at"] = self._now_text()
        [event_id] = self._append([ready(validated(model, fields))])
        return event_id

    def _append(self, records: list[Ready]) -> list[str]:
        if records:
            self._spool.append(records)
            self._forwarder.wake()
        return [record.event_id for record in records]

    def _close(self) -> None:
        try:
            self._forwarder.flush(self._close_seconds)
        except NotDeliveredError as left:
            log.warning("%d events stay in %s", left.waiting, self._spool.directory)
        finally:
            self._forwarder.stop()
            self._spool.close()


class Producer(_Face):
    """For programs with an event loop. Sending goes on in a thread of its own, so that a spool
    that blocks when it is full never waits for itself.

    `usage`, `signal` and `add` wait for the disk; a loop that must not wait a few milliseconds
    calls them by `asyncio.to_thread`.
    """

    async def __aenter__(self) -> Self:
        self._forwarder.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await asyncio.to_thread(self._close)

    async def flush(self, timeout_seconds: float | None = None) -> None:
        """Returns when everything taken so far is in the log, or among the refused.

        Raises NotDeliveredError when the time is over; nothing is lost by that.
        """
        await asyncio.to_thread(self._forwarder.flush, timeout_seconds)


class BlockingProducer(_Face):
    """For programs without an event loop, from any of their threads."""

    def __enter__(self) -> Self:
        self._forwarder.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._close()

    def flush(self, timeout_seconds: float | None = None) -> None:
        """As `Producer.flush`."""
        self._forwarder.flush(timeout_seconds)
