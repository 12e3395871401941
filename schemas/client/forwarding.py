"""From the spool to the log: one thread that sends what waits until the sender says it is there.

A pass offers every waiting event once, in order; what nobody took stays and is offered again after
a pause, so that one event that is never taken does not keep the others. What is sent twice counts
once (decision 002), so a crash between the acknowledgement and the spool's commit costs nothing.
"""

import asyncio
import contextlib
import logging
import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from schemas.client.errors import NotDeliveredError, SpoolClosedError
from schemas.client.sending import Later, Outcome, Refused, Sender, Spooled
from schemas.client.spool import Spool

log = logging.getLogger(__name__)

BATCH_RECORDS_MAX: Final = 1_000
"""Events that a sender is given at once: what the gateway takes in one request."""

BATCH_BYTES_MAX: Final = 3 * 1024 * 1024
"""Their bytes: with commas and brackets still below the 4 MiB of a request."""

PAUSE_SECONDS_FIRST: Final = 0.1
PAUSE_SECONDS_MAX: Final = 15.0
"""Between two passes of which the first left something: doubled from the first to the longest. A
gateway that comes back is found within the longest."""

ASKED_SECONDS_MAX: Final = 300.0
"""The longest pause that somebody else may ask for (`Retry-After`): a mistyped hour must not stop
the billing of one."""

END_SECONDS: Final = 6.0
"""How long a stopped thread may take to notice and to disconnect. A request that hangs longer is
left behind; what it carried stays in the spool."""


@dataclass(frozen=True, slots=True)
class Status:
    """How sending stands. `fault` is what the last try ended with, '' where all went well."""

    waiting: int
    waiting_bytes: int
    sent: int
    refused: int
    fault: str


class Forwarder:
    """Sends what the spool holds, from `start` to `stop`. Both ends may be used from any thread."""

    def __init__(
        self,
        spool: Spool,
        sender: Sender,
        *,
        pause_seconds: tuple[float, float] = (PAUSE_SECONDS_FIRST, PAUSE_SECONDS_MAX),
    ) -> None:
        self._spool = spool
        self._sender = sender
        self._pauses = pause_seconds
        self._thread = threading.Thread(target=self._run, name="tollgate-spool", daemon=True)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken: asyncio.Event | None = None
        self._main: asyncio.Task[None] | None = None
        self._over = False
        self._tries = 0
        self._sent = 0
        self._refused = 0
        self._fault = ""

    @property
    def status(self) -> Status:
        """How it stands now."""
        spool = self._spool
        return Status(spool.waiting, spool.waiting_bytes, self._sent, self._refused, self._fault)

    def start(self) -> None:
        """Begins with what an earlier process left."""
        self._thread.start()
        self._ready.wait()

    def wake(self) -> None:
        """Something was appended."""
        loop, woken = self._loop, self._woken
        if loop is not None and woken is not None and not self._over:
            # The loop may have closed just now: whoever opens the spool next sends it.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(woken.set)

    def flush(self, seconds: float | None) -> None:
        """Returns when everything that is in the spool now has left it: in the log, or refused.

        Raises NotDeliveredError after `seconds`, or when it is stopped meanwhile.
        """
        spool = self._spool
        if not spool.wait_settled(spool.last_sequence, seconds, lambda: self._over):
            raise NotDeliveredError(spool.waiting, self._fault)

    def stop(self) -> None:
        """Ends sending; what is under way is given up and stays in the spool."""
        self._over = True
        loop, main = self._loop, self._main
        if loop is not None and main is not None and self._thread.is_alive():
            # The loop may have closed just now.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(main.cancel)
        if self._thread.ident is not None:
            self._thread.join(END_SECONDS)
        self._spool.wake_waiters()

    # --- the thread ---

    def _run(self) -> None:
        try:
            asyncio.run(self._forward())
        except (asyncio.CancelledError, SpoolClosedError):
            pass
        except Exception as fault:  # noqa: BLE001 - a thread must not end without a word
            self._fault = f"sending has ended: {type(fault).__name__}"
            log.error("%s; what waits is in %s", self._fault, self._spool.directory)
        finally:
            self._over = True
            self._ready.set()
            self._spool.wake_waiters()

    async def _forward(self) -> None:
        self._loop, self._main = asyncio.get_running_loop(), asyncio.current_task()
        self._woken = woken = asyncio.Event()
        self._ready.set()
        try:
            while not self._over:
                woken.clear()
                left = await self._pass()
                if left is None:
                    await woken.wait()
                else:
                    await asyncio.sleep(self._pause(left))
        finally:
            await self._sender.close()

    async def _pass(self) -> Later | None:
        """Offers every event that waits now. Returns why some were left, None for none."""
        until, after, left = self._spool.last_sequence, 0, None
        while not self._over:
            batch = self._spool.take(after, until, BATCH_RECORDS_MAX, BATCH_BYTES_MAX)
            if not batch:
                break
            outcomes = await self._outcomes(batch)
            self._settle(batch, outcomes)
            kept = [outcome for outcome in outcomes if isinstance(outcome, Later)]
            if kept:
                longest = max(kept, key=lambda later: later.after_seconds)
                left = longest if left is None or len(kept) == len(batch) else left
                self._tell(longest.reason)
            if len(kept) == len(batch):
                # Nobody takes anything: the rest would only be refused the same way.
                break
            self._tries = 0
            after = batch[-1].sequence
        if left is None:
            self._tell("")
        return left

    async def _outcomes(self, batch: Sequence[Spooled]) -> Sequence[Outcome]:
        try:
            outcomes = await self._sender.send(batch)
        except Exception as fault:  # noqa: BLE001 - a sender's own fault loses nothing: later again
            return [Later(f"the sender failed: {type(fault).__name__}")] * len(batch)
        if len(outcomes) != len(batch):
            return [Later("the sender told too few outcomes")] * len(batch)
        return outcomes

    def _settle(self, batch: Sequence[Spooled], outcomes: Sequence[Outcome]) -> None:
        pairs = list(zip(batch, outcomes, strict=True))
        sent = [record for record, outcome in pairs if outcome is None]
        refused = [(record, outcome) for record, outcome in pairs if isinstance(outcome, Refused)]
        if not sent and not refused:
            return
        for record, refusal in refused:
            log.warning(
                "an event of %s was refused (%s); see refused.jsonl", record.topic, refusal.code
            )
        self._spool.settle(sent, refused)
        self._sent += len(sent)
        self._refused += len(refused)

    def _pause(self, left: Later) -> float:
        """How long nothing is tried: longer each time, spread, never less than was asked for."""
        first, longest = self._pauses
        seconds = min(first * 2.0 ** min(self._tries, 16), longest)
        self._tries += 1
        spread = seconds * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, hides nothing
        return max(spread, min(left.after_seconds, ASKED_SECONDS_MAX))

    def _tell(self, fault: str) -> None:
        if fault and fault != self._fault:
            log.warning("events wait in the spool: %s", fault)
        elif self._fault and not fault:
            log.info("events are sent again")
        self._fault = fault
