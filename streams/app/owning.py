"""What a worker answers, put together: the owners of its partitions, the hop on which gateways of
other processes ask them, their announcement, and a gateway inside where one is wanted.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final

from schemas.client.kafka_access import Bootstrap
from schemas.rpc import Answer, Ask
from streams.adapters.hop import HopServer
from streams.adapters.lease_log import KafkaLeaseLog
from streams.adapters.owners import OwnerAnnouncer
from streams.adapters.spans import Spans
from streams.agents.groups import GROUP_SECONDS_MIN
from streams.agents.lease import Surroundings, Tables
from streams.agents.preflights import OwnerDesk
from streams.domain.facts import SourceRecord
from streams.errors import TollgateError
from streams.metrics import Metrics
from streams.ports import Catalog, Clock
from streams.settings import Settings

if TYPE_CHECKING:
    from streams.app.gateway import GatewayHost

log = logging.getLogger(__name__)

NONCE_BYTES: Final = 8
"""Two owners draw the same nonce once in 10**19 takes; it only has to differ from that of a lease
that was cut off the log."""


class Owning:
    """The answering side of a worker. `start` before the first partition is fenced."""

    def __init__(
        self,
        settings: Settings,
        bootstrap: Bootstrap,
        *,
        tables: Tables,
        catalog: Catalog,
        clock: Clock,
        hand_over: Callable[[int, Sequence[SourceRecord]], None],
        waiting_since_us: Callable[[int], int | None],
        generation: Callable[[], int],
        halt: Callable[[BaseException], Any],
        metrics: Metrics,
        spans: Spans | None,
    ) -> None:
        """Nothing is connected yet."""
        self._metrics = metrics
        self._spans = spans
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
                ),
                self._metrics,
            )

        self._make_desk = make_desk
        self._desk: OwnerDesk | None = None
        self._make_gateway = None if settings.gateway_listen is None else self._gateway_maker()
        self._gateway: GatewayHost | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def _gateway_maker(self) -> "Callable[[str], GatewayHost]":
        # Loaded here: it is a quarter of all modules, and most workers have no gateway.
        from streams.app.gateway import GatewayHost

        settings, listen = self._settings, self._settings.gateway_listen
        assert listen is not None, "only who has a gateway makes one"
        seen = (self._metrics, self._spans)
        return lambda address: GatewayHost(settings, listen, *seen, local=(address, self))

    @property
    def desk(self) -> OwnerDesk:
        """The owners, once `start` has returned."""
        assert self._desk is not None, "asked before its start"
        return self._desk

    @property
    def open_holds(self) -> int:
        """Holds that are open in the owned partitions."""
        return 0 if self._desk is None else self._desk.open_holds

    @property
    def leases(self) -> int:
        """Owned partitions that answer."""
        return 0 if self._desk is None else len(self._desk.leases)

    @property
    def connections(self) -> int:
        """Gateways of other processes that are connected to the hop."""
        return len(self._hop.connections)

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
        if self._make_gateway is not None:
            self._gateway = gateway = self._make_gateway(address)
            self._follow(self._serve(gateway))

    async def _serve(self, gateway: "GatewayHost") -> None:
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
