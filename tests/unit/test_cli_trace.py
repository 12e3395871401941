"""What `tollgate trace` and `tollgate signals` print, of traces made by hand."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from schemas.money import PICO
from streams.cli.signals import line_dict, list_rows, told
from streams.cli.trace import print_trace, trace_dict
from streams.cli.trace_texts import (
    WHY,
    carried_text,
    notes,
    percent,
    signal_rows,
    span_rows,
    tree_of,
    why_none_here,
)
from streams.invoicing.traces import Share, Span, Taken, Told, Totals, TraceReport, by_signal
from tests.builders import NOON_US, SECOND_US

CENT = PICO // 100


def span(entry: str, span_id: str = "", parent: str = "", **more: Any) -> Span:
    made = Span(
        entry_id=entry,
        adjusted_entry="",
        span_id=span_id,
        parent_span_id=parent,
        trace_id="t1",
        scope_id="",
        partition=0,
        at_us=NOON_US,
        agent_id="helper",
        provider="openai",
        model="gpt-4o",
        source="otlp",
        event_id=entry,
        tokens=1200,
        cost_pico=3 * CENT,
        currency="USD",
        cost_basis="priced",
        flags=(),
    )
    return replace(made, **more)


def signal(entry: str, name: str = "booked", **more: Any) -> Told:
    made = Told(
        entry_id=entry,
        name=name,
        source="crm",
        event_id=entry,
        agent_id="",
        trace_id="t1",
        scope_id="",
        partition=0,
        at_us=NOON_US,
        decided_at_us=NOON_US,
        quantity=1,
        asks=True,
        weight=1,
        taken=None,
        flag="",
    )
    return replace(made, **more)


def share(cost: str, whose: str, pico: int, *flags: str, name: str = "booked") -> Share:
    return Share(cost, whose, name if whose else "", "USD", pico, flags)


def report(
    spans: Sequence[Span] = (), signals: Sequence[Told] = (), shares: Sequence[Share] = ()
) -> TraceReport:
    return TraceReport("acme", "t1", "", spans, signals, shares, NOON_US + SECOND_US)


def drawn(*spans: Span) -> list[str]:
    return [before + one.entry_id for before, one in tree_of(spans)]


# --- the tree ------------------------------------------------------------------------------------


def test_spans_stand_below_the_one_around_them() -> None:
    assert drawn(
        span("inner", "c", "b"),
        span("agent", "a"),
        span("chain", "b", "a"),
        span("second", "d", "a"),
        span("innermost", "e", "c"),
    ) == ["agent", "├ chain", "│ └ inner", "│   └ innermost", "└ second"]


def test_spans_whose_parent_is_not_known_stand_on_top() -> None:
    assert drawn(span("a", "a", "elsewhere"), span("rest"), span("b", "b", "a")) == [
        *("a", "└ b", "rest")
    ]


def test_an_adjustment_stands_below_what_it_corrects() -> None:
    assert drawn(span("e1", "a"), span("e1#1", adjusted_entry="e1"), span("e2", "b")) == [
        *("e1", "└ e1#1", "e2")
    ]


def test_spans_that_name_each_other_or_themselves_are_drawn_once() -> None:
    assert drawn(span("self", "a", "a"), span("one", "b", "c"), span("other", "c", "b")) == [
        *("self", "one", "└ other")
    ]


def test_a_deep_trace_is_drawn_without_recursion() -> None:
    spans = [span(f"e{n}", f"s{n}", f"s{n - 1}") for n in range(3000)]
    assert len(drawn(*spans)) == 3000


# --- who carries ---------------------------------------------------------------------------------


def test_shares_are_told_in_per_cent_of_the_cost() -> None:
    one = span("e1")
    shares = [share("e1", "", CENT // 2), share("e1", "s2", CENT // 2), share("e1", "s1", 2 * CENT)]
    labels = {"s1": "S1", "s2": "S2"}
    assert carried_text(one, shares, labels) == "S1 66.7 %, S2 16.7 %, nobody 16.7 %"
    assert percent(-1, -3) == "33.3 %"
    assert percent(1, 1) == "100.0 %"


@pytest.mark.parametrize(
    ("one", "shares", "says"),
    [
        (span("e1"), [], "open"),
        (span("e1", flags=("outer_span",), cost_pico=0), [], "outer: counted by the calls inside"),
        (span("e1", cost_pico=0, cost_basis="none"), [share("e1", "s1", 0)], "no cost"),
        (span("e1", cost_pico=0, cost_basis="unpriced"), [share("e1", "", 0)], "no price yet"),
        (span("e1"), [share("e1", "s9", 3 * CENT), share("e1", "s1", 0)], "nobody 100.0 %"),
    ],
)
def test_what_has_no_shares_says_why(one: Span, shares: list[Share], says: str) -> None:
    assert carried_text(one, shares, {}) == says


def test_totals_are_carried_unattributed_and_open_in_each_currency() -> None:
    found = report(
        [
            span("e1"),
            span("e2"),
            span("e3"),
            span("e4", currency="EUR"),
            span("e5", cost_pico=0, flags=("outer_span",)),
            span("e1#1", adjusted_entry="e1", cost_pico=-CENT),
        ],
        [signal("s1")],
        [
            share("e1", "s1", 3 * CENT),
            share("e2", "s1", CENT),
            share("e2", "", 2 * CENT),
            share("e1#1", "s1", -CENT),
        ],
    )
    assert found.totals() == {
        "USD": Totals(8 * CENT, 3 * CENT, 2 * CENT, 3 * CENT),
        "EUR": Totals(3 * CENT, 0, 0, 3 * CENT),
    }
    assert [one.entry_id for one in found.open_costs()] == ["e3", "e4"]
    assert found.carried_by("s1") == {"USD": 3 * CENT}


def test_a_signal_line_has_its_sum_and_its_part_of_the_trace() -> None:
    found = report(
        [span("e1"), span("e2")],
        [signal("s1", weight=2), signal("s2", name="closed", asks=False)],
        [share("e1", "s1", 3 * CENT), share("e2", "", 3 * CENT)],
    )
    assert [(row[0], row[1], *row[4:]) for row in signal_rows(found)] == [
        ("S1", "booked", "weight 2", "0.03", "USD", "50.0 %"),
        ("S2", "closed", "no cost asked", "0.00", "USD", "0.0 %"),
    ]
    assert span_rows(found)[0] == [
        *("openai/gpt-4o", "2026-01-15T12:00:00.000Z", "1,200", "0.03", "USD", "S1 100.0 %")
    ]


# --- why not -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "flag"),
    [
        (report(signals=[signal("s1", flag="no_cost")]), "no_cost"),
        (report([span("e1")], [signal("s1", asks=False)]), "not_asked"),
        (report([span("e1")], [signal("s1")]), "open"),
        (report(signals=[signal("s1")]), "open"),
        (report([span("e1")], [signal("s1")], [share("e1", "", CENT)]), "nothing"),
        (report([span("e1")], [signal("s1")], [share("e1", "s1", CENT)]), ""),
        (
            report(
                [span("e1")], [signal("s1", flag="no_cost", taken=Taken(NOON_US, "move", ""))], []
            ),
            "voided",
        ),
        (
            report(
                [span("e1")],
                [signal("s1", flag="no_cost")],
                [share("e1", "s1", CENT)],
            ),
            "",
        ),
    ],
)
def test_a_signal_without_cost_has_a_reason_and_one_with_cost_has_none(
    given: TraceReport, flag: str
) -> None:
    assert why_none_here(given.signals[0], given) == flag


def test_every_reason_tells_what_it_means() -> None:
    for flag, words in WHY.items():
        if flag in ("open", "nothing"):
            continue
        (note,) = notes(report(signals=[signal("s1", flag=flag)]))
        assert note == f"S1 booked carries nothing: {words}"


def test_an_open_trace_says_when_it_closes() -> None:
    lines = notes(report([span("e1")], [signal("s1")]))
    assert any(
        line.startswith("S1 booked carries nothing: its trace has not closed") for line in lines
    )
    assert "open: 1 costs" in lines[-1]
    assert "Its last event was at 2026-01-15T12:00:00" in lines[-1]
    assert "have come to 2026-01-15T12:00:01" in lines[-1]


def test_what_nobody_carries_is_explained_by_its_reason() -> None:
    lines = notes(
        report(
            [span("e1"), span("e2"), span("e3", cost_basis="unpriced", cost_pico=0)],
            [],
            [
                share("e1", "", 3 * CENT, "late"),
                share("e2", "", 3 * CENT, "window_full"),
                share("e3", "", 0),
            ],
        )
    )
    assert lines[0] == "1 costs nobody carries: no signal of the trace asks for it"
    assert "window_costs_max" in lines[1]
    assert "1 calls have no price" in lines[2]
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("cost", "flag", "became"),
    [
        ("unattributed", "", "what it carried is nobody's now"),
        ("move", "", "what it carried moved to those that ask for it too"),
        ("move", "window_gone", "what it carried stays with it, as its trace is no longer kept"),
    ],
)
def test_a_void_says_what_became_of_the_cost(cost: str, flag: str, became: str) -> None:
    taken = Taken(NOON_US, cost, "cancelled")
    given = report([span("e1")], [signal("s1", taken=taken, flag=flag)], [share("e1", "", CENT)])
    line = notes(given)[0]
    assert line.startswith("S1 booked was taken back at 2026-01-15T12:00:00.000Z (cancelled): ")
    assert line.endswith(became)


# --- whole ---------------------------------------------------------------------------------------


def test_a_trace_is_printed_with_its_balance(capsys: pytest.CaptureFixture[str]) -> None:
    given = report(
        [span("agent", "a", flags=("outer_span",), cost_pico=0), span("e1", "b", "a")],
        [signal("s1")],
        [share("e1", "s1", 3 * CENT)],
    )
    print_trace(given)
    out = capsys.readouterr().out
    assert "trace t1 of acme: 1 calls, 1 signals" in out
    assert "└ openai/gpt-4o" in out
    assert "cost 0.03 USD = 0.03 carried + 0.00 nobody's + 0.00 open" in out
    said = trace_dict(given)
    assert said["totals"] == {
        "USD": {"cost": "0.03", "carried": "0.03", "unattributed": "0", "open": "0"}
    }
    assert said["spans"][1]["shares"] == [{"signal_entry": "s1", "amount": "0.03"}]
    assert said["signals"][0]["carries"] == {"USD": "0.03"}
    assert said["signals"][0]["why_none"] is None


def test_a_list_has_a_line_for_each_signal_and_currency() -> None:
    shares = [
        share("e1", "s1", CENT),
        share("e2", "s1", CENT),
        replace(share("e3", "s1", CENT), currency="EUR"),
        share("e1", "s3", 0),
    ]
    found = [signal("s1"), signal("s2", trace_id="", flag="no_trace"), signal("s3")]
    rows = list_rows(found, by_signal(shares))
    assert [row[2:] for row in rows] == [
        ["s1", "t1", "0.02", "USD", "2", ""],
        ["s1", "t1", "0.01", "EUR", "1", ""],
        ["s2", "-", "-", "", "-", "no_trace"],
        ["s3", "t1", "-", "USD", "-", "nothing"],
    ]
    line = line_dict(found[0], by_signal(shares)["s1"])
    assert (line["carries"], line["costs"]) == ({"USD": "0.02", "EUR": "0.01"}, 3)
    assert line_dict(found[1], None)["why_none"] == "no_trace"


def test_a_void_says_beforehand_where_the_cost_goes() -> None:
    shares = [share("e1", "s1", 2 * CENT), share("e1", "s2", CENT, name="closed")]
    assert told(signal("s1"), shares, move=False)[1:] == ["0.02 USD of 1 costs goes to nobody"]
    assert told(signal("s1"), shares, move=True)[1:] == ["0.02 USD of 1 costs goes to closed"]
    alone = told(signal("s1"), shares[:1], move=True)
    assert alone[1:] == ["0.02 USD of 1 costs goes to nobody: no other signal asks for it"]
    assert "it carries no cost now" in told(signal("s1", quantity=3), [], move=True)[1]
    assert "3 of it do not count any more" in told(signal("s1", quantity=3), [], move=True)[0]
