"""A provider's export, row by row: what each row says, and those that say nothing.

Streams: what is held is one sum per day, model and currency, and the faults. No row disappears: it
is counted as read, passed over, filtered out, out of range or bad, and bad ones are listed with
their line.
"""

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from typing import Final, Protocol, TypeVar
from zoneinfo import ZoneInfo

from schemas.money import fraction_of
from streams.errors import SetupError
from streams.invoicing.reconciling.mapping import ALL_MODELS, Mapping, day_of

CELLS_MAX: Final = 500_000
"""Sums of one export: 365 days of 1,000 models fit. Each takes some 500 bytes."""

BAD_ROWS_MAX: Final = 10_000
"""Bad rows that are kept with their line and fault; further ones are counted."""

COUNT_DIGITS_MAX: Final = 18
"""A count of tokens or calls has fewer digits than a 64-bit number."""

_count = re.compile(rf"([0-9]{{1,{COUNT_DIGITS_MAX}}})(?:\.0*)?\Z")

Told = TypeVar("Told")

Naming = Callable[[str], str]
"""A model of the export, as it is compared."""


class _Reader(Protocol):
    """A reader of `csv`: rows, and the line of the file that it has come to."""

    @property
    def line_num(self) -> int: ...

    def __next__(self) -> list[str]: ...


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """What is compared: a day, a model, a currency."""

    day: date
    model: str
    currency: str


@dataclass(slots=True)
class Provided:
    """What an export says of a key: exact sums. `classes` are amounts by token class where the
    export has rows for each, `tokens` counts by class, `calls` None where it does not count."""

    cost: Fraction = Fraction(0)
    rows: int = 0
    calls: int | None = None
    tokens: dict[str, int] = field(default_factory=dict)
    classes: dict[str, Fraction] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that could not be read: its lines of the file, from 1, and why."""

    line: int
    last_line: int
    fault: str

    def __str__(self) -> str:
        where = f"{self.line}" if self.line == self.last_line else f"{self.line}-{self.last_line}"
        return f"line {where}: {self.fault}"


@dataclass(slots=True)
class Export:
    """An export as it was read. `rows` = those in `cells` + `skipped` (no amount) + `filtered`
    + `outside` (of the days asked for) + `bad_count`."""

    cells: dict[Key, Provided] = field(default_factory=dict)
    rows: int = 0
    skipped: int = 0
    filtered: int = 0
    outside: int = 0
    bad_count: int = 0
    bad: list[BadRow] = field(default_factory=list)

    def days(self) -> tuple[date, date] | None:
        """The first and the last day, None where there is none."""
        found = [key.day for key in self.cells]
        return (min(found), max(found)) if found else None

    def reject(self, line: int, last_line: int, fault: str) -> None:
        """Counts a bad row and keeps it while there is room."""
        self.bad_count += 1
        if len(self.bad) < BAD_ROWS_MAX:
            self.bad.append(BadRow(line, last_line, fault))


def read_export(
    lines: Iterable[str],
    mapping: Mapping,
    naming: Naming,
    zone: ZoneInfo,
    first: date | None = None,
    end: date | None = None,
) -> Export:
    """Reads an export. `naming` makes the compared name of a model; days are in [first, end).

    `lines` are those of the file with their ends, bytes that are not UTF-8 as surrogates. Raises
    SetupError where the header lacks a column, or there are more sums than can be held.
    """
    reader = csv.reader(_without_mark(lines), delimiter=mapping.delimiter, strict=True)
    header = _header(reader, mapping)
    columns = {name: header.index(name) for name in mapping.columns()}
    row_reader = _Rows(mapping, columns, naming, zone)
    found = Export()
    for line, last_line, cells, fault in _rows(reader):
        if cells is not None and not any(map(str.strip, cells)):
            continue  # An empty line is no row.
        found.rows += 1
        if cells is not None and len(cells) != len(header):
            fault = f"{len(cells)} columns instead of {len(header)}"
        if fault:
            found.reject(line, last_line, fault)
            continue
        try:
            read = row_reader.read(cells or [])
        except ValueError as error:
            found.reject(line, last_line, str(error))
            continue
        if isinstance(read, str):
            setattr(found, read, getattr(found, read) + 1)
        elif (first and read.key.day < first) or (end and read.key.day >= end):
            found.outside += 1
        else:
            _add(found, read)
    return found


@dataclass(slots=True)
class _Read:
    key: Key
    amount: Fraction
    token_class: str
    tokens: dict[str, int]
    calls: int | None


class _Rows:
    """Reads rows by a mapping; names and days that were read before are remembered."""

    def __init__(
        self, mapping: Mapping, columns: dict[str, int], naming: Naming, zone: ZoneInfo
    ) -> None:
        self.mapping, self.columns, self.naming, self.zone = mapping, columns, naming, zone
        self.unit = fraction_of(mapping.amount.unit)
        model = mapping.model
        self.pattern = re.compile(model.pattern) if model and model.pattern else None
        self.names: dict[str, tuple[str, str]] = {}
        self.days: dict[str, date] = {}

    def read(self, cells: list[str]) -> "_Read | str":
        """What a row says, or the counter of `Export` under which it is passed over. Raises
        ValueError that says what is wrong with it."""
        mapping = self.mapping

        def text(column: str) -> str:
            return cells[self.columns[column]].strip()

        if not all(one.takes(text(one.column)) for one in mapping.filters):
            return "filtered"
        amount = text(mapping.amount.column)
        if not amount and mapping.amount.empty == "skip":
            return "skipped"
        cost = self._told(mapping.amount.column, amount, fraction_of) * self.unit
        day = self._day(text(mapping.day.column))
        model, token_class = (
            self._model(text(mapping.model.column))
            if mapping.model
            else (
                ALL_MODELS,
                "",
            )
        )
        currency = mapping.currency.value or text(mapping.currency.column or "").upper()
        if not re.fullmatch("[A-Z]{3}", currency):
            raise ValueError(f"{mapping.currency.column}: no currency code: {currency[:40]!r}")
        if mapping.token_class and mapping.token_class.column:
            told = text(mapping.token_class.column)
            token_class = mapping.token_class.classes.get(told, "")
        tokens: dict[str, int] = {
            name: sum(self._told(column, text(column), _whole) for column in columns)
            for name, columns in mapping.tokens.items()
        }
        calls = None
        if mapping.calls:
            calls = self._told(mapping.calls, text(mapping.calls), _whole)
        return _Read(Key(day, model, currency), cost, token_class, tokens, calls)

    @staticmethod
    def _told(column: str, text: str, meaning: Callable[[str], Told]) -> Told:
        try:
            return meaning(text)
        except ValueError as fault:
            raise ValueError(f"{column}: {fault}") from fault

    def _day(self, text: str) -> date:
        found = self.days.get(text)
        if found is None:
            column = self.mapping.day
            try:
                found = day_of(text, column.format, self.zone)
            except (ValueError, OverflowError, OSError) as fault:
                raise ValueError(
                    f"{column.column}: not a day as {column.format}: {text[:40]!r}"
                ) from fault
            if len(self.days) < CELLS_MAX:
                self.days[text] = found
        return found

    def _model(self, text: str) -> tuple[str, str]:
        known = self.names.get(text)
        if known is None:
            known = self._name(text)
            if len(self.names) < CELLS_MAX:
                self.names[text] = known
        return known

    def _name(self, text: str) -> tuple[str, str]:
        model = self.mapping.model
        assert model is not None
        if any("\udc80" <= character <= "\udcff" for character in text):
            raise ValueError(f"{model.column}: not UTF-8: {text[:40]!r}")
        if not text:
            if not model.empty:
                raise ValueError(f"{model.column}: empty, so no model is named")
            return model.empty, ""
        token_class = ""
        match = self.pattern.search(text) if self.pattern else None
        if match:
            found = match.groupdict()
            text, told = found["model"], found.get("class") or ""
            classes = self.mapping.token_class
            token_class = classes.classes.get(told, "") if classes else ""
        if model.lower:
            text = text.lower()
        for before, after in model.replace:
            text = text.replace(before, after)
        text = model.aliases.get(text, text)
        return (self.naming(text) if model.family else text), token_class


def _whole(text: str) -> int:
    match = _count.match(text or "0")
    if not match:
        raise ValueError(f"not a whole number: {text[:40]!r}")
    return int(match[1])


def _add(found: Export, read: _Read) -> None:
    cell = found.cells.get(read.key)
    if cell is None:
        if len(found.cells) >= CELLS_MAX:
            raise SetupError(
                f"the export has more than {CELLS_MAX:,} days and models",
                action="Compare a part of it: --from and --to.",
            )
        cell = found.cells[read.key] = Provided()
    cell.rows += 1
    cell.cost += read.amount
    if read.calls is not None:
        cell.calls = (cell.calls or 0) + read.calls
    for name, count in read.tokens.items():
        cell.tokens[name] = cell.tokens.get(name, 0) + count
    if read.token_class:
        before = cell.classes.get(read.token_class, Fraction(0))
        cell.classes[read.token_class] = before + read.amount


def _without_mark(lines: Iterable[str]) -> Iterator[str]:
    """The lines without the byte order mark with which spreadsheets begin a file."""
    for number, line in enumerate(lines):
        yield line.removeprefix("\ufeff") if number == 0 else line


def _header(reader: _Reader, mapping: Mapping) -> list[str]:
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as fault:
        header = [f"({fault})"]
    missing = [name for name in mapping.columns() if name not in header]
    if missing:
        raise SetupError(
            f"the export has no column {', '.join(missing)}; "
            f"its first line names: {', '.join(header)[:500] or 'nothing'}",
            action="Take the mapping of this kind of export, or write one; "
            "docs/reconciliation.md says how.",
        )
    return header


def _rows(reader: _Reader) -> Iterator[tuple[int, int, list[str] | None, str]]:
    """First and last line, cells, fault: each row of the file."""
    while True:
        line = reader.line_num + 1
        try:
            cells, fault = next(reader), ""
        except StopIteration:
            return
        except csv.Error as error:
            cells, fault = None, str(error)
        yield line, reader.line_num, cells, fault
