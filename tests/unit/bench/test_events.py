"""The records of a benchmark: the same ones from the same seed, and sums that somebody else
finds."""

import json
from dataclasses import replace
from decimal import Decimal

from genai_prices import Usage as GenaiUsage
from genai_prices import calc_price

from schemas import codec
from schemas.money import parse_amount
from schemas.partitioner import partition_of
from streams.bench.events import (
    DAY_US,
    MODELS,
    PICO_PER_TOKEN,
    BenchRecord,
    Expected,
    Workload,
    bench_records,
    yesterday_us,
)

DAY = 20_000 * DAY_US
WORKLOAD = Workload(count=4_000, begins_at_us=DAY, customers=100)


def drawn(workload: Workload = WORKLOAD) -> tuple[list[BenchRecord], Expected]:
    expected = Expected()
    return list(bench_records(workload, expected)), expected


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    assert drawn() == drawn()
    assert drawn()[0] != drawn(replace(WORKLOAD, seed=1))[0]


def test_every_record_is_accepted_usage_of_the_promised_size() -> None:
    for record in drawn()[0]:
        usage = codec.decode_usage(record.value)
        assert usage.customer_id.encode() == record.key
        assert 290 <= len(record.value) <= 345
        assert record.partition == partition_of(record.key, 8)


def test_the_expected_sums_are_those_of_the_distinct_bodies() -> None:
    records, expected = drawn()
    bodies = {body["event_id"]: body for body in (json.loads(r.value) for r in records)}
    assert (expected.records, expected.distinct) == (len(records), len(bodies))
    events: dict[str, int] = {}
    tokens: dict[str, int] = {}
    cost: dict[str, int] = {}
    rated: dict[str, int] = {}
    for body in bodies.values():
        customer, counts = body["customer_id"], body["tokens"]
        stated = parse_amount(body["cost"]) if "cost" in body else None
        book = sum(
            counts[name] * price
            for name, price in zip(
                ("input", "cache_read", "output"), PICO_PER_TOKEN[body["model"]], strict=True
            )
        )
        for sums, amount in (
            (events, 1),
            (tokens, sum(counts.values())),
            (cost, stated or 0),
            (rated, book if stated is None else stated),
        ):
            sums[customer] = sums.get(customer, 0) + amount
    assert (expected.events, expected.tokens) == (events, tokens)
    assert (expected.cost_pico, expected.rated_pico) == (cost, rated)


def test_the_prices_are_those_of_the_installed_book() -> None:
    for model in MODELS:
        usage = GenaiUsage(input_tokens=3 * 10**6, cache_read_tokens=10**6, output_tokens=4 * 10**6)
        fresh, cached, out = PICO_PER_TOKEN[model]
        price = calc_price(usage, model_ref=model, provider_id="openai").total_price
        assert price == Decimal(2 * fresh + cached + 4 * out) / 10**6


def test_a_tenth_are_duplicates_of_records_that_came_before() -> None:
    records, expected = drawn()
    assert 0.08 < 1 - expected.distinct / len(records) < 0.12
    seen: set[bytes] = set()
    repeats = 0
    for record in records:
        repeats += record.value in seen
        seen.add(record.value)
    assert repeats == len(records) - expected.distinct


def test_without_duplicates_every_record_is_another_event() -> None:
    records, expected = drawn(replace(WORKLOAD, duplicate_one_in=0))
    assert expected.distinct == len({record.value for record in records}) == len(records)


def test_customers_are_of_unequal_size_and_one_may_have_half_of_all() -> None:
    _, expected = drawn()
    by_size = sorted(expected.events.values(), reverse=True)
    assert by_size[0] > 5 * by_size[len(by_size) // 2]
    _, half = drawn(replace(WORKLOAD, largest_one_in=2))
    assert 0.5 < half.events["customer-0000001"] / half.distinct < 0.6


def test_large_records_carry_metadata_that_is_accepted() -> None:
    records, _ = drawn(replace(WORKLOAD, count=50, metadata_chars=3_700))
    assert all(4_000 < len(record.value) < 4_400 for record in records)
    assert all(codec.decode_usage(record.value).metadata for record in records)


def test_events_lie_on_the_day_before_now() -> None:
    now_us = DAY + DAY_US // 2
    workload = replace(WORKLOAD, begins_at_us=yesterday_us(now_us))
    times = [json.loads(record.value)["occurred_at"] for record in drawn(workload)[0]]
    assert {time[:10] for time in times} == {"2024-10-03"}
