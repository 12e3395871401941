"""Invoices over random histories: what is told sums up to what a period costs, whatever the order
in which it became known."""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from schemas.money import PICO, format_amount, smallest_unit_pico
from streams.domain.invoices.bundle import (
    Bundle,
    bundle_from,
    compose,
    differences,
    late_in,
    recompute,
    spans,
)
from streams.domain.invoices.calendar import CivilPeriod
from streams.domain.invoices.cards import Card, card_from
from streams.domain.invoices.documents import (
    Document,
    Line,
    digest,
    document_bytes,
    line_from,
)
from streams.domain.invoices.late import BEFORE, segments_of
from streams.domain.invoices.pricing import price
from streams.domain.invoices.tallies import Figures, Span, Tally, TallyKey, tally
from streams.domain.invoices.timeline import CardAt, PlanAt, Segment, TermsAt, segments
from tests.invoiced import Books, Plain, card
from tests.property.seed import SEED

START_US = 1_782_864_000_000_000
"""2026-07-01: a month before the first close."""

DAY_US = 86_400 * 10**6
HISTORIES = 30

Identity = tuple[Any, ...]


def random_card(random_source: random.Random, version: int) -> Plain:
    """A card with something of everything."""
    pick, below = random_source.choice, random_source.randrange

    def amount(most: int) -> str:
        return format_amount(below(most) * 10 ** (12 - below(5)))

    steps = [{"up_to": 5, "price": amount(50)}, {"up_to": 40, "price": amount(20), "flat": "1"}]
    tiers = {"mode": pick(["graduated", "volume"]), "steps": [*steps, {"price": amount(9)}]}
    items: list[Plain] = [
        {"id": "units", "metric": "units", "price": amount(30), "included": below(200)},
        {"id": "tokens", "metric": "tokens", "group_by": pick(["", "model", "agent"])},
        {"id": "ai", "metric": "cost", "markup_percent": amount(40)},
        {"id": "ai2", "metric": "cost", "model": "m1", "group_by": "agent"},
        {"id": "done", "metric": "signals", "signal": pick([None, "won"]), "tiers": tiers},
        {"id": "calls", "metric": "calls", "agent": "a1", "tiers": tiers, "group_by": "model"},
    ]
    items[1] |= {"price": amount(99), "per": pick([1, 7, 1000])}
    effective = START_US + below(150) * DAY_US + below(DAY_US) if version > 1 else None
    return card(
        version=str(version),
        currency=pick(["USD", "EUR", "JPY", "KWD"]),
        effective_from=effective,
        fees=[{"id": "base", "amount": amount(40)}],
        items=random_source.sample(items, below(1, 7)),
        discounts=[{"id": "off", "percent": pick(["0.1", "12.5", "33.333", "100"])}]
        if below(2)
        else [],
        minimum=pick([None, amount(100)]),
    ) | {"title": "Pro"}


def random_entry(books: Books, random_source: random.Random, latest_day: int) -> None:
    """Something that happened at any time so far, most of it lately."""
    pick, below = random_source.choice, random_source.randrange
    day = latest_day - below(40) if below(3) else below(latest_day + 1)
    at = START_US + max(day, 0) * DAY_US + below(DAY_US)
    who = {"provider": pick(["p", "q"]), "model": pick(["m1", "m2"]), "agent_id": pick(["", "a1"])}
    money = {"cost": format_amount(below(10**14)), "currency": pick(["USD", "USD", "EUR", "JPY"])}
    kind = pick(["usage", "usage", "usage", "signal", "void", "adjustment"])
    if kind == "usage":
        counted = {"units": below(50), "input_tokens": below(9999), "covered_tokens": below(100)}
        told = {"cost_basis": pick(["priced", "unpriced"]), "price_version": pick(["", "v1", "v2"])}
        flags = [["outer_span"]] if not below(9) else [[]]
        books.usage(at, **who, **money, **counted, **told, flags=flags[0])
    elif kind == "adjustment":
        books.add(kind, at, **who, **money, was_unpriced=bool(below(2)))
    else:
        books.add(kind, at, agent_id="a1", signal_name=pick(["won", "lost"]), quantity=below(1, 4))


def random_books(random_source: random.Random) -> Books:
    """Months of entries, closes, credits, voids and reissues, in any order; a close at the end."""
    cards = [random_card(random_source, version) for version in range(1, 4)]
    terms = [TermsAt(0, card="pro"), TermsAt(START_US + 80 * DAY_US, plan="none")]
    books = Books(cards[:2], terms=terms[: random_source.randrange(1, 3)])
    books.zone = random_source.choice(["UTC", "Europe/Berlin", "Asia/Kolkata"])
    for _ in range(20):
        random_entry(books, random_source, 62)
    books.close("2026-08")
    for number in range(1, 5):
        for _ in range(random_source.randrange(20)):
            random_entry(books, random_source, 62 + 31 * number)
        if random_source.randrange(2):
            books.credit("1.005", currency=random_source.choice(["USD", "KWD"]))
        if number == 2:
            books.cards.append(cards[2])
        if random_source.randrange(2):
            open_ones = [one["number"] for one in books.closes if not _voided(books, one["number"])]
            chosen, again = random_source.choice(open_ones), random_source.randrange(3) > 0
            books.void(chosen, reissue=again)
            if again:
                books.reissue(chosen)
        books.close()
    return books


def _voided(books: Books, number: str) -> bool:
    return any(void["voids"] == number for void in books.voids)


@pytest.fixture(scope="module")
def histories() -> list[Books]:
    return [random_books(random.Random(SEED + number)) for number in range(HISTORIES)]


def lines_that_count(books: Books) -> Iterator[tuple[Plain, Line]]:
    """The lines of invoices that were not voided for a reissue, each with its invoice's close."""
    gone = {void["voids"] for void in books.voids if void["reissue"]}
    closes = {close["number"]: close for close in books.closes}
    for issue in books.issues:
        if issue["document"] == "invoice" and issue["number"] not in gone:
            for plain in issue["lines"]:
                line = line_from(plain)
                if line.line_kind != "credit":
                    yield closes[line.corrects or issue["number"]], line


def told(books: Books) -> dict[Identity, tuple[int, int]]:
    """Quantity and amount of each line over all documents."""
    sums: dict[Identity, tuple[int, int]] = {}
    for close, line in lines_that_count(books):
        period = 0 if line.label == BEFORE else close["period_from"]
        add(sums, period, line)
    return {key: sum_ for key, sum_ in sums.items() if sum_ != (0, 0)}


def add(sums: dict[Identity, tuple[int, int]], period: int, line: Line) -> None:
    key = (
        *(period, line.card, line.from_us, line.to_us),
        *(line.item, line.group, line.currency, line.line_kind),
    )
    quantity, amount = sums.get(key, (0, 0))
    sums[key] = (quantity + line.quantity_pico, amount + line.amount_pico)


def owed(books: Books) -> dict[Identity, tuple[int, int]]:
    """What each period costs at the last cut under the segments of its last close."""
    cards: dict[str, Card] = {one.name: one for one in map(card_from, books.cards)}
    last = {close["period_from"]: close for close in books.closes}
    cut = (1, max(close["cut_sequence"] for close in books.closes))
    sums: dict[Identity, tuple[int, int]] = {}
    first = last[min(last)]
    opening = replace(segments_of(first)[0], from_us=0, to_us=first["period_from"])
    whole = CivilPeriod(BEFORE, 0, first["period_from"])
    for segment, period in [
        (opening, whole),
        *(
            (segment, CivilPeriod(close["label"], close["period_from"], close["period_to"]))
            for close in last.values()
            for segment in segments_of(close)
        ),
    ]:
        (found,) = tally(books.entries, [Span(segment.from_us, segment.to_us, cut)])
        chosen = cards[segment.name] if segment.card else None
        for line in price(segment, chosen, found, period, items_only=period is whole):
            add(sums, period.from_us, line)
    return {key: sum_ for key, sum_ in sums.items() if sum_ != (0, 0)}


def test_what_was_told_of_a_period_sums_up_to_what_it_costs_at_the_last_cut(
    histories: list[Books],
) -> None:
    corrected = 0
    for books in histories:
        assert told(books) == owed(books)
        corrected += any(line.corrects for _, line in lines_that_count(books))
    assert corrected > HISTORIES // 2


def test_every_document_is_what_its_bundle_says(histories: list[Books]) -> None:
    for books in histories:
        for number, bundle in books.bundles.items():
            assert not differences(bundle, books.issued(number))


def test_looking_at_more_earlier_periods_changes_nothing(histories: list[Books]) -> None:
    for books in histories:
        for number, bundle in books.bundles.items():
            everything = compose(bundle.case, tally(bundle.entries, spans(bundle.case)))
            assert digest(everything) == digest(books.documents[number])


def test_the_entries_of_the_spans_are_all_that_is_needed(histories: list[Books]) -> None:
    left_out = 0
    for books in histories:
        for number, bundle in books.bundles.items():
            wanted = spans(bundle.case, late_in(bundle))
            kept = tuple(
                entry
                for entry in bundle.entries
                if any(span.from_us <= entry["occurred_at"] < span.to_us for span in wanted)
            )
            left_out += len(bundle.entries) - len(kept)
            assert digest(recompute(replace(bundle, entries=kept))) == digest(
                books.documents[number]
            )
    assert left_out


def test_the_order_of_entries_changes_nothing(histories: list[Books]) -> None:
    for books in histories:
        for number, bundle in books.bundles.items():
            shuffled = list(bundle.entries)
            random.Random(SEED).shuffle(shuffled)
            case = bundle.case
            mixed = replace(
                case,
                closes=case.closes[::-1],
                issues=case.issues[::-1],
                voids=case.voids[::-1],
                credits=case.credits[::-1],
                cards=case.cards[::-1],
            )
            again = recompute(Bundle(mixed, tuple(shuffled)))
            assert document_bytes(again) == document_bytes(books.documents[number])


def test_a_bundle_and_a_document_survive_their_json(histories: list[Books]) -> None:
    for books in histories:
        for number, bundle in books.bundles.items():
            read = bundle_from(json.loads(json.dumps(bundle.plain())))
            document = books.documents[number]
            assert document_bytes(recompute(read)) == document_bytes(document)
            plain = json.loads(document_bytes(document))
            assert plain == document.plain()
            assert tuple(map(line_from, plain["lines"])) == document.lines


def test_totals_are_the_sum_of_the_lines_and_lines_are_whole_units(histories: list[Books]) -> None:
    for document in every_document(histories):
        for currency, pico in document.totals_pico.items():
            lines = [line for line in document.lines if line.currency == currency]
            assert pico == sum(line.amount_pico for line in lines)
            assert not any(line.amount_pico % smallest_unit_pico(currency) for line in lines)
        assert [line.line for line in document.lines] == list(range(1, len(document.lines) + 1))


def test_a_credit_note_takes_back_exactly_what_its_invoice_said(histories: list[Books]) -> None:
    notes = [one for one in every_document(histories) if one.document == "credit_note"]
    assert notes
    for books in histories:
        for void in books.voids:
            invoice, note = books.documents[void["voids"]], books.documents[void["number"]]
            assert note.totals_pico == {code: -pico for code, pico in invoice.totals_pico.items()}


def every_document(histories: list[Books]) -> Iterator[Document]:
    for books in histories:
        yield from books.documents.values()


def test_two_segments_of_one_card_differ_from_one_only_by_what_the_guide_says() -> None:
    random_source = random.Random(SEED)
    for _ in range(100):
        cents = card_from(
            card(
                fees=[{"id": "base", "amount": format_amount(random_source.randrange(10**14))}],
                items=[
                    {"id": "units", "metric": "units", "price": "0.03"},
                    {"id": "free", "metric": "units", "price": "0.03", "included": 77},
                ],
            )
        )
        whole = CivilPeriod("2026-10", 0, random_source.randrange(2, 1000))
        middle = random_source.randrange(1, whole.to_us)
        halves: list[Tally] = [
            {TallyKey(currency="USD"): Figures(units=random_source.randrange(200))}
            for _ in range(2)
        ]
        both: Tally = {
            TallyKey(currency="USD"): Figures(
                units=sum(figures.units for half in halves for figures in half.values())
            )
        }
        one = _by_item(price(Segment("pro", "1", 0, whole.to_us), cents, both, whole))
        two = _by_item(
            price(Segment("pro", "1", 0, middle), cents, halves[0], whole)
            + price(Segment("pro", "1", middle, whole.to_us), cents, halves[1], whole)
        )
        assert one["units"] == two["units"]
        # Two roundings of halves, and one cent more at the most; an allowance that a part leaves.
        assert abs(one["base"][1] - two["base"][1]) <= PICO // 100
        assert one["free"][0] == two["free"][0]
        assert one["free"][1] <= two["free"][1] <= one["units"][1]


def _by_item(lines: list[Line]) -> dict[str, tuple[int, int]]:
    sums: dict[str, tuple[int, int]] = dict.fromkeys(("base", "units", "free"), (0, 0))
    for line in lines:
        quantity, amount = sums[line.item]
        sums[line.item] = (quantity + line.quantity_pico, amount + line.amount_pico)
    return sums


def test_segments_cover_their_period_under_what_is_in_force() -> None:
    random_source = random.Random(SEED)
    below: Callable[[int], int] = random_source.randrange
    for _ in range(300):
        terms = [
            TermsAt(below(30), plan=random_source.choice(["x", "default"]))
            if below(2)
            else TermsAt(below(30), card=random_source.choice("ab"))
            for _ in range(below(4))
        ]
        plans = [
            PlanAt(random_source.choice(["x", "default"]), below(30), random_source.choice("ab"))
            for _ in range(below(5))
        ]
        cards = [
            CardAt(random_source.choice("ab"), str(version), below(30)) for version in range(5)
        ]
        found = segments(10, 25, terms, plans, cards)
        assert (found[0].from_us, found[-1].to_us) == (10, 25)
        for before, after in pairwise(found):
            assert before.to_us == after.from_us
            assert before.name != after.name
        for moment in range(10, 25):
            (segment,) = [one for one in found if one.from_us <= moment < one.to_us]
            # The rule itself, moment by moment: the greatest time, of equal ones the last.
            own = _latest([(at.from_us, (at.plan, at.card)) for at in terms], moment)
            plan, direct = own or ("default", "")
            name = direct or _latest(
                [(at.from_us, at.card) for at in plans if at.plan == plan], moment
            )
            version = _latest([(at.from_us, at.version) for at in cards if at.card == name], moment)
            assert (segment.card, segment.version) == ((name, version) if version else ("", ""))


def _latest(found: list[tuple[int, Any]], moment: int) -> Any:
    ranked = [(at, order, value) for order, (at, value) in enumerate(found) if at <= moment]
    return max(ranked, key=lambda one: one[:2])[2] if ranked else None
