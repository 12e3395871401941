"""What every command about invoices works with: the catalog as it is, ClickHouse, the time."""

import asyncio
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from schemas.structs import Generation
from streams.adapters.clock import SystemClock
from streams.app.caught_up import await_rows
from streams.app.invoices.facts import Books
from streams.app.rates import read_rate_shelf
from streams.app.warehouse import clickhouse
from streams.domain.context import IncompleteCatalogError
from streams.domain.rate_cards import RateShelf
from streams.errors import SetupError
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
            number, partitions = generation.generation, generation.partitions
            asyncio.run(await_rows(settings, warehouse, number, partitions))
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
