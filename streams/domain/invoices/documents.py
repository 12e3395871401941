"""The document: what stands on an invoice or a credit note, and its bytes.

The bytes are canonical JSON (keys sorted, no blanks, UTF-8): one document has one text, and the
digest of an issued invoice is the SHA-256 of it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from schemas.money import format_amount, parse_signed_amount
from streams.domain.invoices.tallies import Place
from streams.domain.invoices.timeline import Segment

FORMAT: Final = "tollgate-invoice/1"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Line:
    """What is charged. Field names are those of `InvoiceLine`, figures are integers here."""

    line: int
    """From 1, in the order of the document; 0 while it has no place in one."""
    line_kind: str
    """usage, fee, discount, minimum or credit."""
    label: str
    """The period that it is about."""
    item: str
    title: str
    card: str
    """`pro@2`; empty where no card says it."""
    group: str
    metric: str
    quantity_pico: int
    """The quantity times 10**12: a cost has decimals. 1 of a fee; 0 where nothing is counted."""
    from_us: int
    to_us: int
    amount_pico: int
    """Rounded: a multiple of the currency's smallest unit."""
    currency: str
    corrects: str = ""
    """The number of the invoice whose period it corrects; empty for the document's own period."""

    @property
    def quantity(self) -> str:
        """As decimal text, with a sign."""
        return format_amount(self.quantity_pico)

    @property
    def amount(self) -> str:
        """As decimal text, with a sign."""
        return format_amount(self.amount_pico)

    def at(self, number: int) -> "Line":
        """This line with a place in a document. A third of the time that `replace` takes, which
        counts where ten thousand customers are closed."""
        return Line(
            number,
            self.line_kind,
            self.label,
            self.item,
            self.title,
            self.card,
            self.group,
            self.metric,
            self.quantity_pico,
            self.from_us,
            self.to_us,
            self.amount_pico,
            self.currency,
            self.corrects,
        )

    def plain(self) -> dict[str, Any]:
        """The JSON of `InvoiceLine`."""
        return {
            "line": self.line,
            "line_kind": self.line_kind,
            "corrects": self.corrects,
            "label": self.label,
            "item": self.item,
            "title": self.title,
            "card": self.card,
            "group": self.group,
            "metric": self.metric,
            "quantity": self.quantity,
            "from_us": self.from_us,
            "to_us": self.to_us,
            "amount": self.amount,
            "currency": self.currency,
        }


LINE_DEFAULTS: Final = dict.fromkeys(
    ("corrects", "item", "title", "card", "group", "metric", "quantity"), ""
)
"""What the JSON of a ledger entry leaves out."""


def line_from(plain: Mapping[str, Any]) -> Line:
    """The line that the JSON of an `InvoiceLine` says."""
    told = LINE_DEFAULTS | dict(plain)
    return Line(
        line=told["line"],
        line_kind=told["line_kind"],
        corrects=told["corrects"],
        label=told["label"],
        item=told["item"],
        title=told["title"],
        card=told["card"],
        group=told["group"],
        metric=told["metric"],
        quantity_pico=parse_signed_amount(told["quantity"] or "0"),
        from_us=told["from_us"],
        to_us=told["to_us"],
        amount_pico=parse_signed_amount(told["amount"]),
        currency=told["currency"],
    )


@dataclass(frozen=True, slots=True)
class Document:
    """An invoice, a credit note or a draft: everything that its reader is told, nothing else."""

    document: str
    """`invoice`, `credit_note`, or `draft`."""
    number: str
    """Empty of a draft."""
    customer_id: str
    label: str
    zone: str
    period_from: int
    period_to: int
    cut: Place
    after: Place
    segments: tuple[Segment, ...]
    lines: tuple[Line, ...]
    reissues: str = ""
    voids: str = ""
    price_versions: tuple[str, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def totals_pico(self) -> dict[str, int]:
        """The sum of the lines for each currency that stands on one, by its code."""
        return totals(self.lines)

    def plain(self) -> dict[str, Any]:
        """The JSON of the document."""
        return {
            "format": FORMAT,
            "document": self.document,
            "number": self.number,
            "customer_id": self.customer_id,
            "label": self.label,
            "zone": self.zone,
            "period_from": time_text(self.period_from),
            "period_to": time_text(self.period_to),
            "cut": list(self.cut),
            "after": list(self.after),
            "reissues": self.reissues,
            "voids": self.voids,
            "segments": [
                {
                    "card": segment.card,
                    "version": segment.version,
                    "from_us": segment.from_us,
                    "to_us": segment.to_us,
                }
                for segment in self.segments
            ],
            "price_versions": list(self.price_versions),
            "lines": [line.plain() for line in self.lines],
            "totals": plain_totals(self.lines),
            "notes": dict(self.notes),
        }


def totals(lines: Sequence[Line]) -> dict[str, int]:
    """The sum of lines for each currency, in the order of the codes: currencies never mix (M3)."""
    sums: dict[str, int] = {}
    for line in lines:
        sums[line.currency] = sums.get(line.currency, 0) + line.amount_pico
    return dict(sorted(sums.items()))


def plain_totals(lines: Sequence[Line]) -> list[dict[str, str]]:
    """The JSON of `InvoiceTotal`s."""
    return [
        {"currency": currency, "amount": format_amount(pico)}
        for currency, pico in totals(lines).items()
    ]


def numbered(lines: Sequence[Line]) -> tuple[Line, ...]:
    """Lines with their place in the document."""
    return tuple(line.at(number) for number, line in enumerate(lines, start=1))


def time_text(time_us: int) -> str:
    """RFC 3339 in UTC; a fraction only where there is one."""
    moment = _EPOCH + timedelta(microseconds=time_us)
    return moment.isoformat().replace("+00:00", "Z")


def canonical_bytes(plain: Any) -> bytes:
    """JSON with sorted keys, without blanks, in UTF-8: one text for one value."""
    return json.dumps(
        plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def document_bytes(document: Document) -> bytes:
    """The bytes that are the document."""
    return canonical_bytes(document.plain())


def digest(document: Document) -> str:
    """SHA-256 of its bytes, 64 hex digits."""
    return sha256(document_bytes(document)).hexdigest()


def credit_note(issued: Document, void: Mapping[str, Any]) -> Document:
    """The document that takes an issued invoice back: its lines with the opposite sign.

    `void` is the entry of kind `invoice_void`. The order of lines stays, so that line n of the
    note is about line n of the invoice.
    """
    return replace(
        issued,
        document="credit_note",
        number=void["number"],
        voids=issued.number,
        lines=tuple(
            replace(line, quantity_pico=-line.quantity_pico, amount_pico=-line.amount_pico)
            for line in issued.lines
        ),
        notes={"reason": void.get("note", "")},
    )
