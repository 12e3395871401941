"""The hop between a gateway and the owners of partitions: `HopServer` where an owner answers,
`RemoteOwners` where a gateway asks.

Asks and answers are those of `schemas.rpc`, many under way on one connection (`frames`). An ask's
payload begins with its partition and the milliseconds that are left for it. Listens on loopback
unless both ends share a secret, because what crosses decides about money.
"""

import asyncio
import ipaddress
import logging
import struct
from typing import Final, Protocol, cast

from schemas import codec
from schemas.rpc import Answer, Ask, AwaitAsk, ErrorAnswer, LookupAsk
from schemas.structs import Owner
from streams.adapters.frames import (
    ANSWER_BYTES_MAX,
    ASK_BYTES_MAX,
    AcceptingEnd,
    FrameError,
    HopLimits,
    check_secret,
    join_address,
    split_address,
)
from streams.adapters.links import Links, LostError, OverloadedError, UnreachableError
from streams.errors import SetupError

log = logging.getLogger(__name__)

LISTEN: Final = "127.0.0.1:0"
"""Where an owner listens unless it is told: on loopback, on a port that is free."""

ASK_HEAD: Final = struct.Struct("<II")
"""Partition, and the milliseconds in which the ask is to be answered."""

ASK_SECONDS_MAX: Final = 30.0
"""The longest that an ask may take, whatever it says; nobody waits longer for an HTTP answer."""

OVERTIME_SECONDS: Final = 1.0
"""What a desk may take beyond an ask's own time before the ask is ended from outside."""

ANSWER_MARGIN_SECONDS: Final = 0.02
"""An owner is told to answer so much before the gateway stops waiting, so that its own word about a
late decision arrives: the way back and a busy loop's usual pause."""

REFRESH_SECONDS_MAX: Final = 1.0
"""How long an ask waits for news about owners before it is answered that nobody is there."""

RETRY_MS: Final = 100
"""After so long asking again may help: a hand-over takes some hundreds of milliseconds."""


class Desk(Protocol):
    """Whoever answers for partitions in this process."""

    async def ask(self, partition: int, ask: Ask, timeout_seconds: float) -> Answer:
        """The answer; an ErrorAnswer for a partition that is not here."""
        ...


class AddressBook(Protocol):
    """Who answers for which partition, as far as this process has heard."""

    def owner_of(self, partition: int) -> Owner | None:
        """The owner that holds the latest lease announced, None where none has been."""
        ...

    async def refresh(self) -> None:
        """Returns when everything announced before this call has been heard."""
        ...


# --- where an owner answers ----------------------------------------------------------------------


class HopServer:
    """Takes asks on a TCP address and gives them to a desk."""

    def __init__(
        self,
        listen: str,
        desk: Desk,
        *,
        secret: bytes | None = None,
        limits: HopLimits | None = None,
    ) -> None:
        """Raises SetupError for an address beyond loopback without a secret."""
        check_secret(secret)
        host, port = split_address(listen)
        if secret is None and not _is_loopback(host):
            raise SetupError(
                f"owners would listen on {host} without a secret: anybody who reaches it could "
                "place and release holds",
                action="Set the secret of the hop on every gateway and worker, or listen on "
                "127.0.0.1.",
            )
        if _is_unspecified(host):
            raise SetupError(
                f"owners would announce {host}, which leads nobody to this machine",
                action="Listen on an address or a name under which gateways reach this machine.",
            )
        self.desk = desk
        self.secret = secret
        self.limits = limits or HopLimits()
        self.connections: set[_Connection] = set()
        self._place = (host, port)
        self._under_way: dict[asyncio.Task[Answer], float] = {}
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> str:
        """Listens, and returns the address with its port. Raises SetupError."""
        host, port = self._place
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: _Connection(self), host, port)
        except OSError as error:
            raise SetupError(
                f"owners cannot listen on {join_address(host, port)}: {error.strerror or error}",
                action="Choose a free address of this machine.",
            ) from error
        self._sweeper = asyncio.create_task(self._sweep())
        return join_address(host, self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Takes no more asks, and ends those under way without an answer."""
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.break_off("the owner stops")
        ending: list[asyncio.Task[Answer] | asyncio.Task[None]] = list(self._under_way)
        ending += [] if self._sweeper is None else [self._sweeper]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()

    def begin(self, partition: int, ask: Ask, timeout_seconds: float) -> "asyncio.Task[Answer]":
        """Gives an ask to the desk."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(self.desk.ask(partition, ask, timeout_seconds))
        self._under_way[task] = loop.time() + timeout_seconds + OVERTIME_SECONDS
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[Answer]") -> None:
        self._under_way.pop(task, None)

    async def _sweep(self) -> None:
        """Closes connections that keep us waiting, and ends asks that outlive their time."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.limits.sweep_seconds)
            now = loop.time()
            for connection in list(self.connections):
                why = connection.overdue(self.limits, now)
                if why:
                    connection.break_off(why)
            for task, until in list(self._under_way.items()):
                if now > until:
                    task.cancel()


class _Connection(AcceptingEnd):
    """A gateway that asks."""

    def __init__(self, server: HopServer) -> None:
        super().__init__(ASK_BYTES_MAX, server.secret)
        self._hop = server
        self._numbers: set[int] = set()
        self._reading: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._reading = cast(asyncio.Transport, transport)
        self._hop.connections.add(self)
        if len(self._hop.connections) > self._hop.limits.connections:
            self.break_off("too many connections")

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._hop.connections.discard(self)
        if self.fault and self.fault != "the owner stops":
            log.warning("a gateway's connection ended: %s", self.fault)

    def pause_writing(self) -> None:
        # Who does not read our answers asks nothing more.
        super().pause_writing()
        if self._reading is not None and self.is_open:
            self._reading.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._reading is not None and self.is_open:
            self._reading.resume_reading()

    def overdue(self, limits: HopLimits, now: float) -> str:
        if not self._numbers and now - self.heard_at > limits.idle_seconds:
            self.close()
            return ""
        return super().overdue(limits, now)

    def frame_received(self, number: int, payload: bytes) -> None:
        if len(payload) < ASK_HEAD.size or number in self._numbers:
            raise FrameError("an ask without a head, or a number that is still under way")
        if len(self._numbers) >= self._hop.limits.frames_in_flight:
            self._answer(number, _error("overloaded", "too many asks are under way", RETRY_MS))
            return
        partition, timeout_ms = ASK_HEAD.unpack_from(payload)
        try:
            ask = codec.decode_ask(payload[ASK_HEAD.size :])
        except (ValueError, RecursionError):
            self._answer(number, _error("invalid", "the ask cannot be read"))
            return
        self._numbers.add(number)
        task = self._hop.begin(partition, ask, min(timeout_ms / 1000, ASK_SECONDS_MAX))
        task.add_done_callback(lambda done: self._ended(number, done))

    def _ended(self, number: int, task: "asyncio.Task[Answer]") -> None:
        self._numbers.discard(number)
        if task.cancelled():
            self._answer(number, _error("unknown_outcome", "there was no answer in time", RETRY_MS))
        elif (error := task.exception()) is not None:
            log.error("an ask could not be answered", exc_info=error)
            self._answer(number, _error("unknown_outcome", "the owner had a fault", RETRY_MS))
        else:
            self._answer(number, task.result())

    def _answer(self, number: int, answer: Answer) -> None:
        payload = codec.encode(answer)
        if len(payload) > ANSWER_BYTES_MAX:
            payload = codec.encode(_error("invalid", "the answer is too large for one frame"))
        self.send(number, payload)


# --- where a gateway asks ------------------------------------------------------------------------


class RemoteOwners:
    """The owners of all partitions: those of other processes over the hop, and a desk of this one,
    if there is one, without."""

    def __init__(
        self,
        directory: AddressBook,
        *,
        secret: bytes | None = None,
        local: tuple[str, Desk] | None = None,
        limits: HopLimits | None = None,
    ) -> None:
        """`local` is the address that this process announces, and the desk behind it. Raises
        SetupError for a secret that could be guessed."""
        check_secret(secret)
        self._directory = directory
        self._local = local
        self._links = Links(limits or HopLimits(), secret)

    async def close(self) -> None:
        """Closes the connections; asks under way are answered as unknown."""
        await self._links.close()

    async def ask(self, partition: int, ask: Ask, timeout_seconds: float) -> Answer:
        """The owner's answer within this time, an ErrorAnswer for everything else.

        Where the owner is another one by now, or the connection was lost, it is asked once more.
        Every ask may be: one with the same key is the same decision.
        """
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        owner = self._directory.owner_of(partition)
        if owner is None and self._local is None:
            owner = await self._newer(partition, None, deadline)
            if owner is None:
                return _nobody(partition)
        first, is_lost = await self._ask_once(owner, partition, ask, deadline)
        if not (is_lost or (isinstance(first, ErrorAnswer) and first.code == "not_mine")):
            return first
        newer = await self._newer(partition, owner, deadline)
        if newer == owner and not is_lost:
            return first
        second, _ = await self._ask_once(newer, partition, ask, deadline)
        # What the first ask left behind may stand; only a decision says more than that.
        return first if is_lost and isinstance(second, ErrorAnswer) else second

    async def _newer(self, partition: int, known: Owner | None, deadline: float) -> Owner | None:
        """The owner after everything announced by now has been heard, within reason."""
        left = deadline - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(max(min(left, REFRESH_SECONDS_MAX), 0)):
                await self._directory.refresh()
        except TimeoutError:
            return known
        return self._directory.owner_of(partition)

    async def _ask_once(
        self, owner: Owner | None, partition: int, ask: Ask, deadline: float
    ) -> tuple[Answer, bool]:
        """The answer, and whether the connection was lost while it was due."""
        left = deadline - asyncio.get_running_loop().time()
        if self._local is not None and (owner is None or owner.address == self._local[0]):
            return await self._local[1].ask(partition, ask, max(left, 0)), False
        if owner is None:
            return _nobody(partition), False
        left -= ANSWER_MARGIN_SECONDS
        if left <= 0:
            return _late(ask), False
        payload = ASK_HEAD.pack(partition, int(left * 1000)) + codec.encode(ask)
        if len(payload) > ASK_BYTES_MAX:
            return _error("invalid", "the ask is too large for one frame"), False
        try:
            async with asyncio.timeout_at(deadline):
                link = await self._links.to(owner.address)
            return codec.decode_answer(await link.ask(payload, deadline)), False
        except TimeoutError:
            return _late(ask), False
        except UnreachableError as error:
            why = f"the owner at {owner.address} cannot be reached: {error}"
            return _error("not_mine", why, RETRY_MS), False
        except LostError as error:
            why = f"the connection to {owner.address} was lost: {error}"
            return _error("unknown_outcome", why, RETRY_MS), True
        except OverloadedError as error:
            return _error("overloaded", str(error), RETRY_MS), False
        except ValueError:
            return _error("unknown_outcome", f"{owner.address} gave an answer that is none"), False


def _late(ask: Ask) -> ErrorAnswer:
    """What is answered when the time is over: what may have been decided is not known."""
    if isinstance(ask, AwaitAsk | LookupAsk):
        return _error("overloaded", "the owner did not answer in time", RETRY_MS)
    return _error("unknown_outcome", "the owner did not answer in time", RETRY_MS)


def _nobody(partition: int) -> ErrorAnswer:
    return _error("not_ready", f"nobody has taken partition {partition} yet", RETRY_MS)


def _error(code: str, message: str, retry_after_ms: int = 0) -> ErrorAnswer:
    return ErrorAnswer(code=code, message=message, retry_after_ms=retry_after_ms)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_unspecified(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
