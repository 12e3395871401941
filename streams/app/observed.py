"""What every program of Tollgate shows of itself: its log, its metrics, its health.

observed = Observed(settings, "sink")    the address is taken, the log set up
observed.not_ready = …                   why it cannot work now
await observed.start()                   /metrics, /live, /ready are answered
await observed.stop()
"""

import asyncio
import logging
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from streams.adapters.clock import SystemClock
from streams.adapters.logs import log_to_stderr
from streams.adapters.scrape import ScrapeServer
from streams.adapters.spans import exporting_spans
from streams.metrics import Metrics, Role, metrics_of
from streams.metrics.program import (
    BUILD,
    CPU,
    DISK_FREE,
    DISK_SIZE,
    LOG_MESSAGES,
    OPEN_FILES,
    OPEN_FILES_MAX,
    READY,
    RESIDENT,
    START_TIME,
)
from streams.settings import Settings
from streams.shipped import version

log = logging.getLogger(__name__)

LEVELS: Final = ("warning", "error", "critical")
"""Levels of messages that are counted."""

OPEN_FILES_OF: Final = (Path("/proc/self/fd"), Path("/dev/fd"))
"""Where systems list a program's descriptors."""

STATM: Final = Path("/proc/self/statm")
"""Where Linux tells the pages that are in memory."""


class Observed:
    """One program, as it is seen from outside."""

    def __init__(self, settings: Settings, role: Role) -> None:
        """Sets the log up, and takes the address where one is given. Raises SetupError."""
        inside = role == "worker" and settings.gateway_listen is not None
        self.metrics: Metrics = metrics_of(role, with_gateway=inside)
        self.not_ready: Callable[[], str] = lambda: "it is starting"
        """Says why the program cannot do its work now, '' where it can. For the program to set."""
        self._role = role
        self._form = settings.log_format
        self._kept_in = settings.state_directory if role == "worker" else settings.home
        self.metrics.set(BUILD, 1, version(), role)
        self.metrics.set(START_TIME, round(SystemClock().now_us() / 1e6, 3))
        for level in LEVELS:
            self.metrics.set(LOG_MESSAGES, 0, level)
        self.metrics.gather(self._gather)
        self.spans = (
            None
            if settings.otel_endpoint is None
            else exporting_spans(settings.otel_endpoint, role, version())
        )
        """Makes spans where an endpoint is given."""
        log_to_stderr(settings.log_level, settings.log_format, self._count)
        self._server: ScrapeServer | None = None
        if settings.metrics_listen is not None:
            host, _, port = settings.metrics_listen.rpartition(":")
            self._server = ScrapeServer(
                host.strip("[]"), int(port), self.metrics.text, self._why_not_ready
            )

    def narrator(self, say: Callable[[str], None]) -> Callable[[str], None]:
        """What tells people how it goes on: `say`, or the log where machines read."""
        if self._form == "text":
            return say
        told = logging.getLogger(f"streams.app.{self._role}")
        return lambda line: told.info("%s", line)

    async def start(self) -> None:
        """Answers from now on, where there is an address."""
        if self._server is not None:
            await self._server.start()
            log.info("%s: metrics and health on port %d", self._role, self._server.port)

    async def stop(self) -> None:
        """Answers no more, and sends what is left of traces. May be called at any time."""
        if self.spans is not None:
            await asyncio.to_thread(self.spans.stop)
        if self._server is not None:
            await self._server.stop()

    def _count(self, level: str) -> None:
        self.metrics.add(LOG_MESSAGES, level)

    def _why_not_ready(self) -> str:
        return self.not_ready().partition("\n")[0]

    def _gather(self) -> None:
        metrics = self.metrics
        metrics.set(READY, 0 if self.not_ready() else 1)
        metrics.set(CPU, time.process_time())
        metrics.set(RESIDENT, resident_bytes())
        metrics.set(OPEN_FILES, open_files())
        metrics.set(OPEN_FILES_MAX, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        usage = shutil.disk_usage(_existing(self._kept_in))
        metrics.set(DISK_FREE, usage.free)
        metrics.set(DISK_SIZE, usage.total)


def resident_bytes() -> int:
    """Memory that this program holds now; the most it ever held where the system does not say."""
    try:
        return int(STATM.read_text("ascii").split()[1]) * resource.getpagesize()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def open_files() -> int:
    """Descriptors in use, the one that looks among them; 0 where the system does not say."""
    for directory in OPEN_FILES_OF:
        if directory.is_dir():
            return len(os.listdir(directory))  # noqa: PTH208 - no path is wanted, only how many
    return 0


def _existing(directory: Path) -> Path:
    """The directory, or the nearest above it that is there."""
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent
    return directory
