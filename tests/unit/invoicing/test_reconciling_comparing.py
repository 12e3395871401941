"""What differs between an export and the ledger, and the reasons that are guessed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from typing import Any

import pytest

from streams.invoicing.reconciling.booked import Booked, add_up
from streams.invoicing.reconciling.comparing import Difference, Tolerance, compare, totals
from streams.invoicing.reconciling.exports import Key, Provided
from streams.invoicing.reconciling.reasons import Reason

PICO = 10**12
EXACT = Tolerance.of("0.000001", "0")


@dataclass
class Both:
    """An export and a ledger of October 2026."""

    export: dict[Key, Provided] = field(default_factory=dict)
    ledger: dict[Key, Booked] = field(default_factory=dict)

    def provided(self, day: int, cost: str, model: str = "a", **more: Any) -> "Both":
        more = {"rows": 1} | more
        key = Key(date(2026, 10, day), model, more.pop("currency", "USD"))
        self.export[key] = Provided(Fraction(cost), **more)
        return self

    def booked(self, day: int, cost: str, model: str = "a", **more: Any) -> "Both":
        more = {"calls": 1} | more
        key = Key(date(2026, 10, day), model, more.pop("currency", "USD"))
        self.ledger[key] = Booked(int(Fraction(cost) * PICO), **more)
        return self

    def differences(self, tolerance: Tolerance = EXACT) -> list[Difference]:
        return compare(self.export, self.ledger, tolerance)

    def reasons(self, day: int = 1, model: str = "a") -> list[Reason]:
        found = [
            one for one in self.differences() if (one.key.day.day, one.key.model) == (day, model)
        ]
        return [guess.reason for guess in found[0].guesses]


def test_what_is_equal_does_not_differ() -> None:
    assert not Both().provided(1, "0.1").booked(1, "0.1").differences()
    assert not Both().differences()


@pytest.mark.parametrize(
    ("cost", "rows", "differs"),
    [
        ("1.00", 1, False),
        ("1.006", 1, False),  # 0.001 and half a cent
        ("1.00600001", 1, True),
        ("0.99399999", 1, True),
        ("1.016", 3, False),
        ("1.01600001", 3, True),
    ],
)
def test_the_rounding_of_every_row_is_allowed_beside_the_tolerance(
    cost: str, rows: int, differs: bool
) -> None:
    both = Both().provided(1, cost, rows=rows).booked(1, "1")
    assert bool(both.differences(Tolerance.of("0.001", "0.01"))) is differs


def test_a_difference_is_export_less_ledger_and_totals_hold_all() -> None:
    both = Both().provided(1, "3").booked(1, "2").provided(2, "5").booked(2, "5")
    both.provided(1, "7", currency="EUR")
    (euro, dollar) = both.differences()
    assert (euro.gap_pico, dollar.gap_pico) == (7 * PICO, PICO)
    found = totals(both.export, both.ledger)
    assert {name: total.gap_pico for name, total in found.items()} == {
        "EUR": 7 * PICO,
        "USD": PICO,
    }


def test_an_exact_sum_is_rounded_once_where_it_is_shown() -> None:
    third = Fraction(1, 3)
    key = Key(date(2026, 10, 1), "a", "USD")
    (found,) = compare({key: Provided(third, rows=1)}, {}, EXACT)
    assert found.provided_pico == 333_333_333_333


# --- reasons -------------------------------------------------------------------------------------


def test_a_model_that_the_ledger_never_saw() -> None:
    both = Both().provided(1, "1", "b").provided(1, "1").booked(1, "1")
    assert both.reasons(model="b") == [Reason.MODEL_NOT_IN_LEDGER]


def test_a_model_that_the_export_never_names() -> None:
    both = Both().booked(1, "1", "b").provided(1, "1").booked(1, "1")
    assert both.reasons(model="b") == [Reason.MODEL_NOT_IN_EXPORT]


def test_a_day_without_a_model_that_is_there_on_others() -> None:
    both = Both().provided(1, "1").provided(2, "1").booked(2, "1")
    assert both.reasons() == [Reason.DAY_NOT_IN_LEDGER]
    both = Both().booked(1, "1").provided(2, "1").booked(2, "1")
    assert both.reasons() == [Reason.DAY_NOT_IN_EXPORT]


def test_calls_without_a_price() -> None:
    assert Both().provided(1, "3").booked(1, "1", unpriced=2).reasons() == [Reason.UNPRICED]


def test_a_missing_price_does_not_explain_a_ledger_that_is_too_large() -> None:
    assert Both().provided(1, "1").booked(1, "3", unpriced=2).reasons() == [Reason.UNKNOWN]


def test_the_same_day_in_another_currency_on_both_sides() -> None:
    both = Both().provided(1, "1").booked(1, "0.9", currency="EUR")
    first, second = both.differences()
    assert [first.guesses[0].reason, second.guesses[0].reason] == [Reason.CURRENCY] * 2
    assert first.guesses[0].text == "the export has it in USD"
    assert second.guesses[0].text == "the ledger has it in EUR"


@pytest.mark.parametrize(
    ("cost", "is_half"),
    [("0.5", True), ("0.45", True), ("0.55", True), ("0.44", False), ("0.56", False)],
)
def test_about_half_of_the_cost_looks_like_a_batch(cost: str, is_half: bool) -> None:
    found = Both().provided(1, cost).booked(1, "1").reasons()
    assert found == [Reason.BATCH if is_half else Reason.UNKNOWN]


def test_batch_prices_that_the_provider_does_not_give() -> None:
    assert Both().provided(1, "2").booked(1, "1", batch=1).reasons() == [Reason.BATCH]
    assert Both().provided(1, "2").booked(1, "1").reasons() == [Reason.UNKNOWN]


def test_a_neighbour_with_the_opposite_difference_looks_like_another_time_zone() -> None:
    both = Both().provided(1, "8").booked(1, "10").provided(2, "12").booked(2, "10")
    assert both.reasons(1) == [Reason.TIME_ZONE]
    assert both.reasons(2) == [Reason.TIME_ZONE]
    both = Both().provided(1, "8").booked(1, "10").provided(2, "13").booked(2, "10")
    assert both.reasons(1) == [Reason.UNKNOWN]


def test_cached_tokens_by_their_counts() -> None:
    both = Both().provided(1, "1", tokens={"input": 40, "cache_read": 60, "output": 5})
    both.booked(1, "3", tokens={"input": 100, "output": 5})
    assert both.reasons() == [Reason.CACHED_TOKENS]
    (found,) = both.differences()
    assert "counted as cached by the provider: 60" in found.guesses[0].text


def test_cached_tokens_by_what_is_charged_for_them() -> None:
    charged = {"cache_read": Fraction(1, 10)}
    both = Both().provided(1, "1", classes=charged).booked(1, "3", tokens={"input": 100})
    assert both.reasons() == [Reason.CACHED_TOKENS]
    both = Both().provided(1, "1", classes=charged)
    both.booked(1, "3", tokens={"input": 40, "cache_read": 60})
    assert both.reasons() == [Reason.UNKNOWN]


def test_the_same_tokens_at_other_prices() -> None:
    told = {"input": 100, "output": 7}
    both = Both().provided(1, "2", tokens=told)
    # Of reasoning and audio the export says nothing: they are output and input.
    known = {"input": 90, "input_audio": 10, "output": 5, "reasoning": 2}
    both.booked(1, "3", tokens=known, versions={"genai-prices@1"})
    assert both.reasons() == [Reason.PRICE_VERSION]
    assert both.differences()[0].guesses[0].text.endswith("genai-prices@1")


def test_a_day_that_two_price_versions_priced() -> None:
    both = Both().provided(1, "2").booked(1, "3", versions={"p@1", "p@2"})
    assert both.reasons() == [Reason.PRICE_VERSION]


def test_calls_or_tokens_that_one_side_alone_counts() -> None:
    both = Both().provided(1, "4", calls=5).booked(1, "3", calls=4)
    assert both.reasons() == [Reason.CALLS]
    assert both.differences()[0].guesses[0].text == "more calls counted by the provider: 1"
    both = Both().provided(1, "2", tokens={"input": 70}).booked(1, "3", tokens={"input": 100})
    assert both.reasons() == [Reason.CALLS]
    assert both.differences()[0].guesses[0].text == "more tokens counted by the ledger: 30"


# --- the ledger's rows ---------------------------------------------------------------------------


def row(
    model: str,
    cost: str = "1",
    calls: int = 1,
    tokens: Sequence[int] = (1,) * 7,
    version: str = "p@1",
) -> list[Any]:
    return ["2026-10-01", "openai", model, "USD", cost, calls, 0, 0, [version], *tokens]


def test_models_of_one_name_are_added_up_and_those_without_one_left_out() -> None:
    names = {"a-2024-01-01": "a", "a": "a"}
    found = add_up(
        [row("a"), row("a-2024-01-01", "-0.25", version="p@2"), row("z")],
        lambda _provider, model: names.get(model),
    )
    (cell,) = found.values()
    assert (cell.cost_pico, cell.calls, cell.versions) == (3 * PICO // 4, 2, {"p@1", "p@2"})
    assert cell.tokens["cache_read"] == 2


def test_entries_that_count_nothing_make_no_day() -> None:
    nothing = row("a", "0", calls=0, tokens=(0,) * 7)
    assert not add_up([nothing], lambda _provider, model: model)
