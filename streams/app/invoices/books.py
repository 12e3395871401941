"""Invoices out of the log: what was closed, issued and voided, and the sums of what was used.

Reads the ledger's topic as the audit does, without ClickHouse. What an invoice is made of is held
as sums: of the time between any two edges of periods and segments, and of the places between any
two cuts, so that a ledger of any length fits.
"""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, fields
from typing import Any, Final

from schemas import codec
from schemas.partitioner import partition_of
from schemas.topics import LEDGER
from streams.adapters.books import Bounds, KafkaLibrary, Library
from streams.app.addresses import kafka_bootstrap
from streams.app.invoices.documents import card_records, case_of
from streams.app.invoices.session import read_cards
from streams.app.warehouse import clickhouse
from streams.domain.invoices.bundle import Bundle, Case, late_in, spans
from streams.domain.invoices.tallies import Figures, Span, Tally, place_of, tally
from streams.domain.rate_cards import RateShelf
from streams.errors import SetupError
from streams.invoicing.billing import KINDS, Billing, customers_of
from streams.settings import Settings

BILLED: Final = ("usage", "adjustment", "signal", "void")
"""The kinds that are summed."""

HELD_MAX: Final = 20_000
"""Entries that are held before they are counted, some 20 MB."""

ALL: Final = Span(0, 2**63, (2**32, 2**64))
"""Every entry there may be."""

Shown = Callable[[int], None]
"""Told up to which offset of the ledger a reading is."""


def heads(kinds: Iterable[str]) -> tuple[bytes, ...]:
    """How entries of these kinds begin: the encoder writes the kind first."""
    return tuple(f'{{"kind":"{kind}",'.encode() for kind in kinds)


_TOLD: Final = heads(KINDS)
_BILLED: Final = heads(BILLED)


@dataclass(frozen=True, slots=True)
class Log:
    """Where the ledger is, as far as it is now."""

    library: Library
    bounds: Bounds

    def span(self, partition: int) -> tuple[int, int]:
        """First offset and end of a partition of the ledger."""
        return self.bounds[LEDGER.name, partition]

    def entries(
        self, partition: int, begins: tuple[bytes, ...], customer_id: str | None, shown: Shown
    ) -> Iterator[bytes]:
        """The entries of a partition that begin so, in order; of one customer, those that name it
        somewhere."""
        named = b"" if customer_id is None else codec.encode(customer_id)
        with self.library.open(partition, self.bounds) as books:
            book = books[LEDGER.name]
            for batch in book.batches(book.start):
                for record in batch:
                    value = record.value
                    if value is not None and value.startswith(begins) and named in value:
                        yield value
                shown(batch[-1].offset + 1)


def open_log(settings: Settings, partitions: int, library: Library | None = None) -> Log:
    """The ledger as far as it is now, of the installation or of another library. Raises
    TransientError and SetupError."""
    if library is None:
        library = KafkaLibrary(kafka_bootstrap(settings), settings.topic_prefix, partitions)
    return Log(library, library.bounds())


def logged_billings(
    log: Log, partition: int, customer_id: str | None, shown: Shown
) -> dict[str, Billing]:
    """What the ledger says about invoices, of one customer or of all of a partition."""
    found: dict[str, Billing] = {}
    for value in log.entries(partition, _TOLD, customer_id, shown):
        # Every field stands there, as in a row: the log leaves out what is as ever.
        one = KINDS[str(json.loads(value)["kind"])].model_validate_json(value).model_dump()
        name = one["customer_id"]
        if customer_id in (None, name):
            found.setdefault(name, Billing(name)).add(one)
    return found


# --- sums ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Sums:
    """One customer's entries, summed in the cells that some spans are made of."""

    edges: list[int]
    """Times at which a span begins or ends."""
    cuts: list[tuple[int, int]]
    """Places up to which a span goes."""
    cells: dict[tuple[int, int], Tally] = field(default_factory=dict)

    @classmethod
    def of(cls, wanted: Iterable[Span]) -> "Sums":
        """Empty sums that can answer for these spans."""
        spans = list(wanted)
        edges = {edge for span in spans for edge in (span.from_us, span.to_us)}
        return cls(sorted(edges), sorted({span.cut for span in spans}))

    def cell(self, entry: Mapping[str, Any]) -> tuple[int, int] | None:
        """Where an entry counts, None for one that no span holds."""
        at = bisect_right(self.edges, entry["occurred_at"]) - 1
        cut = bisect_left(self.cuts, place_of(entry))
        if at < 0 or at + 1 >= len(self.edges) or cut == len(self.cuts):
            return None
        return at, cut

    def add(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Counts entries of this customer."""
        sorted_in: dict[tuple[int, int], list[Mapping[str, Any]]] = {}
        for entry in entries:
            cell = self.cell(entry)
            if cell is not None:
                sorted_in.setdefault(cell, []).append(entry)
        for cell, within in sorted_in.items():
            merge(self.cells.setdefault(cell, {}), tally(within, [ALL])[0])

    def tally(self, span: Span) -> Tally:
        """The sums of one of the spans."""
        found: Tally = {}
        for (at, cut), sums in self.cells.items():
            inside = span.from_us <= self.edges[at] and self.edges[at + 1] <= span.to_us
            if inside and self.cuts[cut] <= span.cut:
                merge(found, sums)
        return found


def merge(into: Tally, sums: Tally) -> None:
    """Adds sums to others, in place."""
    for key, figures in sums.items():
        mine = into.get(key)
        if mine is None:
            mine = into[key] = Figures()
        for item in fields(Figures):
            if item.name == "price_versions":
                mine.price_versions |= figures.price_versions
            else:
                total = getattr(mine, item.name) + getattr(figures, item.name)
                setattr(mine, item.name, total)


def sum_entries(log: Log, partition: int, sums: Mapping[str, Sums], shown: Shown) -> int:
    """Counts what a partition's customers have used into their sums. Returns how many entries
    those customers have."""
    waiting: dict[str, list[Mapping[str, Any]]] = {}
    read = held = 0
    alone = next(iter(sums)) if len(sums) == 1 else None
    for value in log.entries(partition, _BILLED, alone, shown):
        entry = json.loads(value)
        if entry["customer_id"] in sums:
            waiting.setdefault(entry["customer_id"], []).append(entry)
            read, held = read + 1, held + 1
        if held >= HELD_MAX:
            _count(waiting, sums)
            held = 0
    _count(waiting, sums)
    return read


def _count(waiting: dict[str, list[Mapping[str, Any]]], sums: Mapping[str, Sums]) -> None:
    for name, entries in waiting.items():
        sums[name].add(entries)
    waiting.clear()


# --- one bundle ----------------------------------------------------------------------------------


def read_bundle(settings: Settings, number: str) -> Bundle:
    """Everything that one document follows from, read from the log.

    Raises SetupError for a number that nobody has, TransientError where the log is not answered.
    """
    shelf, generation = read_cards(settings)
    partitions = generation.partitions
    with closing(clickhouse(settings, analyst=True)) as warehouse:
        customers = customers_of(warehouse, [number])
    log = open_log(settings, partitions)
    for customer in customers:
        partition = partition_of(customer.encode(), partitions)
        billing = logged_billings(log, partition, customer, _unseen).get(customer)
        case = None if billing is None else _case(billing, number, shelf)
        if case is not None:
            return _bundle(log, partition, customer, case)
    raise SetupError(
        f"there is no invoice {number}", action="`tollgate invoice list` shows all there are."
    )


def _unseen(_offset: int) -> None:
    """Nobody looks."""


def _case(billing: Billing, number: str, shelf: RateShelf) -> Case | None:
    closes, cards = {one["number"]: one for one in billing.closes}, card_records(shelf)
    if number in closes:
        return case_of(billing, closes[number], None, cards)
    void = next((one for one in billing.voids if one["number"] == number), None)
    return None if void is None else case_of(billing, closes[void["voids"]], void, cards)


def _bundle(log: Log, partition: int, customer: str, case: Case) -> Bundle:
    close = case.close
    after = (close["after_generation"], close["after_sequence"])
    cut = (close["cut_generation"], close["cut_sequence"])

    def entries() -> Iterator[Mapping[str, Any]]:
        for value in log.entries(partition, _BILLED, customer, _unseen):
            entry = json.loads(value)
            if entry["customer_id"] == customer and place_of(entry) <= cut:
                yield entry

    # Earlier periods to which nothing came late are what they were: their entries say nothing.
    late = [
        entry
        for entry in entries()
        if entry["occurred_at"] < close["period_from"] and place_of(entry) > after
    ]
    needed = spans(case, late_in(Bundle(case, tuple(late))))
    kept = [
        entry
        for entry in entries()
        if any(span.from_us <= entry["occurred_at"] < span.to_us for span in needed)
    ]
    return Bundle(case, tuple(kept))
