"""From closes to documents: sums of rows put into the code that recomputes invoices.

Many customers at once in few queries. What the document is, `streams.domain.invoices` says; this
module only finds what it follows from.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from schemas.codec import to_plain
from streams.domain.invoices.bundle import BEFORE, Case, compose, looks_back, own_spans, spans
from streams.domain.invoices.cards import Card, card_from
from streams.domain.invoices.documents import Document, digest
from streams.domain.invoices.tallies import Span, Tally
from streams.domain.rate_cards import RateShelf
from streams.errors import SetupError
from streams.invoicing.billing import Billing, Plain, in_batches, read_lines
from streams.invoicing.tallies import CustomerSpan, LateAsk, late_periods, tallies
from streams.ports import Warehouse

CardsOf = Callable[[str], Card | Mapping[str, Any]]
"""Gives a rate card by its name, such as `pro@2`."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A document that is to be made: that of a close, or the credit note of a void."""

    billing: Billing
    close: Plain
    void: Plain | None = None

    @property
    def number(self) -> str:
        """Its number, empty of a draft."""
        return str((self.close if self.void is None else self.void)["number"])

    @property
    def customer_id(self) -> str:
        """Whose it is."""
        return self.billing.customer_id


@dataclass(frozen=True, slots=True)
class Made:
    """A document and what it was made of."""

    wanted: Wanted
    document: Document

    def fields(self) -> dict[str, Any]:
        """Of the fact that issues it."""
        plain = self.document.plain()
        return {
            "number": self.document.number,
            "document": self.document.document,
            "digest": digest(self.document),
            "lines": plain["lines"],
            "totals": plain["totals"],
        }


def unissued(billing: Billing) -> list[Wanted]:
    """What of a customer was closed or voided and is not issued, in the order of the ledger."""
    closes = {one["number"]: one for one in billing.closes}
    return [
        Wanted(billing, one)
        if one["kind"] == "invoice_close"
        else Wanted(billing, closes[one["voids"]], one)
        for one in billing.unissued
    ]


def make_documents(
    warehouse: Warehouse, shelf: RateShelf, wanted: Sequence[Wanted], *, corrects: bool = True
) -> list[Made]:
    """The documents of closes and voids whose rows are in ClickHouse up to their cuts, in their
    order.

    Without `corrects` nothing that came late to earlier periods is looked for. Raises SetupError
    where a card that a segment names is not in the catalog.
    """
    made: dict[int, Made] = {}
    for places in _one_per_customer(wanted):
        found = _make(warehouse, shelf, [wanted[at] for at in places], corrects)
        made.update(zip(places, found, strict=True))
    return [made[at] for at in range(len(wanted))]


def _one_per_customer(wanted: Sequence[Wanted]) -> Iterator[list[int]]:
    """Places among what is wanted, in rounds in which each customer is at most once."""
    rounds: list[list[int]] = []
    count: dict[str, int] = {}
    for at, one in enumerate(wanted):
        number = count[one.customer_id] = count.get(one.customer_id, 0) + 1
        if number > len(rounds):
            rounds.append([])
        rounds[number - 1].append(at)
    yield from rounds


def _make(
    warehouse: Warehouse, shelf: RateShelf, wanted: Sequence[Wanted], corrects: bool
) -> list[Made]:
    cards = cards_by_name(shelf)
    by_agent = _by_agent(shelf)
    cases = [case_of(one.billing, one.close, one.void, cards) for one in wanted]
    own = list(map(own_spans, cases))
    # At the same time, because each takes longer to be planned than to read one customer's rows.
    with ThreadPoolExecutor(1) as beside:
        own_sums = beside.submit(_sums, warehouse, wanted, own, by_agent)
        late = _late(warehouse, wanted) if corrects else [frozenset[str]() for _ in wanted]
        # Most documents correct nothing: what earlier ones say is read only for those that may.
        told = _with_lines(
            warehouse,
            (
                one.billing
                for one, case, of in zip(wanted, cases, late, strict=True)
                if (of or looks_back(case)) and not one.billing.with_lines
            ),
        )
        cases = [
            case_of(told[one.customer_id], one.close, one.void, cards)
            if one.customer_id in told
            else case
            for one, case in zip(wanted, cases, strict=True)
        ]
        earlier = [
            spans(case, of)[len(first) :] for case, of, first in zip(cases, late, own, strict=True)
        ]
        earlier_sums = _sums(warehouse, wanted, earlier, by_agent)
    return [
        Made(one, compose(case, [*first, *then], names))
        for one, case, first, then, names in zip(
            wanted, cases, own_sums.result(), earlier_sums, late, strict=True
        )
    ]


def _sums(
    warehouse: Warehouse, wanted: Sequence[Wanted], needed: Sequence[Sequence[Span]], by_agent: bool
) -> list[list[Tally]]:
    """The sums of the spans that each document needs."""
    asked = [
        CustomerSpan(one.customer_id, span.from_us, span.to_us, span.cut)
        for one, of in zip(wanted, needed, strict=True)
        for span in of
    ]
    found = iter(tallies(warehouse, asked, by_agent=by_agent))
    return [[next(found) for _ in of] for of in needed]


def _by_agent(shelf: RateShelf) -> bool:
    """Whether any card asks for agents."""
    return any(
        item.agent is not None or item.group_by == "agent"
        for card in shelf.card_records
        for item in card.items
    )


def case_of(billing: Billing, close: Plain, void: Plain | None, cards: CardsOf) -> Case:
    """What the log says of one document. What stands after it is passed over there."""
    names = {
        f"{segment['card']}@{segment['version']}"
        for one in (*billing.closes, close)
        for segment in one["segments"]
        if segment["card"]
    }
    return Case(
        close=close,
        void=void,
        closes=tuple(billing.closes),
        issues=tuple(billing.issues),
        voids=tuple(billing.voids),
        credits=tuple(billing.credits),
        cards=tuple(cards(name) for name in sorted(names)),
    )


def card_records(shelf: RateShelf) -> Callable[[str], Mapping[str, Any]]:
    """Rate cards by name, as their records."""
    records = shelf.cards

    def record(name: str) -> Mapping[str, Any]:
        if name not in records:
            raise SetupError(
                f"an invoice is charged by rate card {name}, which the catalog does not hold",
                action="Restore the catalog topic: nothing that was closed under the card can be "
                "made again without it.",
            )
        plain: Mapping[str, Any] = to_plain(records[name])
        return plain

    return record


def cards_by_name(shelf: RateShelf) -> CardsOf:
    """Rate cards by name, read once for many documents."""
    record = card_records(shelf)
    found: dict[str, Card] = {}

    def card(name: str) -> Card:
        if name not in found:
            found[name] = card_from(record(name))
        return found[name]

    return card


def earlier_closes(billing: Billing, close: Plain) -> list[Plain]:
    """The closes of the periods before one's own, in the order of the periods; of a period that was
    invoiced anew, the first."""
    own = [one for one in billing.closes if not one["reissues"]]
    return [one for one in own if one["period_from"] < close["period_from"]]


def _late(warehouse: Warehouse, wanted: Sequence[Wanted]) -> list[frozenset[str]]:
    """For each document the earlier periods to which something came late, by the numbers of all
    their closes."""
    asks, names = [], []
    for one in wanted:
        close = one.close
        earlier = earlier_closes(one.billing, close)
        edges = [int(before["period_from"]) for before in earlier] + [int(close["period_from"])]
        after = (int(close["after_generation"]), int(close["after_sequence"]))
        cut = (int(close["cut_generation"]), int(close["cut_sequence"]))
        asks.append(LateAsk(one.customer_id, after, cut, tuple(edges)))
        names.append([{BEFORE}, *(_numbers(one.billing, before) for before in earlier)])
    found = late_periods(warehouse, asks)
    return [
        frozenset(number for at in indices for number in of[at])
        for indices, of in zip(found, names, strict=True)
    ]


def _numbers(billing: Billing, close: Plain) -> set[str]:
    period = close["period_from"]
    return {str(one["number"]) for one in billing.closes if one["period_from"] == period}


def _with_lines(warehouse: Warehouse, billings: Iterable[Billing]) -> dict[str, Billing]:
    """The same with the lines of what was issued."""
    of = {one.customer_id: one for one in billings}
    for batch in in_batches(sorted(of)):
        lines = read_lines(warehouse, batch)
        for name in batch:
            issues = [
                one | {"lines": lines.get((name, one["number"]), one["lines"])}
                for one in of[name].issues
            ]
            of[name] = replace(of[name], issues=issues, with_lines=True)
    return of
