"""The usage records that every benchmark reads, and what must come out of them.

A function of the workload alone: the same seed gives the same bytes, whoever reads them. Shares
nothing with the pipeline but Kafka's partitioner: bodies are written as text, sums are integers,
prices are written down below. Which contender reads the records, and how they get into Kafka, is
for others.
"""

import random
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import accumulate
from typing import Final

from schemas.limits import METADATA_ENTRIES_MAX, METADATA_VALUE_CHARS_MAX
from schemas.partitioner import partition_of

SEED: Final = 20_261
"""Where a run names no seed of its own."""

DUPLICATE_DISTANCE_MAX: Final = 100_000
"""How many records back the original of a duplicate lies at the most: minutes of a busy seller,
which is how long producers try again."""

WEIGHT_OF_THE_LARGEST: Final = 10**9
"""Weights of customers are integers below 2**53, so that their sums are exact everywhere."""

WEIGHT_EXPONENT: Final = 0.8
"""The n-th customer has the weight 1 / n**0.8: with 10,000 customers the largest has 3.7 % of all
events and the smallest one in 43,000."""

DAY_US: Final = 86_400_000_000

MICRO_TO_PICO: Final = 10**6

PICO_PER_TOKEN: Final = {
    # model: (input, cache_read, output); list prices in dollars per million tokens, times 10**6
    "gpt-4o": (2_500_000, 1_250_000, 10_000_000),
    "gpt-4o-mini": (150_000, 75_000, 600_000),
    "gpt-4.1": (2_000_000, 500_000, 8_000_000),
    "gpt-4.1-mini": (400_000, 100_000, 1_600_000),
}
"""OpenAI's list prices of the models that the records name. A test compares them with the price
book that Tollgate ships."""

MODELS: Final = tuple(PICO_PER_TOKEN)

AGENTS: Final = 4
"""Agents of each customer."""

COST_ONE_IN: Final = 2
"""Every so many-th event brings its cost; of the others the price book says it."""


@dataclass(frozen=True, slots=True)
class BenchRecord:
    """A record of the topic `usage`: `partition` is the one that belongs to the key."""

    partition: int
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Workload:
    """What a run reads. `count` records, duplicates among them; events spread evenly over the day
    that begins at `begins_at_us`, which has to lie in the past by a day at least and by no more
    than the lateness limit of the rules (34 days).

    `duplicate_one_in` 0 means no duplicates. `largest_one_in` N gives the largest customer one in N
    of all events beside its usual share; 0 means nothing beside it. `metadata_chars` pads each body
    with so many characters of metadata, for large records.
    """

    count: int
    begins_at_us: int
    seed: int = SEED
    partitions: int = 8
    customers: int = 10_000
    duplicate_one_in: int = 10
    largest_one_in: int = 0
    metadata_chars: int = 0
    trace_calls: int = 0
    """So many events of a customer, one after the other, are a trace; 0 means that no event is in
    one: joining traces is a job that no contender but Tollgate does."""


@dataclass(slots=True)
class Expected:
    """What the distinct events of the records drawn so far add up to, by customer.

    `cost_pico` sums the costs that the events bring themselves, `rated_pico` also what the price
    book says of those that bring none.
    """

    records: int = 0
    distinct: int = 0
    events: dict[str, int] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    cost_pico: dict[str, int] = field(default_factory=dict)
    rated_pico: dict[str, int] = field(default_factory=dict)


def yesterday_us(now_us: int) -> int:
    """The beginning of the UTC day before this time: where a workload's day can begin."""
    return (now_us // DAY_US - 1) * DAY_US


def customer_id(rank: int) -> str:
    """The id of the rank-th largest customer, from 1 on."""
    return f"customer-{rank:07d}"


def bench_records(workload: Workload, expected: Expected | None = None) -> Iterator[BenchRecord]:
    """The records of a workload in their order; `expected` is brought up to date with each one.

    A duplicate is the same record once more, up to DUPLICATE_DISTANCE_MAX records later.
    """
    found = Expected() if expected is None else expected
    rng = random.Random(workload.seed)  # noqa: S311 - reproducible choices, no secrets
    bits, text = rng.getrandbits, rng.randbytes
    bounds = _bounds(workload.customers)
    total_bits = bounds[-1].bit_length() + 16  # 16 more: the modulus favours nobody measurably
    step_us = DAY_US / workload.count
    padding = _padding(workload.metadata_chars)
    recent: list[BenchRecord] = []
    second, second_text = -1, ""
    for number in range(workload.count):
        place = number % DUPLICATE_DISTANCE_MAX
        if workload.duplicate_one_in and number and not bits(32) % workload.duplicate_one_in:
            record = recent[bits(40) % len(recent)]
            _remember(recent, place, record)
            found.records += 1
            yield record
            continue
        rank = 1 + bisect_right(bounds, bits(total_bits) % bounds[-1])
        if workload.largest_one_in and not bits(32) % workload.largest_one_in:
            rank = 1
        customer = customer_id(rank)
        at_us = workload.begins_at_us + int(number * step_us)
        if at_us // 1_000_000 != second:
            second = at_us // 1_000_000
            second_text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        h = text(32).hex()
        trace = _trace(rank, found.events.get(customer, 0), workload.trace_calls)
        chosen = bits(64)
        model = MODELS[chosen & 3]
        fresh, cached, out = chosen >> 2 & 0x3FFF, chosen >> 16 & 0xFFF, chosen >> 28 & 0x7FF
        tokens = f'"input":{fresh},"cache_read":{cached},"output":{out}'
        cost_micro = chosen >> 39 & 0xFFFF if not number % COST_ONE_IN else None
        cost = "" if cost_micro is None else f',"cost":"0.{cost_micro:06d}"'
        value = (
            f'{{"schema_version":1,"event_id":"{h[:8]}-{h[8:12]}-4{h[13:16]}-a{h[17:20]}-{h[20:32]}"'
            f',"source":"agents-eu-west-1","customer_id":"{customer}"'
            f',"occurred_at":"{second_text}.{at_us % 1_000_000:06d}Z"'
            f',"agent_id":"agent-{rank * AGENTS + number % AGENTS:07d}"{trace}'
            f',"provider":"openai","model":"{model}","units":1,"tokens":{{{tokens}}}{cost}{padding}}}'
        )
        key = customer.encode()
        record = BenchRecord(partition_of(key, workload.partitions), key, value.encode())
        _remember(recent, place, record)
        found.records += 1
        found.distinct += 1
        rates = PICO_PER_TOKEN[model]
        stated = 0 if cost_micro is None else cost_micro * MICRO_TO_PICO
        rated = fresh * rates[0] + cached * rates[1] + out * rates[2]
        _add(found.events, customer, 1)
        _add(found.tokens, customer, fresh + cached + out)
        _add(found.cost_pico, customer, stated)
        _add(found.rated_pico, customer, rated if cost_micro is None else stated)
        yield record


def _trace(rank: int, number: int, calls: int) -> str:
    """The field of the trace of a customer's so many-th event."""
    return f',"trace_id":"{rank:016x}{number // calls:016x}"' if calls else ""


def _remember(recent: list[BenchRecord], place: int, record: BenchRecord) -> None:
    if place < len(recent):
        recent[place] = record
    else:
        recent.append(record)


def _add(sums: dict[str, int], customer: str, amount: int) -> None:
    sums[customer] = sums.get(customer, 0) + amount


def _bounds(customers: int) -> list[int]:
    weights = (WEIGHT_OF_THE_LARGEST / rank**WEIGHT_EXPONENT for rank in range(1, customers + 1))
    return list(accumulate(int(weight) for weight in weights))


def _padding(chars: int) -> str:
    """Metadata of so many characters of text, in as many entries as that takes."""
    if not chars:
        return ""
    if chars > METADATA_ENTRIES_MAX * METADATA_VALUE_CHARS_MAX:
        raise ValueError(f"{chars} characters of metadata are more than a record may carry")
    whole, rest = divmod(chars, METADATA_VALUE_CHARS_MAX)
    lengths = [METADATA_VALUE_CHARS_MAX] * whole + ([rest] if rest else [])
    entries = ",".join(f'"note-{n:02d}":"{"x" * length}"' for n, length in enumerate(lengths))
    return f',"metadata":{{{entries}}}'
