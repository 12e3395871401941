"""The rate cards that are shipped as examples charge what their comments work out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from schemas import codec
from schemas.money import currency_digits, format_amount, parse_signed_amount
from streams.app.rate_files import read_rate_files
from streams.app.rates import plan_versions
from streams.domain.invoices.cards import card_from
from streams.domain.invoices.pricing import price
from streams.domain.invoices.tallies import Figures, Tally, TallyKey
from streams.domain.invoices.timeline import Segment
from streams.domain.rate_cards import RateShelf
from streams.papers.bill import money
from tests.guard.repository import ROOT

EXAMPLES = sorted((ROOT / "deploy/rates").glob("*.yaml"))
DAY_US = 86_400 * 10**6


@dataclass(frozen=True)
class Month:
    """A period of thirty days."""

    label: str = "2026-11"
    from_us: int = 0
    to_us: int = 30 * DAY_US


def key(**fields: str) -> TallyKey:
    head = {"provider": "", "model": "", "agent_id": "", "signal_name": "", "currency": ""}
    return TallyKey(**(head | fields))


def calls(number: int) -> Tally:
    return {key(provider="lab", model="small", currency="USD"): Figures(calls=number)}


def charged(name: str, tally: Tally, days: int = 30) -> list[tuple[str, str, str, str]]:
    """The lines of a month under an example: item, group, amount and currency."""
    found = read_rate_files([str(ROOT / "deploy/rates" / f"{name}.yaml")])
    shelf = RateShelf()
    for at, planned in enumerate(plan_versions(shelf, found.documents, 0)):
        shelf.fold(at, planned.record)
    record = shelf.card(name, "1")
    assert record is not None
    segment = Segment(name, "1", 0, days * DAY_US)
    lines = price(segment, card_from(codec.to_plain(record)), tally, Month())
    return [
        (line.item, line.group, format_amount(line.amount_pico), line.currency) for line in lines
    ]


def total(lines: list[tuple[str, str, str, str]]) -> str:
    """The sum of lines of one currency as the comments write it."""
    (currency,) = {line[3] for line in lines}
    sum_pico = sum(parse_signed_amount(line[2]) for line in lines)
    return f"{money(sum_pico, currency_digits(currency))} {currency}"


def comment(name: str) -> str:
    """What the head of an example says, as one line."""
    text = (ROOT / "deploy/rates" / f"{name}.yaml").read_text("utf-8")
    return " ".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_right_and_raises_no_doubt(path: Path) -> None:
    found = read_rate_files([str(path)])
    assert not found.faults
    assert [str(doubt) for one in found.documents for doubt in one.doubts] == []
    assert comment(path.stem)


def test_all_examples_can_be_applied_in_one_command() -> None:
    found = read_rate_files([str(path) for path in EXAMPLES])
    planned = plan_versions(RateShelf(), found.documents, 0)
    assert all(one.is_new for one in planned)
    assert len({(one.document.model.kind, one.record.id) for one in planned}) == len(planned) - 1


TOKENS: Tally = {
    key(provider="lab", model="small", currency="USD"): Figures(
        input_tokens=3_000_000, cache_read_tokens=2_000_000, output_tokens=400_000
    ),
    key(provider="lab", model="large", currency="USD"): Figures(
        input_tokens=1_000_000, output_tokens=100_000
    ),
}
SIGNALS: Tally = {
    key(signal_name="meeting_booked", agent_id="mail"): Figures(signals=30),
    key(signal_name="question_answered", agent_id="mail"): Figures(signals=410),
    key(signal_name="question_answered", agent_id="chat"): Figures(signals=90),
    key(signal_name="other", agent_id="chat"): Figures(signals=7),
}


@pytest.mark.parametrize(
    ("name", "tally", "days", "lines"),
    [
        ("per-call", calls(12_500), 30, [("calls", "", "50")]),
        (
            "per-token",
            TOKENS,
            30,
            [
                ("input", "large", "0.8"),
                ("input", "small", "2.4"),
                ("cached", "", "0.16"),
                ("output", "", "1.6"),
                ("output-large", "", "3"),
            ],
        ),
        (
            "per-outcome",
            SIGNALS,
            30,
            [("meetings", "", "750"), ("answers", "chat", "13.5"), ("answers", "mail", "61.5")],
        ),
        ("flat-fee", calls(13_000), 30, [("base", "", "99"), ("calls", "", "30")]),
        ("flat-fee", calls(6_000), 15, [("base", "", "49.5"), ("calls", "", "10")]),
        ("graduated", calls(1_000), 30, [("calls", "", "20")]),
        ("graduated", calls(1_001), 30, [("calls", "", "20.01")]),
        ("graduated", calls(15_000), 30, [("calls", "", "145")]),
        ("volume", calls(1_000), 30, [("calls", "", "20")]),
        ("volume", calls(1_001), 30, [("calls", "", "20.01")]),
        ("volume", calls(15_000), 30, [("calls", "", "75")]),
        (
            "minimum",
            {key(model="small"): Figures(units=333)},
            30,
            [
                ("base", "", "1500"),
                ("units", "", "3330"),
                ("loyal", "", "-333"),
                ("minimum", "", "503"),
            ],
        ),
        (
            "minimum",
            {key(model="small"): Figures(units=1_000)},
            30,
            [("base", "", "1500"), ("units", "", "10000"), ("loyal", "", "-1000")],
        ),
        (
            "own-grants",
            {key(model="small"): Figures(units=5_000, covered_units=4_200)},
            30,
            [("overage", "", "40")],
        ),
    ],
)
def test_an_example_charges_what_its_comment_works_out(
    name: str, tally: Tally, days: int, lines: list[tuple[str, str, str]]
) -> None:
    found = charged(name, tally, days)
    assert [line[:3] for line in found] == lines
    assert total(found).removesuffix(f" {found[0][3]}") in comment(name)
    assert f" {found[0][3]}" in comment(name)


def test_a_markup_is_added_to_the_cost_of_each_currency() -> None:
    tally: Any = {
        key(model="small", currency="USD"): Figures(cost_pico=80 * 10**12),
        key(model="small", currency="EUR"): Figures(cost_pico=10 * 10**12),
    }
    assert charged("cost-plus", tally) == [
        ("platform", "", "20", "USD"),
        ("ai", "", "12.5", "EUR"),
        ("ai", "", "100", "USD"),
    ]
    assert "120.00 USD" in comment("cost-plus")
    assert "12.50 EUR" in comment("cost-plus")


def test_every_example_with_a_card_is_priced_here() -> None:
    priced = {"per-call", "per-token", "per-outcome", "flat-fee", "graduated", "volume"}
    priced |= {"minimum", "own-grants", "cost-plus"}
    assert {path.stem for path in EXAMPLES} == priced | {"plans"}
