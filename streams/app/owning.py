"""What a worker answers, put together: the owners of its partitions, the hop on which gateways of
other processes ask them, their announcement, and a gateway inside where one is wanted.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from schemas.rpc import Answer, Ask
from streams.adapters.hop import HopServer
from streams.adapters.lease_log import KafkaLeaseLog
from streams.adapters.owners import OwnerAnnouncer
from streams.agents.groups import GROUP_SECONDS_MIN
from streams.agents.lease import Surroundings, Tables
from streams.agents.preflights import OwnerDesk
from streams.app.gateway import GatewayHost
from streams.domain.facts import SourceRecord
from streams.errors import TollgateError
from streams.ports import Catalog, Clock
from streams.settings import Settings

log = logging.getLogger(__name__)

NONCE_BYTES: Final = 8
"""Two owners draw the same nonce once in 10**19 takes; it only has to differ from that of a lease
that was cut off the log."""


class Owning:
    """The answering side of a worker. `start` before the first partition is fenced."""

    def __init__(
        self,
        settings: Settings,
        bootstrap: str,
        *,
        tables: Tables,
        catalog: Catalog,
        clock: Clock,
        hand_over: Callable[[int, Sequence[SourceRecord]], None],
        waiting_since_us: Callable[[int], int | None],
        generation: Callable[[], int],
        halt: Callable[[BaseException], Any],
    ) -> None:
        """Nothing is connected yet."""
        prefix, secret = settings.topic_prefix, settings.hop_secret
        self._settings = settings
        self._clock = clock
        self._generation = generation
        self._halt = halt
        self._hop = HopServer(
            settings.hop_listen,
            self,
            secret=None if secret is None else secret.get_secret_value().encode(),
        )
        self._announcer = OwnerAnnouncer(bootstrap, prefix)

        def make_desk(address: str) -> OwnerDesk:
            return OwnerDesk(
                Surroundings(
                    log=KafkaLeaseLog(bootstrap, settings.app_id, prefix),
                    tables=tables,
                    catalog=catalog,
                    clock=clock,
                    hand_over=hand_over,
                    waiting_since_us=waiting_since_us,
                    halt=halt,
                    nonce=lambda: secrets.token_hex(NONCE_BYTES),
                    address=address,
                    group_seconds_min=GROUP_SECONDS_MIN,
                )
            )

        self._make_desk = make_desk
        self._desk: OwnerDesk | None = None
        self._gateway: GatewayHost | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def desk(self) -> OwnerDesk:
        """The owners, once `start` has returned."""
        assert self._desk is not None, "asked before its start"
        return self._desk

    @property
    def is_asked(self) -> bool:
        """Whether somebody waits for an answer, or has asked within a second."""
        return self._desk is not None and self._desk.is_asked

    async def ask(self, partition: int, ask: Ask, timeout_seconds: float) -> Answer:
        """The answer of the partition's owner, as the hop and a gateway inside want it."""
        return await self.desk.ask(partition, ask, timeout_seconds)

    async def release(self) -> None:
        """Gives the leases up, where there are any yet."""
        if self._desk is not None:
            await self._desk.release()

    async def start(self) -> None:
        """Listens, announces, serves. Does nothing where that is under way. Raises SetupError and
        TransientError."""
        if self._desk is not None:
            return
        address = await self._hop.start()
        self._desk = desk = self._make_desk(address)
        await self._announcer.start()
        self._follow(desk.run())
        self._follow(
            self._announcer.announce_leases(
                lambda: desk.leases,
                generation=self._generation,
                address=address,
                now_us=self._clock.now_us,
            )
        )
        if self._settings.gateway_listen is not None:
            self._gateway = gateway = GatewayHost(
                self._settings, self._settings.gateway_listen, local=(address, self)
            )
            self._follow(self._serve(gateway))

    async def _serve(self, gateway: GatewayHost) -> None:
        log.info("gateway: listening on %s", await gateway.start())
        await gateway.watch()

    def _follow(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs work in the background whose failure is this process's."""
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._halt(fault)

    async def stop(self) -> None:
        """Answers what is under way, then closes everything."""
        if self._gateway is not None:
            await self._gateway.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(TollgateError):
            await self._hop.stop()
            await self._announcer.stop()
            if self._desk is not None:
                await self._desk.release()
