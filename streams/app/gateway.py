"""The gateway, put together: its application, its ports on Kafka and on the hop, its server.

`GatewayHost` is all of it in one process: a worker gives it its own desk and runs it inside,
`run_gateway` is the process of `tollgate gateway`.
"""

import asyncio
import ipaddress
import logging
import random
import secrets
import signal
import socket
import time
from collections.abc import Callable
from typing import Final

import uvloop

from schemas.topics import CATALOG
from streams.adapters.clock import SystemClock
from streams.adapters.hop import Desk, RemoteOwners
from streams.adapters.inbound import KafkaInbound
from streams.adapters.key_feed import KeyFeed
from streams.adapters.logs import logging_restored
from streams.adapters.owners import OwnerDirectory
from streams.adapters.spans import Spans
from streams.app.addresses import kafka_bootstrap
from streams.app.asks import LogAsks
from streams.app.garbage import look_for_garbage_seldom
from streams.app.generations import check_topics
from streams.app.keys import check_exposed, keep_uses, key_ring
from streams.app.observed import Observed
from streams.app.paid import PaidCatalogue
from streams.app.statement import ClickHouseEntries
from streams.app.traced import TracedGateway, TracedInbound, TracedOwners
from streams.errors import FaultError, SetupError
from streams.gateway import agentbill, autohive, charge_tokens, native, otlp, paid
from streams.gateway.app import Gateway
from streams.gateway.asking import Asking
from streams.gateway.keys import BEHIND_SECONDS_MAX
from streams.gateway.ports import Appended
from streams.gateway.routes import Route
from streams.gateway.server import DRAIN_SECONDS, GatewayServer, listen, make_server
from streams.gateway.services import Services
from streams.metrics import GATEWAY_CATALOG_BEHIND, GATEWAY_CERTIFICATE_ENDS, Metrics, metrics_of
from streams.settings import Settings
from streams.shipped import version
from streams.tls import ServedCertificate

log = logging.getLogger(__name__)

DEFAULT_LISTEN: Final = "127.0.0.1:8480"
"""Where `tollgate gateway` listens unless it is told."""

WATCH_SECONDS: Final = 1.0
"""How often a gateway looks whether what it was started on is still so."""

STOP_SECONDS_MAX: Final = DRAIN_SECONDS + 2.0
"""How long the server may take to answer what is under way when it stops."""


def all_routes() -> tuple[Route, ...]:
    """Every protocol that the gateway speaks."""
    return (
        *native.ROUTES,
        *agentbill.ROUTES,
        *charge_tokens.ROUTES,
        *autohive.ROUTES,
        *otlp.ROUTES,
        *paid.ROUTES,
    )


class RecordedTopics:
    """`Directory` of the gateway: the generation of the topics that the catalog holds."""

    def __init__(self, feed: KeyFeed) -> None:
        """The feed has to be started."""
        recorded = feed.view.generation
        if recorded is None:
            raise SetupError(
                f"the topic {CATALOG.name} holds no generation",
                action="Run `tollgate topics create`.",
            )
        self.record = recorded
        self.generation = recorded.generation
        self.partitions = recorded.partitions


class GatewayHost:
    """A gateway in this process: `start`, then `watch` until it is told to `stop`."""

    def __init__(
        self,
        settings: Settings,
        address: str,
        metrics: Metrics | None = None,
        spans: Spans | None = None,
        *,
        local: tuple[str, Desk] | None = None,
    ) -> None:
        """Nothing is connected yet.

        `address` is host:port; `local` the hop address that this process announces and the desk
        behind it, where it owns partitions itself.
        """
        bootstrap, prefix = kafka_bootstrap(settings), settings.topic_prefix
        secret = settings.hop_secret
        self._settings = settings
        self._metrics = metrics or metrics_of("gateway")
        self._spans = spans
        self._bootstrap = bootstrap
        self._address = address
        self._host, self._port = split_listen(address)
        self._feed = KeyFeed(bootstrap, prefix, SystemClock())
        self._directory = OwnerDirectory(bootstrap, prefix)
        self._paid = PaidCatalogue(bootstrap, prefix)
        self._owners = RemoteOwners(
            self._directory,
            secret=None if secret is None else secret.get_secret_value().encode(),
            local=local,
        )
        self._entries = ClickHouseEntries(settings)
        self._certificate: ServedCertificate | None = None
        self._bound: socket.socket | None = None
        self._following = False
        self._server: GatewayServer | None = None
        self._serving: asyncio.Task[None] | None = None
        self._using: asyncio.Task[None] | None = None
        self._inbound: KafkaInbound[Appended] | None = None
        self._topics: RecordedTopics | None = None
        self._asking: Asking | None = None
        self._asks: LogAsks | None = None

    async def start(self) -> str:
        """Connects, listens, and returns the URL under which it answers.

        Raises SetupError (no topics, an address that is taken, no key where strangers can ask) and
        TransientError (the broker does not answer); then everything is closed again.
        """
        try:
            return await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> str:
        settings = self._settings
        if settings.gateway_tls_certificate is not None:
            self._certificate = ServedCertificate(
                settings.gateway_tls_certificate, settings.gateway_tls_key
            )
        self._bound = bound = listen(self._host, self._port)
        self._following = True
        await self._feed.start()
        self._topics = topics = RecordedTopics(self._feed)
        await check_topics(settings, topics.record)
        on_loopback = is_loopback(bound.getsockname()[0])
        ring = key_ring(self._feed, open_until_first_key=on_loopback)
        if not on_loopback:
            check_exposed(ring)
        await self._directory.start()
        await self._paid.start()
        self._inbound = inbound = KafkaInbound(
            self._bootstrap, settings.topic_prefix, topics.partitions, Appended
        )
        await inbound.start()
        spans, now = self._spans, asyncio.get_running_loop().time
        self._asking = (
            Asking(self._owners, inbound, topics, now)
            if spans is None
            else Asking(
                TracedOwners(self._owners, spans), TracedInbound(inbound, spans), topics, now
            )
        )
        # Ids need to be unlike any other, not secret: the system is asked once, not per request.
        ids = random.Random(secrets.randbits(256))  # noqa: S311
        services = Services(
            asking=self._asking,
            directory=topics,
            new_id=lambda: f"{ids.getrandbits(128):032x}",
            now_us=SystemClock().now_us,
            metrics=self._metrics,
            not_ready=self._missing,
            decision_seconds=settings.gateway_decision_ms / 1000,
            record_seconds=settings.gateway_record_ms / 1000,
            upgrade_url=settings.gateway_upgrade_url or "",
            entries=self._entries,
            catalogue=self._paid.catalogue,
        )
        gateway = Gateway(services, ring, all_routes(), time.monotonic, version())
        self._server = make_server(
            gateway if spans is None else TracedGateway(gateway, spans),
            self._certificate,
            settings.gateway_connections_max,
        )
        self._using = asyncio.create_task(keep_uses(ring, settings.home, self._address))
        await self._listen(self._server, bound)
        self._metrics.gather(self._gather)
        self._asks = LogAsks(settings, services)
        self._asks.start()
        scheme = "http" if settings.gateway_tls_certificate is None else "https"
        return f"{scheme}://{self._host}:{bound.getsockname()[1]}"

    async def _listen(self, server: GatewayServer, bound: socket.socket) -> None:
        self._serving = asyncio.create_task(server.serve(sockets=[bound]))
        while not server.started:
            await asyncio.wait({self._serving}, timeout=0.01)
            if self._serving.done():
                await self._serving
                raise FaultError(
                    "the server ended before it had begun", action="Look at the log above this."
                )

    async def watch(self) -> None:
        """Returns when the server has ended. Raises FaultError where the catalog cannot be followed
        or another generation of the topics has begun, and what ended the following of `asks`: then
        the process has to start anew."""
        assert self._serving is not None, "watched before its start"
        assert self._topics is not None, "watched before its start"
        assert self._asks is not None, "watched before its start"
        while not self._serving.done():
            await asyncio.wait({self._serving}, timeout=WATCH_SECONDS)
            self._look_at_certificate()
            self._asks.check()
            self._paid.check()
            self._directory.check()
            await self._feed.context()
            recorded = self._feed.view.generation
            if recorded is None or recorded.generation != self._topics.generation:
                raise FaultError(
                    "another generation of the topics has begun",
                    action="Start the gateway again; it reads how many partitions there are.",
                )
        await self._serving

    def _look_at_certificate(self) -> None:
        """Serves a certificate that was exchanged; says once what is wrong with a new one."""
        if self._certificate is None:
            return
        try:
            if self._certificate.look():
                log.info("a new certificate is served, good until %s", self._certificate.until)
        except SetupError as error:
            log.error("%s; the one before is still served. %s", error.message, error.action)

    async def stop(self) -> None:
        """Answers what is under way, then closes everything. May be called at any time."""
        leaving = None if self._asks is None else asyncio.create_task(self._asks.stop())
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await asyncio.wait({self._serving}, timeout=STOP_SECONDS_MAX)
        if leaving is not None:
            await leaving
        if self._bound is not None:
            self._bound.close()
        if self._using is not None:
            self._using.cancel()
            await asyncio.gather(self._using, return_exceptions=True)
        if self._asking is not None:
            await self._asking.close()
        self._entries.close()
        await self._owners.close()
        if self._inbound is not None:
            await self._inbound.stop()
        await self._directory.stop()
        await self._paid.stop()
        if self._following:
            self._following = False
            await self._feed.stop()

    def not_ready(self) -> str:
        """Why requests cannot be served now, '' where they can."""
        return self._missing() if self._asks is not None else "the gateway is starting"

    def _gather(self) -> None:
        if self._certificate is not None:
            self._metrics.set(GATEWAY_CERTIFICATE_ENDS, self._certificate.until_seconds)
        self._metrics.set(GATEWAY_CATALOG_BEHIND, round(self._feed.seconds_behind(), 3))

    def _missing(self) -> str:
        if self._feed.seconds_behind() > BEHIND_SECONDS_MAX:
            return "the broker has not been heard from"
        return ""


def split_listen(address: str) -> tuple[str, int]:
    """Host and port of a `gateway_listen`, an IPv6 host without its brackets."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches an address (a number, as a socket says it)."""
    return ipaddress.ip_address(host.partition("%")[0]).is_loopback


def run_gateway(settings: Settings, say: Callable[[str], None]) -> None:
    """Runs a gateway until SIGTERM or SIGINT; `say` is told where it listens.

    Logging is the gateway's own meanwhile, and afterwards as it was. Raises SetupError,
    TransientError or FaultError; then a supervisor may start it again.
    """
    with logging_restored():
        observed = Observed(settings, "gateway")
        look_for_garbage_seldom()
        uvloop.run(_serve(settings, observed, observed.narrator(say)))


async def _serve(settings: Settings, observed: Observed, say: Callable[[str], None]) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    host = GatewayHost(
        settings, settings.gateway_listen or DEFAULT_LISTEN, observed.metrics, observed.spans
    )
    observed.not_ready = host.not_ready
    await observed.start()
    say(f"gateway: listening on {await host.start()}")
    watching, asked = asyncio.create_task(host.watch()), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({watching, asked}, return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            await watching
    finally:
        for task in (watching, asked):
            task.cancel()
        await host.stop()
        await asyncio.gather(watching, asked, return_exceptions=True)
        await observed.stop()
    say("gateway: stopped")
