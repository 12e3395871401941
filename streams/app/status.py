"""`tollgate status`: who is asked, each under a deadline of its own, and what becomes of no answer.

One look asks the broker some ten questions whatever the load is, ClickHouse four, and each owner's
address for a connection. Two looks make a report.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar
from urllib.parse import urlsplit

from schemas.topics import CATALOG
from streams.adapters.catalog import read_catalog
from streams.adapters.clickhouse import ClickHouse
from streams.adapters.clock import SystemClock
from streams.adapters.frames import split_address
from streams.adapters.log_status import LogStatus, catalog_end, unsaid
from streams.adapters.metrics_page import open_holds
from streams.adapters.table_status import look_at_tables
from streams.adapters.topic_ids import topic_identities
from streams.app.addresses import kafka_bootstrap, sink_group
from streams.app.asks import asks_group
from streams.app.generations import CUSTOMER_TOPICS
from streams.app.warehouse import clickhouse
from streams.domain.generations import differences
from streams.errors import SetupError, TollgateError, TransientError
from streams.settings import Settings
from streams.status.making import make_report
from streams.status.report import Report
from streams.status.seen import InstallationSeen, LogSeen, Look, Names, TablesSeen
from streams.status.warning import Since

T = TypeVar("T")

TABLES_SECONDS_MAX: Final = 6.0
"""Connecting to ClickHouse and four small queries; beyond it, it counts as away."""

CATALOG_SECONDS_MAX: Final = 10.0
"""Reading the catalog with its price books from the beginning: a second, once."""

CONNECT_SECONDS_MAX: Final = 1.5
"""Until an owner accepts a connection: milliseconds on one network."""

INTERVAL_SECONDS_MIN: Final = 1.0
"""Between two looks. A look costs the broker what one more consumer costs it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """How a status is asked for: seconds between two looks, and processes whose metrics are
    known."""

    interval_seconds: float
    metrics: tuple[str, ...] = ()


async def one_report(settings: Settings, asked: Asked) -> Report:
    """The status now: two looks, the interval apart."""
    async with contextlib.aclosing(reports(settings, asked)) as found:
        first = await anext(found)
        return first if first.verdict == "unreachable" else await anext(found)


async def reports(settings: Settings, asked: Asked) -> AsyncGenerator[Report, None]:
    """Reports without end, the interval between their looks. The first one has no rates; one that
    could not be asked has none after it either."""
    since, before = Since(), None
    async with _looking(settings, asked) as look:
        while True:
            begun = time.monotonic()
            now = await look()
            yield make_report(before, now, since)
            before = now
            rest = max(asked.interval_seconds, INTERVAL_SECONDS_MIN) - time.monotonic() + begun
            await asyncio.sleep(max(0.0, rest))


@asynccontextmanager
async def _looking(
    settings: Settings, asked: Asked
) -> AsyncIterator[Callable[[], "asyncio.Future[Look]"]]:
    eyes = _Eyes(settings, asked)
    try:
        yield lambda: asyncio.ensure_future(eyes.look())
    finally:
        await eyes.close()


class _Eyes:
    """What looks share: connections, and the catalog as it was read last."""

    def __init__(self, settings: Settings, asked: Asked) -> None:
        self._settings = settings
        self._asked = asked
        self._log: LogStatus | None = None
        self._tables: ClickHouse | None = None
        self._catalog_end = -1
        self._installation: InstallationSeen | None = None
        self._clock = SystemClock()

    async def close(self) -> None:
        await self._leave_log()
        if self._tables is not None:
            self._tables.close()

    async def _leave_log(self) -> None:
        log, self._log = self._log, None
        if log is not None:
            await log.__aexit__()

    async def look(self) -> Look:
        (log, log_fault), (tables, tables_fault) = await asyncio.gather(
            self._look_at_log(), self._look_at_tables()
        )
        installation, installation_fault = await self._look_at_catalog(log)
        addresses = {owner.address for owner in log.owners.values()} if log else set[str]()
        answers, (holds, metrics_faults) = await asyncio.gather(
            _who_answers(addresses), open_holds(self._asked.metrics)
        )
        return Look(
            names=self._names(),
            now_us=self._clock.now_us(),
            log=log,
            log_fault=log_fault,
            tables=tables,
            tables_fault=tables_fault,
            installation=installation,
            installation_fault=installation_fault,
            answers=answers,
            open_holds=holds,
            metrics_faults=metrics_faults,
        )

    def _names(self) -> Names:
        settings = self._settings
        return Names(
            topic_prefix=settings.topic_prefix,
            app_id=settings.app_id,
            bootstrap=_told(lambda: str(kafka_bootstrap(settings))),
            clickhouse_url=self._tables.address.url if self._tables else _url(settings),
            clickhouse_database=settings.clickhouse_database,
        )

    async def _look_at_log(self) -> tuple[LogSeen | None, str | None]:
        try:
            if self._log is None:
                settings = self._settings
                groups = {
                    "workers": settings.app_id,
                    "sinks": sink_group(settings),
                    "gateways": asks_group(settings),
                }
                log = LogStatus(
                    kafka_bootstrap(settings),
                    settings.topic_prefix,
                    groups,
                    time.monotonic,
                    self._clock.now_us,
                )
                self._log = await log.__aenter__()
            return await self._log.look(), None
        except TollgateError as error:
            # Anew at the next look: the broker may have come back under another address.
            await self._leave_log()
            return None, error.message

    async def _look_at_tables(self) -> tuple[TablesSeen | None, str | None]:
        def look() -> TablesSeen:
            if self._tables is None:
                self._tables = clickhouse(self._settings)
            return look_at_tables(self._tables)

        try:
            with unsaid():
                return await in_thread(look, TABLES_SECONDS_MAX), None
        except SetupError as error:
            return None, f"{error.message}. {error.action}"
        except TollgateError as error:
            return None, error.message
        except TimeoutError:
            return None, f"no answer within {TABLES_SECONDS_MAX:.0f} s"

    async def _look_at_catalog(
        self, log: LogSeen | None
    ) -> tuple[InstallationSeen | None, str | None]:
        """Read again only where the topic has grown: it holds price books."""
        if log is None:
            return None, None
        prefix = self._settings.topic_prefix
        if CATALOG.name not in log.partitions:
            return None, f"there are no topics with the prefix {prefix!r}"
        end = catalog_end(log.ends)
        if end == self._catalog_end:
            return self._installation, None
        bootstrap = kafka_bootstrap(self._settings)
        try:
            with unsaid():
                async with asyncio.timeout(CATALOG_SECONDS_MAX):
                    view = await read_catalog(bootstrap, prefix)
                    found = await topic_identities(bootstrap, prefix)
        except TollgateError as error:
            return self._installation, error.message
        except TimeoutError:
            return self._installation, "the catalog could not be read in time"
        record = view.generation
        if record is None:
            return None, "the catalog holds no generation of the topics"
        self._catalog_end = end
        self._installation = InstallationSeen(
            generation=record.generation,
            partitions=record.partitions,
            catalog_offset=view.next_offset,
            price_version=view.price_version,
            differences=tuple(differences(record, found, CUSTOMER_TOPICS)),
        )
        return self._installation, None


async def _who_answers(addresses: Iterable[str]) -> dict[str, bool]:
    """Which of these addresses accept a connection. Nothing is sent."""

    async def knock(address: str) -> bool:
        try:
            host, port = split_address(address)
            async with asyncio.timeout(CONNECT_SECONDS_MAX):
                _, writer = await asyncio.open_connection(host, port)
        except (OSError, TimeoutError, ValueError, SetupError):
            return False
        writer.close()
        return True

    known = sorted(addresses)
    return dict(zip(known, await asyncio.gather(*map(knock, known)), strict=True))


async def in_thread(call: Callable[[], T], seconds: float) -> T:
    """The result of a blocking call, TimeoutError after so long.

    In a thread that nobody waits for: an executor would be waited for at the end, however long a
    server that does not answer keeps it.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def give(set_it: Callable[[], None]) -> None:
        def unless_over() -> None:
            if not result.done():
                set_it()

        with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits any more.
            loop.call_soon_threadsafe(unless_over)

    def run() -> None:
        try:
            found = call()
        except Exception as error:  # noqa: BLE001 - handed to whoever waits
            fault = error
            give(lambda: result.set_exception(fault))
        else:
            give(lambda: result.set_result(found))

    threading.Thread(target=run, name="look", daemon=True).start()
    async with asyncio.timeout(seconds):
        return await result


def _told(ask: Callable[[], str]) -> str:
    try:
        return ask()
    except (SetupError, TransientError):
        return "the embedded one, which does not run"


def _url(settings: Settings) -> str:
    if settings.clickhouse_url is None:
        return "the embedded one"
    return (
        f"{urlsplit(settings.clickhouse_url).scheme}://{urlsplit(settings.clickhouse_url).netloc}"
    )
