"""What must come out, computed straight from the CSV files.

Shares nothing with the pipeline and nothing with the demo's own reading of the files: lines are
split here once more, money is `Fraction` until the last moment, prices are written down below. Only
who a call belongs to comes from `customers`, because the files do not say.
"""

from dataclasses import dataclass
from fractions import Fraction
from importlib import resources

from streams.demo.customers import customer_of

USD_PER_MILLION_TOKENS = {
    # file: (input, output), list prices in dollars per million tokens
    "code": (Fraction("0.15"), Fraction("0.60")),  # gpt-4o-mini
    "conv": (Fraction("2.50"), Fraction("10.00")),  # gpt-4o
}
"""OpenAI's list prices of the two models that the demo lets the services be, as genai-prices 0.2.3
has them. A test compares them with the installed version."""

FREE_UNITS = 1000
"""What the default plan grants every customer."""

PICO = 10**12


@dataclass(frozen=True, slots=True)
class CustomerTotals:
    """A customer's bill: calls (= units), tokens, cost in pico-dollars, units covered by grants."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_pico_usd: int = 0
    covered_units: int = 0

    @property
    def units_beyond(self) -> int:
        """Units that no grant covered."""
        return self.calls - self.covered_units


def expected_totals(customers: int, rows: int | None = None) -> dict[str, CustomerTotals]:
    """The totals per customer of the first `rows` calls (None: all) by time.

    Customers without a call are not in it. Raises ArithmeticError where a cost is no whole number
    of pico-dollars, which no list price with six decimals can give.
    """
    lines = [
        (line.split(b",")[0], name, number, line.split(b",")[1:])
        for name in USD_PER_MILLION_TOKENS
        for number, line in enumerate(_file(name).split(b"\r\n")[1:], 1)
    ]
    # The timestamps are ISO text of one width: their order is the order of the bytes. Python's sort
    # keeps the files' order among equals.
    lines.sort(key=lambda item: item[0])
    calls: dict[str, list[tuple[str, int, int]]] = {}
    for _, name, number, (context, generated) in lines if rows is None else lines[:rows]:
        owner = customer_of(f"azure-{name}-{number:05d}", customers)
        calls.setdefault(owner, []).append((name, int(context), int(generated)))
    return {owner: _total(rows_of_owner) for owner, rows_of_owner in sorted(calls.items())}


def _file(name: str) -> bytes:
    folder = resources.files("streams.demo").joinpath("azure")
    return folder.joinpath(f"AzureLLMInferenceTrace_{name}.csv").read_bytes()


def _total(calls: list[tuple[str, int, int]]) -> CustomerTotals:
    dollars = Fraction(0)
    for name, context, generated in calls:
        input_price, output_price = USD_PER_MILLION_TOKENS[name]
        dollars += (context * input_price + generated * output_price) / 10**6
    pico = dollars * PICO
    if pico.denominator != 1:
        raise ArithmeticError(f"{dollars} dollars are not a whole number of pico-dollars")
    return CustomerTotals(
        calls=len(calls),
        input_tokens=sum(context for _, context, _ in calls),
        output_tokens=sum(generated for _, _, generated in calls),
        cost_pico_usd=pico.numerator,
        covered_units=min(len(calls), FREE_UNITS),
    )
