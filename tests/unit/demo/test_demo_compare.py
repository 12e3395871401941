"""The demo's verdict: every figure that differs is named, whatever the direction."""

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from streams.demo.compare import (
    DIFFERENCES_SHOWN,
    Difference,
    compare_counts,
    compare_customers,
    expected_counts,
)
from streams.demo.events import Scenario
from streams.demo.observe import Counts
from streams.demo.remembered import Remembered, load_remembered, same_demo, save_remembered
from streams.demo.report import DemoResult, as_json, as_text, columns
from streams.demo.sequence import build_records
from streams.demo.totals import CustomerTotals, expected_totals
from streams.demo.trace import read_calls
from streams.errors import SetupError

ROWS = 600
RECORDS = build_records(read_calls(ROWS), Scenario(date(2026, 1, 14), 5, 8))
BILL = CustomerTotals(3, 100, 10, 1_234_500_000, 3)


def test_equal_figures_have_no_difference() -> None:
    counts = expected_counts(RECORDS, 0, ROWS)
    assert compare_counts(counts, counts) == []
    assert compare_customers({"a": BILL}, {"a": BILL}) == []


@pytest.mark.parametrize("name", ["calls", "input_tokens", "cost_pico_usd", "covered_units"])
def test_one_more_or_one_less_of_anything_is_named(name: str) -> None:
    for step in (1, -1):
        other = replace(BILL, **{name: getattr(BILL, name) + step})
        (difference,) = compare_customers({"a": BILL}, {"a": other})
        assert str(difference) == (
            f"a, {name}: expected {getattr(BILL, name)}, found {getattr(other, name)}"
        )


def test_a_customer_on_one_side_only_differs() -> None:
    assert compare_customers({"a": BILL}, {}) != []
    assert compare_customers({}, {"a": BILL}) != []


def test_a_dead_letter_under_another_code_differs_though_the_number_is_right() -> None:
    expected = expected_counts(RECORDS, 0, ROWS)
    codes = dict(expected.by_code)
    codes["internal"] = codes.pop("malformed")
    found = replace(expected, by_code=codes)
    assert {d.what for d in compare_counts(expected, found)} == {
        "dead letters `internal`",
        "dead letters `malformed`",
    }


def test_on_a_second_run_everything_good_must_be_a_duplicate() -> None:
    first, second = expected_counts(RECORDS, 0, ROWS), expected_counts(RECORDS, ROWS, ROWS)
    assert (first.accepted, first.duplicates) == (600, 60)
    assert (second.accepted, second.duplicates) == (0, 660)
    assert first.by_code == second.by_code


def test_counts_of_a_run_are_what_was_added() -> None:
    before = Counts(10, 2, 1, 3, {"malformed": 2, "conflict": 1})
    after = Counts(15, 2, 1, 4, {"malformed": 2, "conflict": 1, "empty": 1})
    assert after.since(before) == Counts(5, 0, 0, 1, {"empty": 1})


def test_a_home_keeps_its_day_and_the_most_rows(tmp_path: Path) -> None:
    assert load_remembered(tmp_path) is None
    first = same_demo(None, "2026-01-14", 50, 1_000)
    save_remembered(tmp_path, first)
    again = same_demo(load_remembered(tmp_path), "2026-01-20", 50, 500)
    assert again == Remembered("2026-01-14", 50, 1_000)
    assert same_demo(again, "2026-01-20", 50, 28_185).rows == 28_185


def test_other_customers_on_the_same_home_are_refused() -> None:
    with pytest.raises(SetupError, match="50 customers") as refused:
        same_demo(Remembered("2026-01-14", 50, 1_000), "2026-01-14", 7, 1_000)
    assert "--customers 50" in refused.value.action


def test_an_unreadable_memory_is_an_error_and_not_a_new_demo(tmp_path: Path) -> None:
    (tmp_path / "demo.json").write_text('{"day": "yesterday", "customers": 1, "rows": 1}')
    with pytest.raises(SetupError, match=r"demo\.json"):
        load_remembered(tmp_path)


def result(*differences: Difference) -> DemoResult:
    return DemoResult(
        day="2026-01-14",
        sent=len(RECORDS),
        counts=expected_counts(RECORDS, 0, ROWS),
        customers=expected_totals(5, ROWS),
        differences=differences,
        stages=[("start", 1.25)],
        kafka="127.0.0.1:1",
        clickhouse="http://127.0.0.1:2",
        home="/somewhere/a home",
        logs="/somewhere/logs",
        command="tollgate",
        kept_running=False,
    )


def test_the_text_shows_the_first_differences_and_how_many_more() -> None:
    text = as_text(result(*(Difference(f"d{n}", 0, n) for n in range(DIFFERENCES_SHOWN + 3))))
    assert f"NOT EQUAL: {DIFFERENCES_SHOWN + 3} figures differ" in text
    assert "d0: expected 0, found 0" in text
    assert "and 3 more" in text


def test_the_text_and_the_json_have_the_same_total() -> None:
    shown = result()
    printed = json.loads(json.dumps(as_json(shown)))
    assert printed["equal"] is True
    assert printed["total"]["calls"] == ROWS
    assert printed["total"]["cost_usd"] in as_text(shown)
    assert sum(printed["dead_letters_by_code"].values()) == printed["dead_letters"]


def test_a_home_with_a_blank_is_quoted_in_the_commands_to_try() -> None:
    assert "--home '/somewhere/a home'" in as_text(result())


def test_money_stands_under_its_point() -> None:
    lines = columns([("a", "1.50"), ("bb", "10.25")]).splitlines()
    assert lines == ["a    1.50", "bb  10.25"]
