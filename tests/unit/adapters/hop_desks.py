"""Desks, directories and both ends of a hop for its tests."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from schemas.rpc import (
    AccountAnswer,
    Answer,
    Ask,
    ErrorAnswer,
    Freshness,
    LookupAsk,
    PreflightAsk,
)
from schemas.structs import Owner
from streams.adapters.hop import HopServer, RemoteOwners

SECRET = b"a secret of the tests"
FRESH = Freshness(1, 0, 1, 0, 0, 0, 0, 0, 0)
SECONDS = 5.0
"""A deadline that no passing test comes near."""


def lookup(account_id: str = "c") -> LookupAsk:
    return LookupAsk(account_kind="customer", account_id=account_id)


def preflight(account_id: str = "c") -> PreflightAsk:
    return PreflightAsk(
        account_kind="customer", account_id=account_id, source="s", idempotency_key="k"
    )


def told(ask: Ask) -> AccountAnswer:
    return AccountAnswer(ask.account_kind, ask.account_id, True, [], [], FRESH)


class FakeDesk:
    """Answers with the account that was asked for; `answers` may do something else instead."""

    def __init__(
        self, answers: Callable[[int, Ask, float], Awaitable[Answer]] | None = None
    ) -> None:
        self.asked: list[tuple[int, Ask, float]] = []
        self._answers = answers

    async def ask(self, partition: int, ask: Ask, timeout_seconds: float) -> Answer:
        self.asked.append((partition, ask, timeout_seconds))
        if self._answers is not None:
            return await self._answers(partition, ask, timeout_seconds)
        return told(ask)


class FakeBook:
    """A directory whose news are heard at the next refresh."""

    def __init__(self, address: str = "") -> None:
        self.known: dict[int, Owner] = {}
        self.news: dict[int, Owner] = {}
        self.refreshed = 0
        if address:
            self.known[0] = owner(address)

    def owner_of(self, partition: int) -> Owner | None:
        return self.known.get(partition)

    async def refresh(self) -> None:
        self.refreshed += 1
        self.known |= self.news


def owner(address: str, lease: int = 1) -> Owner:
    return Owner(
        schema_version=1,
        partition=0,
        generation=1,
        address=address,
        lease=lease,
        nonce="0" * 16,
        since=0,
    )


@asynccontextmanager
async def serving(desk: Any, **more: Any) -> AsyncIterator[tuple[HopServer, str]]:
    server = HopServer("127.0.0.1:0", desk, **more)
    address = await server.start()
    try:
        yield server, address
    finally:
        await server.stop()


@asynccontextmanager
async def asking(book: FakeBook, **more: Any) -> AsyncIterator[RemoteOwners]:
    owners = RemoteOwners(book, **more)
    try:
        yield owners
    finally:
        await owners.close()


async def dead_address() -> str:
    """An address of this machine at which nothing listens."""
    server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return f"127.0.0.1:{port}"


def code_of(answer: Answer) -> str:
    """The code of an ErrorAnswer, nothing for others."""
    return answer.code if isinstance(answer, ErrorAnswer) else ""
