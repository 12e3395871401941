"""One connection from a gateway to an owner, with any number of asks under way on it.

Owns numbers, waiting and the loss of a connection. Which owner to ask, and how often, is for `hop`.
"""

import asyncio
from typing import Final

from streams.adapters.frames import (
    ANSWER_BYTES_MAX,
    ConnectingEnd,
    HopLimits,
    split_address,
)
from streams.errors import SetupError

SILENCE_SECONDS_MAX: Final = 2.0
"""An owner that has answered nothing at all for so long while asks wait is taken for gone, and the
next ask opens a new connection: a host that lost its power never closes one. A cycle holds the loop
of an owner up for some tens of milliseconds."""

NUMBERS: Final = 1 << 32
"""Numbers of frames, given out in turn; an ask is long forgotten when its number comes again."""

RECONNECT_SECONDS: Final = 0.1
"""After an attempt to connect that failed, asks fail at once for so long: a thousand of them must
not knock a thousand times at a door that is shut."""


class UnreachableError(Exception):
    """There is no connection to that address now: nothing was asked."""


class LostError(Exception):
    """The connection was lost while an answer was due: what became of the ask is not known."""


class OverloadedError(Exception):
    """More asks are under way than the connection takes: nothing was asked."""


class Link(ConnectingEnd):
    """A connection to the owner at one address."""

    def __init__(self, limits: HopLimits, secret: bytes | None) -> None:
        """`established` is done once both ends know each other, or the connection is lost."""
        super().__init__(ANSWER_BYTES_MAX, secret)
        self.established = self.loop.create_future()
        self._limits = limits
        self._number = 0
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._waiting_since = 0.0

    @property
    def asks_under_way(self) -> int:
        """Asks whose answer somebody waits for."""
        return len(self._waiting)

    async def ask(self, payload: bytes, deadline: float) -> bytes:
        """The payload of the answer.

        Raises TimeoutError at the deadline (time of the loop), LostError, OverloadedError. However
        it ends, cancelled too, nothing of the ask is left here.
        """
        now = self.loop.time()
        if self.overdue(self._limits, now):
            self.break_off("the owner does not read")
        if not self.is_open:
            raise LostError(self.fault or "the owner closed the connection")
        if self.stalled_since is not None or len(self._waiting) >= self._limits.frames_in_flight:
            raise OverloadedError(f"{len(self._waiting)} asks are under way")
        if not self._waiting:
            self._waiting_since = now
        number = self._next_number()
        answer: asyncio.Future[bytes] = self.loop.create_future()
        self._waiting[number] = answer
        timer = self.loop.call_at(deadline, self._give_up, answer)
        try:
            self.send(number, payload)
            return await answer
        finally:
            timer.cancel()
            self._waiting.pop(number, None)

    def _next_number(self) -> int:
        while True:
            self._number = (self._number + 1) % NUMBERS
            if self._number not in self._waiting:
                return self._number

    def _give_up(self, answer: "asyncio.Future[bytes]") -> None:
        if not answer.done():
            answer.set_exception(TimeoutError())
        if self.loop.time() - max(self.heard_at, self._waiting_since) > SILENCE_SECONDS_MAX:
            self.break_off("the owner has fallen silent")

    def greeted(self) -> None:
        """See Framed."""
        super().greeted()
        if not self.established.done():
            self.established.set_result(None)

    def frame_received(self, number: int, payload: bytes) -> None:
        """See Framed. The answer to an ask that was given up is of no interest any more."""
        answer = self._waiting.pop(number, None)
        if answer is not None and not answer.done():
            answer.set_result(payload)

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.BufferedProtocol."""
        super().connection_lost(error)
        if not self.established.done():
            self.established.set_result(None)
        waiting, self._waiting = self._waiting, {}
        for answer in waiting.values():
            if not answer.done():
                answer.set_exception(LostError(self.fault or "the owner closed the connection"))


class Links:
    """The connections of a gateway, one to each owner, opened when they are needed."""

    def __init__(self, limits: HopLimits, secret: bytes | None) -> None:
        """Nothing is opened yet."""
        self._limits = limits
        self._secret = secret
        self._open: dict[str, Link] = {}
        self._opening: dict[str, asyncio.Task[Link | str]] = {}
        self._shut: dict[str, tuple[float, str]] = {}

    async def to(self, address: str) -> Link:
        """The connection to an address. Raises UnreachableError."""
        link = self._open.get(address)
        if link is not None and link.is_open:
            return link
        until, why = self._shut.get(address, (0.0, ""))
        if asyncio.get_running_loop().time() < until:
            raise UnreachableError(why)
        opening = self._opening.get(address)
        if opening is None:
            opening = asyncio.create_task(self._connect(address))
            self._opening[address] = opening
            opening.add_done_callback(lambda _task: self._opening.pop(address, None))
        # Whoever gives up waiting must not take the connection from the others that wait for it.
        found = await asyncio.shield(opening)
        if isinstance(found, str):
            raise UnreachableError(found)
        return found

    async def _connect(self, address: str) -> Link | str:
        """A connection whose greeting is over, or why there is none."""
        loop = asyncio.get_running_loop()
        link = Link(self._limits, self._secret)
        try:
            host, port = split_address(address)
            async with asyncio.timeout(self._limits.greeting_seconds):
                await loop.create_connection(lambda: link, host, port)
                await link.established
            why = "" if link.is_greeted and link.is_open else link.fault or "it hung up"
        except TimeoutError:
            why = f"no answer within {self._limits.greeting_seconds:g} s"
        except SetupError as error:
            why = error.message
        except OSError as error:
            why = str(error)
        except asyncio.CancelledError:
            link.break_off("nobody waits for it any more")
            raise
        now = loop.time()
        self._shut = {at: shut for at, shut in self._shut.items() if shut[0] > now}
        if why:
            link.break_off(why)
            self._shut[address] = (now + RECONNECT_SECONDS, why)
            return why
        self._open = {at: other for at, other in self._open.items() if other.is_open}
        self._open[address] = link
        return link

    async def close(self) -> None:
        """Closes all of them; asks under way are lost."""
        for opening in list(self._opening.values()):
            opening.cancel()
        await asyncio.gather(*self._opening.values(), return_exceptions=True)
        for link in self._open.values():
            link.close()
        self._open.clear()
