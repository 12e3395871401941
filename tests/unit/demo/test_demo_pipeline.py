"""The whole demo through the pure core, without a broker: each record becomes what was foretold."""

from collections import Counter
from datetime import date
from functools import cache

import pytest

from schemas.money import parse_signed_amount
from schemas.structs import Consumed, CycleEntry, UsageEntry
from schemas.times import parse_time_us
from schemas.topics import USAGE
from streams.adapters.price_source import price_book
from streams.app.installation import default_rules
from streams.demo.compare import compare_counts, compare_customers, expected_counts
from streams.demo.events import Scenario
from streams.demo.observe import Counts
from streams.demo.sequence import build_records
from streams.demo.totals import CustomerTotals, expected_totals
from streams.demo.trace import read_calls
from streams.domain.context import CatalogView, Context
from streams.domain.decoding import decode_records
from streams.domain.facts import SourceRecord
from streams.domain.folding import fold_cycle
from streams.domain.state import PartitionState, Progress
from tests.builders import catalog_record

PARTITIONS = 8
SCENARIO = Scenario(date(2026, 1, 14), 50, PARTITIONS)
APPENDED_US = parse_time_us("2026-01-15T09:00:00Z")


@cache
def context() -> Context:
    view = CatalogView()
    view.fold(0, catalog_record("generation", generation=1, partitions=PARTITIONS))
    view.fold(1, default_rules())
    view.fold(2, price_book())
    return view.context()


def outcome_of(rows: int | None, cycle_records: int) -> tuple[Counts, dict[str, CustomerTotals]]:
    """What the core makes of the demo's records, cut into cycles of so many."""
    partitions: list[list[SourceRecord]] = [[] for _ in range(PARTITIONS)]
    for record in build_records(read_calls(rows), SCENARIO):
        log = partitions[record.partition]
        log.append(SourceRecord(USAGE.name, len(log), APPENDED_US, record.key, record.value))
    counts: Counter[str] = Counter()
    codes: Counter[str] = Counter()
    bills: dict[str, CustomerTotals] = {}
    for partition, log in enumerate(partitions):
        state = PartitionState(Progress())
        for start in range(0, len(log), cycle_records):
            records = log[start : start + cycle_records]
            end = start + len(records)
            consumed = [Consumed(topic=USAGE.name, from_offset=start, to_offset=end)]
            facts = decode_records(records, partition, PARTITIONS)
            result = fold_cycle(state, partition, consumed, facts, context(), APPENDED_US)
            codes.update(str(rejected.code) for rejected in result.rejected)
            for entry in result.entries:
                if isinstance(entry, CycleEntry):
                    for name in ("accepted", "duplicates", "conflicts", "dead_letters"):
                        counts[name] += getattr(entry, name)
                elif isinstance(entry, UsageEntry):
                    add(bills, entry)
    return Counts(**counts, by_code=dict(sorted(codes.items()))), bills


def add(bills: dict[str, CustomerTotals], entry: UsageEntry) -> None:
    bill = bills.get(entry.customer_id, CustomerTotals())
    bills[entry.customer_id] = CustomerTotals(
        bill.calls + entry.units,
        bill.input_tokens + entry.input_tokens,
        bill.output_tokens + entry.output_tokens,
        bill.cost_pico_usd + parse_signed_amount(entry.cost),
        bill.covered_units + entry.covered_units,
    )


@pytest.mark.parametrize(("rows", "cycle_records"), [(None, 2_000), (1_500, 37)])
def test_the_core_makes_of_every_record_what_was_foretold(
    rows: int | None, cycle_records: int
) -> None:
    counts, bills = outcome_of(rows, cycle_records)
    calls = read_calls(rows)
    foretold = expected_counts(build_records(calls, SCENARIO), 0, len(calls))
    assert compare_counts(foretold, counts) == []
    assert compare_customers(expected_totals(50, rows), bills) == []
