"""Everything that one document follows from, and the way from there to its bytes.

A `Case` is what the log says about invoices; with the sums of entries (`spans` says which) it is a
document. A `Bundle` is a case and the entries themselves. Closing sums with SQL and verifying sums
with `tallies.tally`, but both compose the document here.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from schemas.limits import NAME_CHARS_MAX
from schemas.money import PICO, parse_signed_amount, round_to_currency
from streams.domain.invoices.calendar import CivilPeriod
from streams.domain.invoices.cards import Card, card_from
from streams.domain.invoices.documents import (
    LINE_DEFAULTS,
    Document,
    Line,
    credit_note,
    document_bytes,
    numbered,
    plain_totals,
    time_text,
)
from streams.domain.invoices.late import (
    BEFORE,
    Earlier,
    History,
    after_of,
    correction_lines,
    cut_of,
    history,
    segments_of,
)
from streams.domain.invoices.pricing import price
from streams.domain.invoices.shortening import shortened
from streams.domain.invoices.tallies import Entry, Span, Tally, place_of, tally
from streams.domain.invoices.timeline import Segment

BUNDLE_FORMAT: Final = "tollgate-bundle/1"

TOLD_MAX: Final = 50
"""Differences that are told; the first ones are enough to find the reason."""


@dataclass(frozen=True, slots=True)
class Case:
    """What the log says of one document, entries and records as their JSON. Entries that stand
    after the close are passed over, so all that a customer has may be given."""

    close: Entry
    """Kind `invoice_close`: of the document, or of the invoice that a credit note takes back. Of a
    draft: what the close would say, without a sequence of its own, with the number "" and the cut
    up to which it is drawn."""
    void: Entry | None = None
    """Kind `invoice_void`: given, the document is the credit note."""
    closes: tuple[Entry, ...] = ()
    """The customer's closes before that one."""
    issues: tuple[Entry, ...] = ()
    """The customer's `invoice_issue` before the close."""
    voids: tuple[Entry, ...] = ()
    """The customer's `invoice_void` before the close."""
    credits: tuple[Entry, ...] = ()
    """The customer's `credit`."""
    cards: tuple[Mapping[str, Any] | Card, ...] = ()
    """The `rate_card` records that the segments of all these closes name; a Card where the caller
    has read it already."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A case with the entries: nothing else is needed to say what the document is."""

    case: Case
    entries: tuple[Entry, ...]
    """Usage, adjustment, signal and void entries of the customer: at least those with an event
    time in the spans of the document."""

    def plain(self) -> dict[str, Any]:
        """The JSON of the bundle. Its cards must be records."""
        case = self.case
        return {
            "format": BUNDLE_FORMAT,
            "close": dict(case.close),
            "void": None if case.void is None else dict(case.void),
            "closes": [dict(entry) for entry in case.closes],
            "issues": [dict(entry) for entry in case.issues],
            "voids": [dict(entry) for entry in case.voids],
            "credits": [dict(entry) for entry in case.credits],
            "cards": [_record(card) for card in case.cards],
            "entries": [dict(entry) for entry in self.entries],
        }


def bundle_from(plain: Any) -> Bundle:
    """The bundle that a JSON says. Raises ValueError for anything else."""
    if not isinstance(plain, Mapping) or plain.get("format") != BUNDLE_FORMAT:
        raise ValueError(f"not a bundle of the format {BUNDLE_FORMAT}")
    close, void = plain.get("close"), plain.get("void")
    if not isinstance(close, Mapping) or not (void is None or isinstance(void, Mapping)):
        raise ValueError("close, void: not an entry")
    return Bundle(
        Case(
            close=close,
            void=void,
            closes=_entries(plain, "closes"),
            issues=_entries(plain, "issues"),
            voids=_entries(plain, "voids"),
            credits=_entries(plain, "credits"),
            cards=_entries(plain, "cards"),
        ),
        _entries(plain, "entries"),
    )


def looks_back(case: Case) -> bool:
    """Whether all earlier periods are looked at, whatever `late` says: a reissue is about, so the
    lines of all issues are needed."""
    return _history(case).unsettled


def spans(case: Case, late: Collection[str] | None = None) -> list[Span]:
    """What has to be summed: the own segments, then those of earlier periods.

    `late` names, by the number of their closes, earlier periods with an entry after the previous
    cut; "before" is the time before the first period. None: all of them. More than those make no
    difference to the document.
    """
    earlier = _segments(_history(case).earlier(late))
    return [*own_spans(case), *_spans(case, earlier)]


def own_spans(case: Case) -> list[Span]:
    """Those of the own segments: the first of `spans`, whatever is late."""
    return _spans(case, segments_of(case.close))


def _spans(case: Case, segments: Iterable[Segment]) -> list[Span]:
    cut = cut_of(case.close)
    return [Span(segment.from_us, segment.to_us, cut) for segment in segments]


def compose(case: Case, tallies: Sequence[Tally], late: Collection[str] | None = None) -> Document:
    """The document, from the sums of `spans(case, late)` in their order.

    Raises ValueError where a card, a close or lines are missing.
    """
    document = _invoice(case, tallies, late)
    if case.void is None:
        return document
    if case.void["voids"] != document.number:
        raise ValueError(f"{case.void['number']} is the credit note of {case.void['voids']}")
    return credit_note(document, case.void)


def recompute(bundle: Bundle) -> Document:
    """The document that follows from a bundle. Raises ValueError as `compose`."""
    late = late_in(bundle)
    return compose(bundle.case, tally(bundle.entries, spans(bundle.case, late)), late)


def late_in(bundle: Bundle) -> set[str]:
    """The earlier periods with an entry after the previous cut: what `spans` takes as `late`."""
    case, found = bundle.case, set()
    cut, after, first_us = cut_of(case.close), after_of(case.close), case.close["period_from"]
    late_us = [
        entry["occurred_at"]
        for entry in bundle.entries
        if entry["occurred_at"] < first_us and after < place_of(entry) <= cut
    ]
    for earlier in _history(case).earlier(None) if late_us else ():
        if any(earlier.from_us <= time_us < earlier.to_us for time_us in late_us):
            found.add(earlier.name)
    return found


def differences(bundle: Bundle, issued: Entry) -> list[str]:
    """Where what was issued (kind `invoice_issue`) is not what follows from the bundle.

    Sentences for a person, TOLD_MAX at the most; none: every byte is the same.
    """
    faults = list(_faults(bundle))
    try:
        document = recompute(bundle)
    except (ValueError, KeyError, TypeError) as error:
        return [*faults, f"it cannot be recomputed: {error!r}"][:TOLD_MAX]
    faults += document_differences(document, issued)
    return faults[:TOLD_MAX]


def _invoice(case: Case, tallies: Sequence[Tally], late: Collection[str] | None) -> Document:
    close = case.close
    own = segments_of(close)
    earlier = _history(case).earlier(late)
    if len(tallies) != len(own) + sum(len(found.segments) for found in earlier):
        raise ValueError("the sums are not those of spans(case, late)")
    cards = _cards(case)
    period = CivilPeriod(close["label"], close["period_from"], close["period_to"])
    sums = iter(tallies)
    own_sums = [next(sums) for _ in own]
    lines: list[Line] = []
    for segment, found in zip(own, own_sums, strict=True):
        lines += price(segment, _card(cards, segment), found, period)
    for past in earlier:
        whole = CivilPeriod(past.label, past.from_us, past.to_us)
        now: list[Line] = []
        for segment in past.segments:
            card = _card(cards, segment)
            now += price(segment, card, next(sums), whole, items_only=past.items_only)
        lines += correction_lines(past, now)
    lines += _credit_lines(case, period)
    figures = [figures for found in own_sums for figures in found.values()]
    return Document(
        document="invoice" if close["number"] else "draft",
        number=close["number"],
        customer_id=close["customer_id"],
        label=period.label,
        zone=close["zone"],
        period_from=period.from_us,
        period_to=period.to_us,
        cut=cut_of(close),
        after=after_of(close),
        segments=own,
        lines=numbered(shortened(lines)),
        reissues=close.get("reissues", ""),
        price_versions=tuple(sorted(frozenset().union(*(one.price_versions for one in figures)))),
        notes={"unpriced_calls": sum(one.unpriced_calls for one in figures)},
    )


def _history(case: Case) -> History:
    return history(case.close, case.closes, case.issues, case.voids)


def _segments(earlier: Sequence[Earlier]) -> list[Segment]:
    return [segment for past in earlier for segment in past.segments]


def _cards(case: Case) -> dict[str, Card]:
    found = [card if isinstance(card, Card) else card_from(card) for card in case.cards]
    return {card.name: card for card in found}


def _card(cards: Mapping[str, Card], segment: Segment) -> Card | None:
    if not segment.card:
        return None
    if segment.name not in cards:
        raise ValueError(f"rate card {segment.name} is missing")
    return cards[segment.name]


def _credit_lines(case: Case, period: CivilPeriod) -> list[Line]:
    """Credits that were given since the previous cut, in their order."""
    cut, after = cut_of(case.close), after_of(case.close)
    given = sorted((one for one in case.credits if after < place_of(one) <= cut), key=place_of)
    return [_credit_line(entry, period) for entry in given]


def _credit_line(entry: Entry, period: CivilPeriod) -> Line:
    currency = entry.get("currency", "USD")
    return Line(
        line=0,
        line_kind="credit",
        label=period.label,
        item="credit",
        # A title is shorter than a reason may be.
        title=entry.get("reason", "")[:NAME_CHARS_MAX] or "Credit",
        card="",
        group="",
        metric="",
        quantity_pico=PICO,
        from_us=period.from_us,
        to_us=period.to_us,
        amount_pico=-round_to_currency(parse_signed_amount(entry["amount"]), 1, currency),
        currency=currency,
        corrects=entry.get("number", ""),
    )


def _faults(bundle: Bundle) -> Iterator[str]:
    """What is wrong with a bundle whatever follows from it."""
    case, seen = bundle.case, set()
    every = (*case.closes, *case.issues, *case.voids, *case.credits, *bundle.entries)
    for entry in every:
        place = (entry.get("generation"), entry.get("sequence"))
        if entry.get("customer_id") != case.close.get("customer_id"):
            yield f"entry {place} is of another customer: {entry.get('customer_id')!r}"
        if place in seen:
            yield f"entry {place} stands there twice"
        seen.add(place)


def document_differences(document: Document, issued: Entry) -> Iterator[str]:
    """Where an issued document is not this one, as sentences."""
    plain = document.plain()
    told = {name: plain[name] for name in ("number", "document", "label", "customer_id", "voids")}
    told |= {"period_from": document.period_from, "period_to": document.period_to}
    for name, value in told.items():
        found = issued.get(name, "" if name == "voids" else None)
        if found != value:
            yield f"{name}: issued {_said(name, found)}, recomputed {_said(name, value)}"
    theirs, ours = list(issued.get("lines", ())), plain["lines"]
    for number in range(max(len(theirs), len(ours))):
        yield from _line_differences(
            number + 1,
            theirs[number] if number < len(theirs) else None,
            ours[number] if number < len(ours) else None,
        )
    sums = [dict(total) for total in issued.get("totals", ())]
    if sums != plain_totals(document.lines):
        yield f"totals: issued {_sums(sums)}, recomputed {_sums(plain_totals(document.lines))}"
    digest = sha256(document_bytes(document)).hexdigest()
    if issued.get("digest") != digest:
        yield f"digest: issued {issued.get('digest')}, recomputed {digest}"


def _line_differences(
    number: int, issued: Mapping[str, Any] | None, ours: Mapping[str, Any] | None
) -> Iterator[str]:
    if issued is None or ours is None:
        line = issued or ours or {}
        which = "recomputed, not issued" if issued is None else "issued, not recomputed"
        yield f"line {number}: {which}: {line.get('title')} {line.get('amount')}"
        return
    told = LINE_DEFAULTS | dict(issued)
    for name in sorted({*told, *ours}):
        if told.get(name) != ours.get(name):
            yield (
                f"line {number} ({ours['title']}), {name}: issued {told.get(name)!r}, "
                f"recomputed {ours.get(name)!r}"
            )


def _said(name: str, value: Any) -> str:
    if name.startswith("period_") and isinstance(value, int):
        return time_text(value)
    return repr(value)


def _sums(totals: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{one.get('amount')} {one.get('currency')}" for one in totals) or "nothing"


def _record(card: Mapping[str, Any] | Card) -> dict[str, Any]:
    if isinstance(card, Card):
        raise ValueError(f"rate card {card.name} is needed as its record")
    return dict(card)


def _entries(plain: Mapping[str, Any], name: str) -> tuple[Mapping[str, Any], ...]:
    found = plain.get(name, [])
    if not isinstance(found, list) or not all(isinstance(entry, Mapping) for entry in found):
        raise ValueError(f"{name}: not a list of objects")
    return tuple(found)


__all__ = [
    "BEFORE",
    "Bundle",
    "Case",
    "bundle_from",
    "compose",
    "differences",
    "document_differences",
    "late_in",
    "looks_back",
    "recompute",
    "spans",
]
