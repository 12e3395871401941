"""A document as papers show it: its lines in sections, its times in the customer's zone.

Owns what belongs under which heading and how times, counts and amounts are written for a person.
Every form of an invoice (terminal, CSV, page, hand-over) begins here, so that they cannot differ.
"""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo

from schemas.money import currency_digits, parse_signed_amount, round_half_even
from schemas.times import parse_time_us

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

MONTHS: Final = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
"""Named here, because the names of `strftime` are those of the machine's language."""

_JOINERS: Final = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}\N{SOFT HYPHEN}"
"""Unseen characters that belong into words of some languages and turn nothing."""

TITLES: Final = {"invoice": "Invoice", "credit_note": "Credit note", "draft": "Draft invoice"}
"""What a document is called on paper."""


@dataclass(frozen=True, slots=True)
class PaperLine:
    """A line as the document has it. `amount` is in pico of `currency`, `quantity` decimal text."""

    line: int
    line_kind: str
    corrects: str
    label: str
    item: str
    title: str
    card: str
    group: str
    metric: str
    quantity: str
    from_us: int
    to_us: int
    amount: int
    currency: str

    @property
    def name(self) -> str:
        """What the line is called: its title, else the id of its item."""
        return printable(self.title or self.item)


@dataclass(frozen=True, slots=True)
class Section:
    """Lines under one heading; `corrects` is the number of the invoice that they correct."""

    kind: str
    corrects: str
    label: str
    lines: tuple[PaperLine, ...]


@dataclass(frozen=True, slots=True)
class Bill:
    """A document for papers. `totals` are pico by currency, in the document's order; `cards` and
    `price_books` are the versions by which the period was charged and its calls were priced."""

    document: str
    number: str
    customer_id: str
    label: str
    zone: str
    from_us: int
    to_us: int
    reissues: str
    voids: str
    segments: int
    cards: tuple[str, ...]
    price_books: tuple[str, ...]
    lines: tuple[PaperLine, ...]
    totals: tuple[tuple[str, int], ...]
    unpriced_calls: int
    reason: str

    @property
    def title(self) -> str:
        """What it is: an invoice, a credit note or a draft."""
        return TITLES.get(self.document, printable(self.document))

    def sections(self) -> list[Section]:
        """All lines, each once: the period's own, then what corrects earlier invoices (one section
        per invoice and period), then credits. Sections without lines are left out."""
        own = [one for one in self.lines if not one.corrects and one.line_kind != "credit"]
        found = [Section("own", "", self.label, tuple(own))]
        corrected: dict[tuple[str, str], list[PaperLine]] = {}
        for one in self.lines:
            if one.corrects and one.line_kind != "credit":
                corrected.setdefault((one.corrects, one.label), []).append(one)
        for (number, label), lines in corrected.items():
            found.append(Section("correction", number, label, tuple(lines)))
        credits = tuple(one for one in self.lines if one.line_kind == "credit")
        found.append(Section("credit", "", self.label, credits))
        return [section for section in found if section.lines]


def bill_of(plain: Mapping[str, Any]) -> Bill:
    """The bill of a document's JSON. Raises KeyError or ValueError for what is no document."""
    told = plain.get("notes") or {}
    return Bill(
        document=str(plain["document"]),
        number=str(plain["number"]),
        customer_id=str(plain["customer_id"]),
        label=str(plain["label"]),
        zone=str(plain["zone"]),
        from_us=parse_time_us(plain["period_from"]),
        to_us=parse_time_us(plain["period_to"]),
        reissues=str(plain.get("reissues") or ""),
        voids=str(plain.get("voids") or ""),
        segments=len(plain.get("segments") or ()),
        cards=tuple(dict.fromkeys(_card_names(plain.get("segments") or ()))),
        price_books=tuple(str(version) for version in plain.get("price_versions") or ()),
        lines=tuple(_line(one) for one in plain["lines"]),
        totals=tuple(
            (str(one["currency"]), parse_signed_amount(one["amount"])) for one in plain["totals"]
        ),
        unpriced_calls=int(told.get("unpriced_calls") or 0),
        reason=str(told.get("reason") or ""),
    )


def _card_names(segments: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """`pro@2` of each segment that is charged, as lines name it."""
    for segment in segments:
        if segment["card"]:
            yield f"{segment['card']}@{segment['version']}"


def _line(plain: Mapping[str, Any]) -> PaperLine:
    """A line of a document, or of an entry, in whose JSON what is empty may be missing."""
    return PaperLine(
        line=int(plain["line"]),
        line_kind=str(plain["line_kind"]),
        corrects=str(plain.get("corrects", "")),
        label=str(plain["label"]),
        item=str(plain.get("item", "")),
        title=str(plain.get("title", "")),
        card=str(plain.get("card", "")),
        group=str(plain.get("group", "")),
        metric=str(plain.get("metric", "")),
        quantity=str(plain.get("quantity", "")),
        from_us=int(plain["from_us"]),
        to_us=int(plain["to_us"]),
        amount=parse_signed_amount(plain["amount"]),
        currency=str(plain["currency"]),
    )


def printable(text: str) -> str:
    """A text of a producer as one line. Line ends and tabs become blanks; what would steer a
    terminal or turn the direction of writing is shown as a replacement character."""
    return "".join(_shown(char) for char in text)


def _shown(char: str) -> str:
    if char in "\t\n\r":
        return " "
    unseen = unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    return "\N{REPLACEMENT CHARACTER}" if unseen and char not in _JOINERS else char


def money(pico: int, decimals: int, *, minus: str = "-") -> str:
    """An amount with `decimals` digits and separators: `-1,234.50`. More digits are shown where the
    amount has them, which an invoice's lines never do."""
    whole, fraction = divmod(abs(pico), 10**12)
    digits = f"{fraction:012d}".rstrip("0").ljust(decimals, "0")
    sign = minus if pico < 0 else ""
    return f"{sign}{whole:,}.{digits}" if digits else f"{sign}{whole:,}"


def count(quantity: str, *, minus: str = "-") -> str:
    """A decimal text with separators: `1234567.5` is `1,234,567.5`; what is none stays as it is."""
    digits = quantity.removeprefix("-")
    whole, point, fraction = digits.partition(".")
    if not whole.isdecimal():
        return printable(quantity)
    sign = minus if quantity.startswith("-") else ""
    return f"{sign}{int(whole):,}{point}{fraction}"


def quantity_text(line: PaperLine, *, minus: str = "-") -> str:
    """How much of it, for a person: a cost with its currency and six decimals at the most (the
    document has all twelve), nothing where a line counts nothing."""
    if not line.quantity or (line.quantity == "0" and line.line_kind in ("discount", "minimum")):
        return ""
    if line.metric == "cost":
        pico = round_half_even(parse_signed_amount(line.quantity), 10**6) * 10**6
        return f"{money(pico, currency_digits(line.currency), minus=minus)} {line.currency}"
    return count(line.quantity, minus=minus)


def zone_of(name: str) -> tuple[tzinfo, str]:
    """The zone of a name with the name that is true of it: UTC where this machine does not know the
    zone, because a bill that cannot be printed helps nobody."""
    if name == "UTC":
        return UTC, "UTC"
    try:
        return ZoneInfo(name), name
    except (ValueError, OSError, KeyError):
        return UTC, "UTC"


def moment(time_us: int, zone: tzinfo) -> datetime:
    """A time in a zone."""
    return (_EPOCH + time_us * _MICROSECOND).astimezone(zone)


def day(time_us: int, zone: tzinfo, *, later: int = 0) -> str:
    """A day for a person: `1 October 2026`; with `later`, so many days of the calendar after it."""
    local = moment(time_us, zone).date() + timedelta(days=later)
    return f"{local.day} {MONTHS[local.month - 1]} {local.year}"


def span(from_us: int, to_us: int, zone: tzinfo) -> str:
    """[from, to) for a person: `1 to 31 October 2026`, the last day included; with times of day
    where it does not begin and end at midnight."""
    begin, end = moment(from_us, zone), moment(to_us, zone)
    if not (_is_midnight(begin) and _is_midnight(end)):
        return f"{_minute(begin)} to {_minute(end)}"
    last = moment(to_us - 1, zone)
    first = str(begin.day)
    if begin.year != last.year:
        first = day(from_us, zone)
    elif begin.month != last.month:
        first = f"{begin.day} {MONTHS[begin.month - 1]}"
    only = begin.date() == last.date()
    return day(to_us - 1, zone) if only else f"{first} to {day(to_us - 1, zone)}"


def _is_midnight(local: datetime) -> bool:
    return (local.hour, local.minute, local.second, local.microsecond) == (0, 0, 0, 0)


def _minute(local: datetime) -> str:
    clock = f"{local.hour:02d}:{local.minute:02d}"
    if local.second or local.microsecond:
        clock += f":{local.second:02d}"
    return f"{local.day} {MONTHS[local.month - 1]} {local.year} {clock}"


def headings(sections: Sequence[Section]) -> list[str]:
    """A heading for each section; the period's own lines need one only beside others."""
    found = []
    for section in sections:
        if section.kind == "own":
            found.append(f"Period {printable(section.label)}" if len(sections) > 1 else "")
        elif section.kind == "credit":
            found.append("Credits")
        else:
            found.append(
                f"Corrections of invoice {printable(section.corrects)} "
                f"(period {printable(section.label)})"
            )
    return found


def details(bill: Bill, line: PaperLine) -> list[str]:
    """What a line is about beside its name: its group; and where a change in mid-period makes
    several lines of one item, or a line is about another period, its days and its rate card."""
    found = [printable(line.group)] if line.group else []
    if line.line_kind == "credit" and line.corrects:
        found.append(f"about invoice {printable(line.corrects)}")
    if (bill.segments > 1 or line.corrects) and line.line_kind != "credit":
        zone, _ = zone_of(bill.zone)
        rates = f", rates {printable(line.card)}" if line.card else ""
        found.append(span(line.from_us, line.to_us, zone) + rates)
    return found


def notes(bill: Bill) -> list[str]:
    """What a reader of the bill must know beside its lines, a sentence each."""
    found = [f"Reason: {printable(bill.reason)}"] if bill.reason else []
    if bill.unpriced_calls:
        calls = f"{bill.unpriced_calls:,} call{'' if bill.unpriced_calls == 1 else 's'}"
        found.append(
            f"{calls} of this period had no known cost when this was made; what that changes, if "
            "anything, comes as a correction on a later invoice."
        )
    return found
