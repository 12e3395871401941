"""What every command about invoices works with: the catalog as it is, ClickHouse, the time."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from schemas.structs import Generation
from schemas.topics import BUDGETS
from streams.adapters.clock import SystemClock
from streams.adapters.positions import end_offsets
from streams.app.addresses import kafka_bootstrap
from streams.app.invoices.facts import POLL_SECONDS, SILENCE_SECONDS_MAX, Books
from streams.app.rates import read_rate_shelf
from streams.app.warehouse import clickhouse
from streams.domain.context import IncompleteCatalogError
from streams.domain.rate_cards import RateShelf
from streams.errors import SetupError, TransientError
from streams.invoicing.rerating import budgets_seen
from streams.ports import Warehouse
from streams.settings import Settings


@dataclass(frozen=True, slots=True)
class Session:
    """An installation at one moment. `grace_us` is how long after its end a period can be
    closed."""

    books: Books
    shelf: RateShelf
    grace_us: int
    now_us: int

    @property
    def warehouse(self) -> Warehouse:
        """Where rows are read."""
        return self.books.warehouse


@contextmanager
def open_session(settings: Settings, *, caught_up: bool = True) -> Iterator[Session]:
    """An installation at this moment. `caught_up`: its rows hold everything that `budgets` held
    when it was opened, so that terms and closes that were told before are seen.

    Raises SetupError before there is a generation, TransientError where rows do not come.
    """
    shelf, generation = read_cards(settings)
    with closing(clickhouse(settings, analyst=True)) as warehouse:
        if caught_up:
            topic = BUDGETS.full_name(settings.topic_prefix)
            ends = asyncio.run(end_offsets(kafka_bootstrap(settings), topic, generation.partitions))
            _await_budgets(warehouse, generation.generation, ends)
        yield Session(
            Books(settings, warehouse, generation),
            shelf,
            shelf.context().invoice_grace_us,
            SystemClock().now_us(),
        )


def read_cards(settings: Settings) -> tuple[RateShelf, Generation]:
    """The catalog as it is, and the life of the topics that it records. Raises SetupError before
    there is one."""
    shelf = asyncio.run(read_rate_shelf(settings))
    try:
        shelf.context()
    except IncompleteCatalogError as fault:
        raise SetupError(str(fault), action="Run `tollgate topics create`.") from fault
    assert shelf.generation is not None, "its context says so"
    return shelf, shelf.generation


def _await_budgets(warehouse: Warehouse, generation: int, ends: list[int]) -> None:
    """Returns when the rows hold what `budgets` holds below these ends."""
    pause, deadline = threading.Event(), time.monotonic() + SILENCE_SECONDS_MAX
    before: dict[int, int] = {}
    while True:
        seen = budgets_seen(warehouse, generation)
        behind = [p for p, end in enumerate(ends) if seen.get(p, 0) < end]
        if not behind:
            return
        if seen != before:
            before, deadline = seen, time.monotonic() + SILENCE_SECONDS_MAX
        if time.monotonic() > deadline:
            raise TransientError(
                f"ClickHouse has the entries of budgets/{behind[0]} up to "
                f"{seen.get(behind[0], 0)}, the topic goes up to {ends[behind[0]]}",
                action="Check that workers and sinks run, then give the command again.",
            )
        pause.wait(POLL_SECONDS)
