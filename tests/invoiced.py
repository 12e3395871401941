"""A customer's books without a log: entries as their JSON, closes and issues as the worker would
write them, documents as text.

    books = Books(cards=[card])
    books.usage("2026-10-05T10:00:00Z", units=3)
    books.close("2026-10")              the document, issued
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from schemas.times import parse_time_us
from streams.domain.invoices.bundle import (
    Bundle,
    Case,
    bundle_from,
    compose,
    differences,
    looks_back,
    recompute,
    spans,
)
from streams.domain.invoices.calendar import CivilPeriod, following, period_of_label
from streams.domain.invoices.cards import card_from
from streams.domain.invoices.documents import Document, Line, digest, plain_totals
from streams.domain.invoices.tallies import Entry, tally
from streams.domain.invoices.timeline import CardAt, PlanAt, TermsAt, segments

Plain = dict[str, Any]


def card(**fields: Any) -> Plain:
    """A rate card's record with little in it."""
    return {"kind": "rate_card", "id": "pro", "version": "1", **fields}


def item(**fields: Any) -> Plain:
    """An item: calls for units unless it says otherwise."""
    return {"id": "units", "metric": "units", **fields}


@dataclass
class Books:
    """One customer. Every entry gets the next place of its partition."""

    cards: list[Plain] = field(default_factory=list)
    terms: list[TermsAt] = field(default_factory=lambda: [TermsAt(0, card="pro")])
    plans: list[PlanAt] = field(default_factory=list)
    customer: str = "acme"
    zone: str = "UTC"
    anchor_day: int = 1
    entries: list[Plain] = field(default_factory=list)
    closes: list[Plain] = field(default_factory=list)
    issues: list[Plain] = field(default_factory=list)
    voids: list[Plain] = field(default_factory=list)
    credits: list[Plain] = field(default_factory=list)
    documents: dict[str, Document] = field(default_factory=dict)
    bundles: dict[str, Bundle] = field(default_factory=dict)
    sequence: int = 0

    def _entry(self, kind: str, at: str | int, **fields: Any) -> Plain:
        self.sequence += 1
        return {
            "kind": kind,
            "generation": 1,
            "sequence": self.sequence,
            "customer_id": self.customer,
            "occurred_at": parse_time_us(at) if isinstance(at, str) else at,
            **fields,
        }

    def add(self, kind: str, at: str | int, **fields: Any) -> Plain:
        """An entry of any kind that is summed."""
        entry = self._entry(kind, at, **fields)
        self.entries.append(entry)
        return entry

    def usage(self, at: str | int, **fields: Any) -> Plain:
        """A call."""
        return self.add("usage", at, **fields)

    def signal(self, at: str | int, signal_name: str = "resolved", **fields: Any) -> Plain:
        """An outcome."""
        return self.add("signal", at, signal_name=signal_name, **fields)

    def credit(self, amount: str, reason: str = "", **fields: Any) -> None:
        """A credit."""
        fields = {"currency": "USD", "number": "", **fields}
        self.credits.append(self._entry("credit", 0, amount=amount, reason=reason, **fields))

    def period(self, label: str = "") -> CivilPeriod:
        """The period of a label, or the one after the last close."""
        if self.closes and not label:
            last = max(self.closes, key=lambda close: int(close["period_to"]))
            return following(last["period_to"], self.zone, self.anchor_day)
        return period_of_label(label, self.zone, self.anchor_day)

    def closing(self, period: CivilPeriod, number: str = "") -> Plain:
        """What a close says beside its own place: of a draft all there is."""
        ended = [close for close in self.closes if close["period_to"] <= period.from_us]
        last = max(ended, key=lambda close: int(close["cut_sequence"]), default=None)
        return {
            "customer_id": self.customer,
            "number": number,
            "label": period.label,
            "zone": self.zone,
            "period_from": period.from_us,
            "period_to": period.to_us,
            "segments": self.segments(period),
            "reissues": "",
            "cut_generation": 1,
            "cut_sequence": self.sequence,
            "after_generation": 1 if last else 0,
            "after_sequence": last["cut_sequence"] if last else 0,
            "after_end": last["period_to"] if last else 0,
        }

    def segments(self, period: CivilPeriod) -> list[Plain]:
        """The period under the cards as they are now."""
        cards = [
            CardAt(one["id"], one["version"], one.get("effective_from") or 0) for one in self.cards
        ]
        return [
            {"card": s.card, "version": s.version, "from_us": s.from_us, "to_us": s.to_us}
            for s in segments(period.from_us, period.to_us, self.terms, self.plans, cards)
        ]

    def number(self) -> str:
        """The next one: credit notes are in the same series."""
        return f"{self.customer}-{len(self.closes) + len(self.voids) + 1:04d}"

    def close(self, label: str = "") -> Document:
        """Closes a period and issues its invoice."""
        close = self.closing(self.period(label), self.number())
        return self._closed(self._entry("invoice_close", 0) | close)

    def _closed(self, close: Plain) -> Document:
        if not close["reissues"]:
            close["cut_sequence"] = close["sequence"]
        self.closes.append(close)
        return self.issue(self.bundle(close), close["number"])

    def void(self, number: str, reissue: bool = False, reason: str = "wrong") -> Document:
        """Voids an invoice and issues its credit note."""
        void = self._entry("invoice_void", 0, number=self.number(), voids=number, note=reason)
        self.voids.append(void | {"reissue": reissue})
        close = next(one for one in self.closes if one["number"] == number)
        return self.issue(self.bundle(close, self.voids[-1]), void["number"])

    def reissue(self, number: str) -> Document:
        """Closes the interval of a voided invoice again, under the cards as they are now."""
        old = next(one for one in self.closes if one["number"] == number)
        period = CivilPeriod(old["label"], old["period_from"], old["period_to"])
        close = self._entry("invoice_close", 0)
        kept = {key: old[key] for key in old if key.startswith(("cut_", "after_"))}
        again = {"reissues": number, "number": self.number(), **kept}
        return self._closed(close | self.closing(period) | again)

    def issue(self, bundle: Bundle, number: str) -> Document:
        """Issues what follows from a bundle."""
        document = recompute(bundle)
        assert document.number == number
        self.documents[number], self.bundles[number] = document, bundle
        entry = self._entry("invoice_issue", 0) | issue_of(document)
        self.issues.append(entry)
        return document

    def draft(self, label: str = "") -> Document:
        """What the close of a period would issue now, without one."""
        return recompute(self.bundle(self.closing(self.period(label))))

    def bundle(self, close: Plain, void: Plain | None = None) -> Bundle:
        """Everything the customer has, as one file."""
        case = Case(
            close=close,
            void=void,
            closes=tuple(one for one in self.closes if one is not close),
            issues=tuple(self.issues),
            voids=tuple(self.voids),
            credits=tuple(self.credits),
            cards=tuple(self.cards),
        )
        return Bundle(case, tuple(self.entries))

    def issued(self, number: str) -> Entry:
        """The entry that issued a document."""
        return next(entry for entry in self.issues if entry["number"] == number)


def issue_of(document: Document) -> Plain:
    """The fields of `invoice_issue` that say a document."""
    return {
        "number": document.number,
        "document": document.document,
        "customer_id": document.customer_id,
        "digest": digest(document),
        "lines": [line.plain() for line in document.lines],
        "totals": plain_totals(document.lines),
        "label": document.label,
        "period_from": document.period_from,
        "period_to": document.period_to,
        "voids": document.voids,
    }


def amounts(document: Document) -> list[tuple[str, str]]:
    """Item and amount of each line."""
    return [(line.item, f"{line.amount} {line.currency}") for line in document.lines]


def totals_of(document: Document) -> dict[str, str]:
    """Amounts by currency."""
    return {one["currency"]: one["amount"] for one in plain_totals(document.lines)}


def one_segment(plain: Mapping[str, Any], *entries: Plain, label: str = "2026-10") -> Document:
    """The draft of a month under one card, of entries in the middle of it."""
    books = Books([dict(plain)])
    for entry in entries:
        books.add(entry.pop("kind", "usage"), f"{label}-15T12:00:00Z", **entry)
    return books.draft(label)


def line_of(document: Document, item_id: str) -> Line:
    """The only line of an item."""
    (found,) = [line for line in document.lines if line.item == item_id]
    return found


__all__ = [
    "Books",
    "amounts",
    "bundle_from",
    "card",
    "card_from",
    "compose",
    "differences",
    "issue_of",
    "item",
    "line_of",
    "looks_back",
    "one_segment",
    "replace",
    "spans",
    "tally",
    "totals_of",
]
