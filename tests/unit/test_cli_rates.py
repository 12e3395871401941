"""What `tollgate rates` prints, without any server."""

from typing import Any

import pytest

from streams.app.rate_preview import Previewed
from streams.app.rates import PlannedVersion
from streams.cli.rate_texts import (
    planned_dict,
    preview_csv,
    preview_dict,
    print_card,
    print_cards,
    print_plans,
    print_preview,
    record_dict,
)
from tests.unit.app.test_rates import DAY_US, card, plan, shelf_of

PICO = 10**12

FULL: dict[str, Any] = {
    "title": "Pro plan",
    "currency": "EUR",
    "effective_from": DAY_US,
    "fees": [{"id": "base", "title": "Base fee", "amount": "49"}],
    "items": [
        {"id": "tokens", "metric": "input_tokens", "model": "small", "price": "0.8", "per": 10**6},
        {"id": "ai", "metric": "cost", "markup_percent": "12.5"},
        {
            "id": "calls",
            "title": "Calls",
            "metric": "calls",
            "group_by": "agent",
            "included": 1000,
            "tiers": {
                "mode": "graduated",
                "steps": [
                    {"up_to": 10_000, "price": "0.01"},
                    {"price": "0.005", "flat": "5"},
                ],
            },
        },
    ],
    "discounts": [{"id": "loyal", "percent": "10", "items": ["calls"]}],
    "minimum": "100",
}


def rows(text: str) -> list[str]:
    """Lines with single blanks between their words."""
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def test_a_card_is_printed_with_all_that_it_charges(capsys: pytest.CaptureFixture[str]) -> None:
    print_card(card("2", **FULL), in_force=True)
    printed = rows(capsys.readouterr().out)
    assert printed[0] == "pro@2 Pro plan"
    assert printed[1] == "EUR, from 2026-12-01T00:00:00.000000Z, in force"
    for line in (
        "Base fee 49",
        "tokens input tokens model small 0.8 / 1,000,000",
        "ai cost any cost + 12.5 %",
        "Calls calls any agent 1,000 1 to 10,000 (graduated) 0.01",
        "10,001 on 0.005 5",
        "loyal 10 % calls",
        "minimum per period: 100 EUR",
    ):
        assert line in printed


def test_lists_say_which_version_is_in_force(capsys: pytest.CaptureFixture[str]) -> None:
    shelf = shelf_of(card(), card("2", effective_from=DAY_US), plan(card="pro"))
    print_cards(shelf, DAY_US - 1)
    printed = rows(capsys.readouterr().out)
    assert "pro 1 in force ever USD 0" in printed
    assert "pro 2 2026-12-01T00:00:00.000000Z USD 0" in printed
    assert printed[-1] == "2 versions of rate cards"
    print_plans(shelf, 0)
    assert "team 1 in force ever pro" in rows(capsys.readouterr().out)
    shown = record_dict(shelf, shelf.card_records[1], DAY_US)
    assert (shown["effective_from"], shown["in_force"]) == ("2026-12-01T00:00:00.000000Z", True)


def test_a_planned_version_is_told_to_scripts_with_its_differences() -> None:
    document: Any = None
    planned = PlannedVersion(document, card("2", minimum="5"), card(), is_new=True, backdated=True)
    assert planned_dict(planned, appended=False) == {
        "kind": "rate_card",
        "id": "pro",
        "version": "2",
        "effective_from": None,
        "new": True,
        "appended": False,
        "backdated": True,
        "against": "1",
        "differences": [{"path": "minimum", "before": None, "after": "5"}],
    }


def test_a_preview_sums_each_currency_and_counts_what_would_change(
    capsys: pytest.CaptureFixture[str],
) -> None:
    preview = [
        Previewed("acme", "USD", 100 * PICO, 112 * PICO + PICO // 2),
        Previewed("bolt", "USD", 50 * PICO, 50 * PICO),
        Previewed("acme", "JPY", 0, 900 * PICO),
        Previewed("cafe", "USD", 2000 * PICO, 1998 * PICO),
    ]
    print_preview(preview)
    printed = rows(capsys.readouterr().out)
    assert "customer as it is, USD with the files difference" in printed
    assert "acme 100.00 112.50 +12.50 +12.5 %" in printed
    assert "bolt 50.00 50.00 0.00" in printed
    assert "cafe 2,000.00 1,998.00 -2.00 -0.1 %" in printed
    assert "all 2,150.00 2,160.50 +10.50 +0.5 %" in printed
    assert "acme 0 900 +900" in printed
    assert printed[-1] == "3 of 4 would change"


def test_a_preview_for_scripts_is_exact_and_no_spreadsheet_runs_it() -> None:
    row = Previewed("=1+1", "USD", 3, -1)
    assert preview_dict(row) == {
        "customer_id": "=1+1",
        "currency": "USD",
        "old": "0.000000000003",
        "new": "-0.000000000001",
        "difference": "-0.000000000004",
    }
    assert preview_csv([row]).split("\r\n") == [
        "customer_id,currency,old,new,difference",
        "'=1+1,USD,0.000000000003,-0.000000000001,-0.000000000004",
        "",
    ]
