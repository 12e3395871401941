"""Invoices made again, and compared with what was issued.

Twice: from the log, by the code that travels in a bill, and from the rows of ClickHouse, by the
sums that a close takes. Both must be the issued document to the byte; and what the rows say of
closes, issues and voids must be what the log says of them.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any, Final

from schemas import codec
from schemas.partitioner import partition_of
from schemas.structs import Generation
from streams.adapters.books import Library
from streams.app.invoices.books import Log, Sums, logged_billings, open_log, sum_entries
from streams.app.invoices.documents import Wanted, cards_by_name, case_of, make_documents
from streams.app.invoices.session import read_cards
from streams.app.warehouse import clickhouse
from streams.domain.invoices.bundle import Case, compose, document_differences, spans
from streams.domain.invoices.documents import Document
from streams.domain.invoices.tallies import Span
from streams.domain.rate_cards import RateShelf
from streams.errors import SetupError
from streams.invoicing.billing import Billing, Plain, customers_of, in_batches, read_billing
from streams.ports import Warehouse
from streams.settings import Settings

Show = Callable[[int, int], None]
"""Told how far a verification is: offsets of the ledger, done and in all."""

TOLD_MAX: Final = 5
"""Differences of one document that are told; the first ones say where to look."""

SHOWN_CHARS: Final = 120
"""Of a value that differs."""

POLL_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Choice:
    """What is verified: documents by number, those of a customer, or all. `rows` compares
    ClickHouse's as well; `wait_seconds` is the patience with a sink that is behind."""

    numbers: tuple[str, ...] = ()
    customer_id: str | None = None
    rows: bool = True
    wait_seconds: float = 10.0
    library: Library | None = None
    """Where the log is read, if not on the installation's broker."""


@dataclass(slots=True)
class Verification:
    """What was found. `documents` were made again from `entries` entries; `unissued` are closed and
    wait for the next `invoice close`."""

    documents: int = 0
    entries: int = 0
    unissued: int = 0
    differing: int = 0
    """Documents of which something differs."""
    differences: list[str] = field(default_factory=list)
    """What differs, as sentences that begin with the number of the document."""

    @property
    def identical(self) -> bool:
        """Whether nothing differs."""
        return not self.differing


def verify_invoices(settings: Settings, choice: Choice, show: Show) -> Verification:
    """Makes the chosen documents again and compares them; reads only.

    Raises SetupError for a number that nobody has, TransientError where something does not answer.
    """
    shelf, generation = _cards(settings, choice.library)
    result = Verification()
    with ExitStack() as opened:
        warehouse = None
        if choice.rows or choice.numbers:
            warehouse = opened.enter_context(closing(clickhouse(settings, analyst=True)))
        run = _Run(shelf, warehouse if choice.rows else None, choice, result)
        partitions: Iterable[int] = range(generation.partitions)
        named = [] if choice.customer_id is None else [choice.customer_id]
        if choice.numbers and warehouse is not None:
            named = customers_of(warehouse, choice.numbers)
        if named or choice.numbers:
            partitions = {partition_of(name.encode(), generation.partitions) for name in named}
        log = open_log(settings, generation.partitions, choice.library)
        chosen = sorted(partitions)
        sizes = {p: log.span(p)[1] - log.span(p)[0] for p in chosen}
        done = 0
        for partition in chosen:
            run.partition(log, partition, _told(show, done, log.span(partition), sizes))
            done += 2 * sizes[partition]
    missing = set(choice.numbers) - run.seen
    if missing:
        raise SetupError(
            f"there is no invoice {', '.join(sorted(missing))} in the log",
            action="`tollgate invoice list` shows all there are.",
        )
    return result


def _cards(settings: Settings, library: Library | None) -> tuple[RateShelf, Generation]:
    """All rate cards, and the current generation of the topics."""
    if library is None:
        return read_cards(settings)
    shelf = RateShelf()
    for offset, value in library.ends().catalog:
        shelf.fold(offset, codec.decode_catalog(value))
    assert shelf.generation is not None, "an archive is of an installation"
    return shelf, shelf.generation


def _told(
    show: Show, done: int, span: tuple[int, int], sizes: Mapping[int, int]
) -> Callable[[int, int], None]:
    """Shows how far one partition is, of which everything is read twice."""
    total = 2 * sum(sizes.values())
    start, end = span

    def told(turn: int, offset: int) -> None:
        show(done + turn * (end - start) + offset - start, total)

    return told


@dataclass(frozen=True, slots=True)
class Issued:
    """A document that was issued, and what it follows from."""

    wanted: Wanted
    case: Case
    spans: Sequence[Span]
    issue: Plain


class _Run:
    """A verification, partition by partition."""

    def __init__(
        self,
        shelf: RateShelf,
        warehouse: Warehouse | None,
        choice: Choice,
        result: Verification,
    ) -> None:
        self._shelf = shelf
        self._cards = cards_by_name(shelf)
        self._warehouse = warehouse
        self._choice = choice
        self._result = result
        self.seen: set[str] = set()
        """Numbers that are in the log."""

    def partition(self, log: Log, partition: int, told: Callable[[int, int], None]) -> None:
        """Verifies the documents of one partition."""
        customer = self._choice.customer_id
        billings = logged_billings(log, partition, customer, lambda at: told(0, at))
        documents = [one for billing in billings.values() for one in self._chosen(billing)]
        needed: dict[str, list[Span]] = {}
        for one in documents:
            needed.setdefault(one.wanted.customer_id, []).extend(one.spans)
        sums = {name: Sums.of(of) for name, of in needed.items()}
        if sums:
            self._result.entries += sum_entries(log, partition, sums, lambda at: told(1, at))
        faults = {one.wanted.number: log_faults(one, sums) for one in documents}
        if self._warehouse is not None:
            names = sorted({one.wanted.customer_id for one in documents})
            for batch in in_batches(names):
                within = set(batch)
                chosen = [one for one in documents if one.wanted.customer_id in within]
                self._compare_rows(self._warehouse, batch, chosen, billings, faults)
        self._result.documents += len(documents)
        for number, lines in faults.items():
            self._result.differing += bool(lines)
            self._result.differences += [f"{number}: {line}" for line in lines[:TOLD_MAX]]

    def _chosen(self, billing: Billing) -> Iterator[Issued]:
        """The documents of a customer that are to be verified."""
        self._result.unissued += len(billing.unissued) if not self._choice.numbers else 0
        told = {one["number"]: one for one in (*billing.closes, *billing.voids)}
        for issue in billing.issues:
            number = str(issue["number"])
            if self._choice.numbers and number not in self._choice.numbers:
                continue
            self.seen.add(number)
            one = told[number]
            void = one if one["kind"] == "invoice_void" else None
            close = one if void is None else told[one["voids"]]
            case = case_of(billing, close, void, self._cards)
            yield Issued(Wanted(billing, close, void), case, spans(case), issue)

    def _compare_rows(
        self,
        warehouse: Warehouse,
        customers: Sequence[str],
        documents: Sequence[Issued],
        billings: Mapping[str, Billing],
        faults: dict[str, list[str]],
    ) -> None:
        """Compares what ClickHouse holds: what it says of each document, and what follows from its
        rows."""
        rows = _await_rows(warehouse, customers, billings, self._choice.wait_seconds)
        whole = []
        for one in documents:
            found = row_faults(one, rows[one.wanted.customer_id])
            faults[one.wanted.number] += found
            if not found:
                whole.append(one)
        wanted = [
            Wanted(rows[one.wanted.customer_id], one.wanted.close, one.wanted.void) for one in whole
        ]
        for one, made in zip(whole, self._made(warehouse, wanted), strict=True):
            lines = [made] if isinstance(made, str) else document_differences(made, one.issue)
            faults[one.wanted.number] += [f"by ClickHouse's rows, {line}" for line in lines]

    def _made(self, warehouse: Warehouse, wanted: Sequence[Wanted]) -> list[Document | str]:
        """The documents that follow from the rows, or why there is none."""
        try:
            return [one.document for one in make_documents(warehouse, self._shelf, wanted)]
        except ValueError as fault:
            # Rows that one document needs are missing: the others are made without it.
            if len(wanted) == 1:
                return [f"it cannot be made again: {fault}"]
            return [made for one in wanted for made in self._made(warehouse, [one])]


def log_faults(one: Issued, sums: Mapping[str, Sums]) -> list[str]:
    """Where a document is not what follows from the log."""
    held = sums[one.wanted.customer_id]
    try:
        document = compose(one.case, [held.tally(span) for span in one.spans])
    except ValueError as fault:
        return [f"cannot be made again: {fault}"]
    return list(document_differences(document, one.issue))


def row_faults(one: Issued, rows: Billing) -> list[str]:
    """Where the rows of a document's own entries are not the log's."""
    asked = [one.wanted.close, one.issue]
    asked += [] if one.wanted.void is None else [one.wanted.void]
    held = {row["entry_id"]: row for row in (*rows.closes, *rows.issues, *rows.voids)}
    found = []
    for entry in asked:
        row = held.get(entry["entry_id"])
        if row is None:
            found.append(f"ClickHouse has no row of {entry['kind']} {entry['entry_id']}")
            continue
        found += [
            f"{entry['kind']}, {name}: ClickHouse has {_short(row.get(name))}, the log "
            f"{_short(value)}"
            for name, value in entry.items()
            if row.get(name) != value
        ]
    return found


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"


def _await_rows(
    warehouse: Warehouse,
    customers: Sequence[str],
    billings: Mapping[str, Billing],
    seconds: float,
) -> dict[str, Billing]:
    """What ClickHouse says of these customers, once it has all that the log has, or after a while
    without."""
    deadline = time.monotonic() + seconds
    while True:
        rows = read_billing(warehouse, customers, with_lines=True)
        behind = any(len(rows[name].issues) < len(billings[name].issues) for name in customers)
        if not behind or time.monotonic() > deadline:
            return rows
        threading.Event().wait(POLL_SECONDS)
