"""A ledger made by ClickHouse itself: a year of usage and invoices, as the sinks leave it.

Owns the SQL that makes the rows of `bench invoices`. Everything in a row follows from its number,
so two runs make the same ledger: sequences are dense in every partition, times follow them, one
entry in two hundred comes three days late. The year but its last two months is invoiced: those
have closes and issues at the beginning of the month after.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from streams.domain.months import Period, month

PARTITIONS: Final = 8
"""Partitions of the ledger's topic; a customer lies in one."""

MONTHS: Final = 12
YEAR: Final = 2025

INSERT_ROWS: Final = 500_000
"""Rows of one statement: what a server of 2 GB sorts in memory beside its merges."""

CARD: Final = "standard"
"""The rate card that every customer's terms name, in version 1."""


@dataclass(frozen=True, slots=True)
class LedgerPlan:
    """How many rows of how many customers; every month has as many."""

    rows: int
    customers: int

    @property
    def rows_a_month(self) -> int:
        """Rows decided in each month: as many in each partition."""
        return self.rows // (MONTHS * PARTITIONS) * PARTITIONS

    @property
    def total(self) -> int:
        """Rows in all: `rows` rounded down."""
        return self.rows_a_month * MONTHS

    @property
    def billed(self) -> int:
        """Customers: as many in each partition."""
        return self.customers // PARTITIONS * PARTITIONS

    def customer_ids(self) -> list[str]:
        """Every customer, sorted."""
        return [customer_id(number) for number in range(self.billed)]


def customer_id(number: int) -> str:
    """The id of a customer; its partition is `number` % PARTITIONS."""
    return f"customer-{number:07d}"


def periods() -> list[Period]:
    """The months, UTC."""
    return [month(YEAR, number + 1) for number in range(MONTHS)]


CLOSED: Final = MONTHS - 2
"""Months that are invoiced: of the year's last two, one is to be closed and one runs."""


def inserts(plan: LedgerPlan, table: str, at: int) -> Iterator[str]:
    """The statements that insert the rows decided in a month, the first one being 0."""
    for first in range(0, plan.rows_a_month, INSERT_ROWS):
        yield _insert(plan, table, at, first, min(INSERT_ROWS, plan.rows_a_month - first))


def _insert(plan: LedgerPlan, table: str, at: int, first: int, count: int) -> str:
    period, past = periods()[at], periods()[max(0, at - 1)]
    # Terms in the first month, then each month the closes and issues of the one before it.
    billing = plan.billed if at == 0 else 2 * plan.billed if at <= CLOSED else 0
    names = {
        "table": table,
        "base": at * plan.rows_a_month,
        "before": (at - 1) * plan.rows_a_month,
        "first": first,
        "count": count,
        "from_us": period.from_us,
        # A row's time follows its number, as domain time follows the sequence.
        "step_us": (period.to_us - period.from_us - 1) // plan.rows_a_month,
        "customers": plan.billed,
        "each": plan.billed // PARTITIONS,
        "partitions": PARTITIONS,
        "billing": billing,
        "month": at,
        "card": CARD,
        "past": str(past),
        "past_from": past.from_us,
        "past_to": past.to_us,
    }
    return _INSERT.format_map(names)


_INSERT: Final = """
INSERT INTO {table}
(
    kind, schema_version, entry_id, generation, `partition`, sequence, cycle, decided_at,
    topic, source_offset, appended_at, occurred_at, customer_id, source, event_id,
    agent_id, trace_id, provider, model, units,
    input_tokens, cache_read_tokens, output_tokens, cost, currency, cost_basis, price_version,
    covered_units, flags, signal_name, quantity, cost_tracing, was_unpriced,
    card, zone, anchor_day, number, label, period_from, period_to, segments,
    cut_generation, cut_sequence, after_generation, after_sequence, after_end,
    document, digest, lines, totals
)
WITH
    {base} + n AS row,
    intHash64(row) AS luck,
    luck % 1000 AS thousandth,
    row % {partitions} AS lane,
    intDiv(row, {partitions}) AS place,
    multiIf(
        n < {billing} AND {month} = 0, 'terms', n < least({billing}, {customers}), 'invoice_close',
        n < {billing}, 'invoice_issue', thousandth < 940, 'usage', thousandth < 980, 'signal',
        thousandth < 990, 'adjustment', thousandth < 991, 'void', 'cycle'
    ) AS what,
    n < {billing} AS bills,
    what = 'invoice_close' AS closes,
    what = 'invoice_issue' AS issues,
    what IN ('usage', 'adjustment') AS charged,
    what IN ('signal', 'void') AS told,
    intDiv(luck, 1000) AS more,
    fromUnixTimestamp64Micro({from_us} + n * {step_us}, 'UTC') AS decided,
    if(bills, n % {customers}, lane + {partitions} * (intHash64(luck) % {each})) AS customer,
    if(closes OR issues, '{past}', '') AS period,
    fromUnixTimestamp64Micro(if(closes OR issues, {past_from}, 0), 'UTC') AS begins,
    fromUnixTimestamp64Micro(if(closes OR issues, {past_to}, 0), 'UTC') AS ends
SELECT
    what,
    1,
    concat('1-', if(told, 'signals', 'usage'), '-', toString(lane), '-', toString(place), '-0'),
    1,
    lane,
    place,
    intDiv(row, 10000),
    decided,
    multiIf(bills, 'budgets', told, 'signals', charged, 'usage', ''),
    place,
    decided,
    decided - toIntervalMicrosecond(
        multiIf(bills, 0, more % 200 = 0, 259200000000, toInt64(more % 5000000))
    ),
    if(what = 'cycle', '', concat('customer-', leftPad(toString(customer), 7, '0'))),
    'bench',
    lower(hex(luck)),
    if(bills, '', concat('agent-', toString(more % 7))),
    if(bills, '', lower(hex(intHash64(intDiv(row, {partitions} * 5))))),
    if(charged, ['openai', 'anthropic', 'google'][1 + more % 3], ''),
    if(charged, concat('model-', toString(more % 12)), ''),
    if(what = 'usage', 1 + more % 3, 0),
    if(what = 'usage', more % 4000, 0),
    if(what = 'usage', more % 900, 0),
    if(what = 'usage', more % 1100, 0),
    if(charged, toDecimal128(more % 90000000000, 0) / 1000000000000, 0),
    if(charged AND more % 50 = 0, 'EUR', 'USD'),
    multiIf(what = 'usage', if(more % 300 = 0, 'unpriced', 'priced'), charged, 'adjusted', 'none'),
    if(charged, '12', ''),
    if(what = 'usage', more % 2, 0),
    if(what = 'usage' AND more % 400 = 0, ['outer_span'], []),
    if(told, ['meeting_booked', 'ticket_solved', 'deal_closed'][1 + more % 3], ''),
    1,
    what = 'signal',
    what = 'adjustment' AND more % 2 = 0,
    if(what = 'terms', '{card}', ''),
    if(what = 'terms' OR closes, 'UTC', ''),
    what = 'terms',
    if(closes OR issues, concat('c', toString(customer), '-', leftPad('{month}', 4, '0')), ''),
    period,
    begins,
    ends,
    if(closes, [('{card}', '1', toInt64({past_from}), toInt64({past_to}))], []),
    closes,
    if(closes, place, 0),
    closes AND {month} > 1,
    if(closes AND {month} > 1, intDiv({before} + n, {partitions}), 0),
    if(closes AND {month} > 1, begins, fromUnixTimestamp64Micro(0, 'UTC')),
    if(issues, 'invoice', ''),
    if(issues, repeat(lower(hex(luck)), 4), ''),
    if(issues, [
        (1, 'fee', '', '{past}', 'base', 'Base fee', '{card}@1', '', '', '1',
            toInt64({past_from}), toInt64({past_to}), toDecimal128(20, 12), 'USD'),
        (2, 'usage', '', '{past}', 'calls', 'Calls', '{card}@1', '', 'calls', '800',
            toInt64({past_from}), toInt64({past_to}),
            toDecimal128(more % 10000, 12) / toDecimal128(100, 0), 'USD')
    ], []),
    if(issues, [('USD', 20 + toDecimal128(more % 10000, 12) / toDecimal128(100, 0))], [])
FROM (SELECT number + {first} AS n FROM numbers({count}))
SETTINGS max_insert_threads = 1
"""
