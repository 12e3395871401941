"""The gateway's view of the ledger's rows: ClickHouse asked from threads, connected to when it is
first needed."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from streams.adapters.clickhouse import ClickHouse
from streams.app.warehouse import clickhouse
from streams.errors import TransientError
from streams.invoicing.statement import NEWEST, entries_before
from streams.settings import Settings

QUERIES_MAX: Final = 4
"""Queries at once. Each takes a thread; statements must not keep those from other work."""

WAIT_SECONDS_MAX: Final = 2.0
"""How long a request waits for its turn."""


class ClickHouseEntries:
    """`Entries` of `streams.gateway.ports`."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is connected yet: a gateway runs without ClickHouse."""
        self._settings = settings
        self._turns = asyncio.Semaphore(QUERIES_MAX)
        self._connecting = asyncio.Lock()
        self._connected: ClickHouse | None = None

    async def entries(
        self, customer_id: str, before: tuple[int, int] | None, rows_max: int
    ) -> Sequence[Mapping[str, Any]]:
        """See `streams.gateway.ports.Entries`."""
        try:
            async with asyncio.timeout(WAIT_SECONDS_MAX):
                await self._turns.acquire()
        except TimeoutError:
            raise TransientError(
                f"{QUERIES_MAX} statements are being read already",
                action="Ask again a little later.",
            ) from None
        try:
            warehouse = await self._warehouse()
            return await asyncio.to_thread(
                entries_before, warehouse, customer_id, before or NEWEST, rows_max
            )
        finally:
            self._turns.release()

    async def _warehouse(self) -> ClickHouse:
        async with self._connecting:
            if self._connected is None:
                self._connected = await asyncio.to_thread(clickhouse, self._settings, analyst=True)
            return self._connected

    def close(self) -> None:
        """Closes the connection, if there is one."""
        if self._connected is not None:
            self._connected.close()
            self._connected = None
