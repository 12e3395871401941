"""What a demo run prints: counts, the bill of every customer, seconds per stage, the verdict.

Text for a person, or one JSON object with the same figures. Money is shown with every digit it has.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.money import format_amount
from streams.demo.compare import DIFFERENCES_SHOWN, Difference
from streams.demo.customers import SEED
from streams.demo.invoices import InvoicesResult
from streams.demo.observe import Counts
from streams.demo.totals import CustomerTotals

ATTRIBUTION = (
    "Data: Azure Public Dataset, Azure LLM inference trace 2023 (CC BY 4.0); Patel et al., "
    "Splitwise, ISCA 2024."
)
INVENTED = (
    "The data names neither customers nor models: customers are invented, code calls are taken for "
    "gpt-4o-mini, conversations for gpt-4o."
)

QUERIES = (
    """SELECT model, count() AS calls, sum(tokens) AS tokens, sum(cost) AS usd
    FROM usage GROUP BY model ORDER BY model""",
    """SELECT customer_id, sum(units - covered_units) AS beyond_free, sum(cost) AS usd
    FROM usage GROUP BY customer_id ORDER BY beyond_free DESC LIMIT 10""",
    """SELECT code, count() AS letters, any(reason) AS example
    FROM dead_letters GROUP BY code ORDER BY code""",
)
"""Three to try, as `tollgate sql` runs them."""


INVOICES_EQUAL = (
    "\nEvery invoice is what the CSV files say, to the cent, and identical to what was issued."
)


@dataclass(frozen=True, slots=True)
class DemoResult:
    """Everything a run found out.

    `stages` are (name, seconds) in their order; `command` is how this user calls `tollgate`.
    """

    day: str
    sent: int
    counts: Counts
    customers: Mapping[str, CustomerTotals]
    differences: Sequence[Difference]
    stages: Sequence[tuple[str, float]]
    kafka: str
    clickhouse: str
    home: str
    logs: str
    command: str
    kept_running: bool
    invoices: InvoicesResult | None = None

    @property
    def equal(self) -> bool:
        """Whether everything is as it must be."""
        return not self.differences


def as_json(result: DemoResult) -> dict[str, Any]:
    """The run as plain data: counts as integers, money as decimal strings."""
    return {
        "equal": result.equal,
        "differences": [
            {"what": d.what, "expected": d.expected, "found": d.found} for d in result.differences
        ],
        "seed": SEED,
        "day": result.day,
        "sent": result.sent,
        "accepted": result.counts.accepted,
        "duplicates": result.counts.duplicates,
        "conflicts": result.counts.conflicts,
        "dead_letters": result.counts.dead_letters,
        "dead_letters_by_code": result.counts.by_code,
        "customers": [
            {"customer_id": name, **_bill(totals)} for name, totals in result.customers.items()
        ],
        "total": _bill(_sum(result.customers)),
        "invoices": None if result.invoices is None else result.invoices.plain(),
        "stages": [{"stage": name, "seconds": round(took, 3)} for name, took in result.stages],
        "kafka_bootstrap": result.kafka,
        "clickhouse_url": result.clickhouse,
        "home": result.home,
        "logs": result.logs,
    }


def as_text(result: DemoResult) -> str:
    """The run as a person reads it."""
    blocks = [
        _counts_block(result),
        _invoice_block(result.customers),
        *([_closed_block(result)] if result.invoices is not None else []),
        "seconds\n" + columns([(f"  {name}", f"{took:.1f}") for name, took in result.stages]),
        _verdict_block(result),
        _next_block(result),
        f"{ATTRIBUTION}\n{INVENTED}",
    ]
    return "\n\n".join(blocks)


def columns(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Rows as aligned text: the first `left` columns to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _counts_block(result: DemoResult) -> str:
    counts = result.counts
    rows = [
        ("sent", f"{result.sent:,}"),
        ("accepted", f"{counts.accepted:,}"),
        ("duplicates", f"{counts.duplicates:,}"),
        ("conflicts (among the dead letters)", f"{counts.conflicts:,}"),
        ("dead letters", f"{counts.dead_letters:,}"),
        *((f"  {code}", f"{count:,}") for code, count in counts.by_code.items()),
    ]
    return f"records of this run (calls moved to {result.day} UTC, seed {SEED})\n" + columns(
        [(f"  {name}", count) for name, count in rows]
    )


def _invoice_block(customers: Mapping[str, CustomerTotals]) -> str:
    heads = ("customer", "calls", "tokens", "cost in USD", "covered by free units", "beyond")
    total = _sum(customers)
    bills = {**customers, "total": total}
    digits = max(
        (len(format_amount(bill.cost_pico_usd).partition(".")[2]) for bill in bills.values()),
        default=0,
    )
    rows = [
        (
            name,
            f"{bill.calls:,}",
            f"{bill.input_tokens + bill.output_tokens:,}",
            _padded_amount(bill.cost_pico_usd, digits),
            f"{bill.covered_units:,}",
            f"{bill.units_beyond:,}",
        )
        for name, bill in bills.items()
    ]
    lines = columns([heads, *rows]).splitlines()
    rule = "-" * max(len(line) for line in lines)
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def _closed_block(result: DemoResult) -> str:
    found = result.invoices
    assert found is not None, "asked for where there are invoices"
    return (
        f"invoices of {found.label}: {found.invoices:,} issued, {found.total} USD in all\n"
        "  ClickHouse was dropped and rebuilt from the log\n"
        f"  {found.verified:,} documents made again from {found.entries:,} entries of the log\n"
        f"  a late call of {found.late_customer} is on the draft of {found.draft_label}, where it "
        f"corrects {found.corrects or 'nothing'}"
    )


def _padded_amount(pico: int, digits: int) -> str:
    whole, _, fraction = format_amount(pico).partition(".")
    return f"{whole}.{fraction.ljust(digits, '0')}" if digits else whole


def _verdict_block(result: DemoResult) -> str:
    if result.equal:
        return (
            "equal: ClickHouse says what the CSV files say, for every customer: calls, tokens,\n"
            "free units, cost to the pico-dollar. Every repeat, conflict and bad record is counted."
            + (INVOICES_EQUAL if result.invoices is not None else "")
        )
    shown = [f"  {difference}" for difference in result.differences[:DIFFERENCES_SHOWN]]
    more = len(result.differences) - len(shown)
    return "\n".join(
        [
            f"NOT EQUAL: {len(result.differences)} figures differ",
            *shown,
            *([f"  and {more} more"] if more > 0 else []),
        ]
    )


def _next_block(result: DemoResult) -> str:
    def command(*words: str) -> str:
        return "  " + " ".join([result.command, *words, "--home", shlex.quote(result.home)])

    biggest = next(iter(result.customers), "customer-01")
    start = [] if result.kept_running else [f"{command('up')}    # first, in another terminal"]
    queries = [f'{command("sql")} "{query}"' for query in QUERIES]
    invoice = f"{command('invoice', 'usage', biggest, '--period', result.day[:7])}"
    if result.invoices is not None:
        invoice = f"{command('invoice', 'show', result.invoices.corrects)}"
    places = [
        ("  Kafka", result.kafka),
        ("  ClickHouse", result.clickhouse),
        ("  logs", result.logs),
    ]
    stopped = "" if result.kept_running else " (the servers of this run have stopped)"
    return "\n".join(
        ["to try" + stopped, *start, *queries, invoice, "", "where", columns(places, left=2)]
    )


def _sum(customers: Mapping[str, CustomerTotals]) -> CustomerTotals:
    bills = customers.values()
    return CustomerTotals(
        sum(b.calls for b in bills),
        sum(b.input_tokens for b in bills),
        sum(b.output_tokens for b in bills),
        sum(b.cost_pico_usd for b in bills),
        sum(b.covered_units for b in bills),
    )


def _bill(totals: CustomerTotals) -> dict[str, Any]:
    return {
        "calls": totals.calls,
        "input_tokens": totals.input_tokens,
        "output_tokens": totals.output_tokens,
        "cost_usd": format_amount(totals.cost_pico_usd),
        "covered_units": totals.covered_units,
        "units_beyond": totals.units_beyond,
    }
