"""The expected totals: right by a count of another kind, and computed without the pipeline."""

import ast
import csv
import io
from decimal import Decimal
from fractions import Fraction
from importlib import resources
from pathlib import Path

import pytest
from genai_prices import Usage as GenaiUsage
from genai_prices import calc_price

from streams.demo import totals
from streams.demo.totals import CustomerTotals, expected_totals
from streams.demo.trace import SERVICES


def rows(name: str) -> list[list[str]]:
    path = resources.files("streams.demo").joinpath("azure", f"AzureLLMInferenceTrace_{name}.csv")
    return list(csv.reader(io.StringIO(path.read_text("ascii"))))[1:]


def test_the_files_have_as_many_rows_as_their_publisher_says() -> None:
    assert (len(rows("code")), len(rows("conv"))) == (8_819, 19_366)


def test_the_totals_of_all_customers_are_the_sums_of_the_files() -> None:
    customers = expected_totals(50).values()
    code, conv = rows("code"), rows("conv")
    assert sum(c.calls for c in customers) == len(code) + len(conv)
    assert sum(c.input_tokens for c in customers) == sum(int(r[1]) for r in code + conv)
    assert sum(c.output_tokens for c in customers) == sum(int(r[2]) for r in code + conv)
    # Micro-dollars per million tokens are pico-dollars per token: whole numbers, another way round.
    pico = sum(150_000 * int(r[1]) + 600_000 * int(r[2]) for r in code)
    pico += sum(2_500_000 * int(r[1]) + 10_000_000 * int(r[2]) for r in conv)
    assert sum(c.cost_pico_usd for c in customers) == pico


def test_free_units_cover_a_customers_first_thousand_calls() -> None:
    for bill in expected_totals(50).values():
        assert bill.covered_units == min(bill.calls, 1_000)
        assert bill.units_beyond == max(bill.calls - 1_000, 0)


def test_a_part_of_the_rows_is_the_earliest_part() -> None:
    some = expected_totals(50, 1_000)
    assert sum(bill.calls for bill in some.values()) == 1_000
    assert expected_totals(50, 28_185) == expected_totals(50)
    everything = expected_totals(50)
    assert all(bill.calls <= everything[name].calls for name, bill in some.items())


def test_customers_without_a_call_have_no_bill() -> None:
    assert expected_totals(50, 1).keys() == {"customer-11"}


@pytest.mark.parametrize("customers", [0, 1_001])
def test_an_impossible_number_of_customers_is_refused(customers: int) -> None:
    with pytest.raises(ValueError, match="1 to 1000"):
        expected_totals(customers)


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_the_prices_written_down_are_those_of_the_installed_price_book(service: object) -> None:
    name, model = service.name, service.model  # type: ignore[attr-defined]
    tokens = GenaiUsage(input_tokens=1_000_000, output_tokens=1_000_000)
    price = calc_price(tokens, model_ref=model, provider_id="openai")
    assert [price.input_price, price.output_price] == [
        Decimal(str(float(rate))) for rate in totals.USD_PER_MILLION_TOKENS[name]
    ]


def test_the_totals_share_no_code_with_the_pipeline() -> None:
    tree = ast.parse(Path(totals.__file__).read_text("utf-8"))
    imported = {
        name
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    ours = {name for name in imported if name.split(".")[0] in ("schemas", "streams")}
    assert ours == {"streams.demo.customers"}


def test_a_cost_below_a_pico_dollar_is_an_error_and_not_rounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    odd = Fraction(1, 3)
    monkeypatch.setitem(totals.USD_PER_MILLION_TOKENS, "code", (odd, odd))
    monkeypatch.setitem(totals.USD_PER_MILLION_TOKENS, "conv", (odd, odd))
    with pytest.raises(ArithmeticError, match="pico"):
        expected_totals(50, 100)


def test_a_customers_total_is_zero_before_the_first_call() -> None:
    assert CustomerTotals().units_beyond == 0
