"""What an installation of a given size needs, by figures that were measured. Pure.

    events per second, customers, days ─▶ processes, partitions, brokers, disk ─▶ what breaks first

A figure is what one machine did (docs/benchmark.md); a plan is a first guess that a load test of
your own corrects, and says which of its figures nobody has measured.
"""

from dataclasses import dataclass
from math import ceil
from typing import Final

DAY_SECONDS: Final = 86_400
FILLED: Final = 0.5
"""How full a core is planned: at half of one, events are visible within 300 ms at the 99th
percentile, at three quarters they are not (decision 014)."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured value, what it is, and the command that measures it."""

    value: float
    unit: str
    measured_by: str


WORKER_EVENTS: Final = Figure(
    33_700, "events per CPU second of a worker", "tollgate bench pipeline; decision 015"
)
RECOVERED: Final = Figure(
    420_000, "accounts that a worker recovers per second", "tollgate bench recovery; decision 015"
)
GATEWAY_ASKS: Final = Figure(
    3_000, "asks per second of one gateway process", "tollgate bench preflight"
)
SINK_ROWS: Final = Figure(150_000, "rows per CPU second of a sink", "decision 008")
CLICKHOUSE_ROWS: Final = Figure(95_000, "rows per CPU second of ClickHouse", "decision 008")
TRANSACTIONS: Final = Figure(
    175, "transactions per second of one broker on two shared cores", "decision 014"
)
USAGE_BYTES: Final = Figure(343, "bytes of a usage event in the log", "make scale")
LEDGER_BYTES: Final = Figure(790, "bytes of its entries in the log", "make scale")
CHANGELOG_BYTES: Final = Figure(
    158, "bytes of accounts and claims in the changelogs, before compaction", "make scale"
)
ACCOUNT_BYTES: Final = Figure(
    172, "bytes of an account in its changelog", "tests/unit/test_sizing.py"
)
CLAIM_BYTES: Final = Figure(50, "bytes of a claim in a store", "python -m tests.claims_memory")
ROW_BYTES: Final = Figure(100, "bytes of a ledger row in ClickHouse", "tollgate bench invoices")
BROKER_BYTES: Final = Figure(
    50_000_000, "bytes per second written by one broker, copies among them", "not measured"
)

FIGURES: Final = (
    WORKER_EVENTS,
    RECOVERED,
    GATEWAY_ASKS,
    SINK_ROWS,
    CLICKHOUSE_ROWS,
    TRANSACTIONS,
    USAGE_BYTES,
    LEDGER_BYTES,
    CHANGELOG_BYTES,
    ACCOUNT_BYTES,
    CLAIM_BYTES,
    ROW_BYTES,
    BROKER_BYTES,
)
"""All that a plan rests on."""

CLAIM_DAYS: Final = 70
"""How long a claim lies in a store (decision 002)."""

PARTITIONS_PER_WORKER: Final = 4
"""So that a worker's partitions can be shared out evenly among those that are left, and workers can
be doubled twice without another partition count."""

CYCLE_EVENTS: Final = 1_000
"""Records that a busy partition's cycle takes on average; it may take 4,000."""

CLICKHOUSE_CORES: Final = 16
"""Of one server of ClickHouse, of which half are left to queries and merges."""

ROWS_DISK_BYTES: Final = 8 * 10**12
"""Of one server of ClickHouse."""

STORE_BYTES_MEASURED: Final = 5 * 10**8
"""Claims of one worker as far as anybody has measured: ten million of them."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is to be carried: events and asks per second at the busiest time, events per second on
    average, customers, copies of the log and of tables, and days that the log keeps before it is
    archived."""

    events_per_second: float
    customers: int
    asks_per_second: float = 0.0
    average: float | None = None
    copies: int = 3
    log_days: int = 30
    row_days: int = 400


@dataclass(frozen=True, slots=True)
class Need:
    """One line of a plan."""

    what: str
    amount: float
    unit: str
    because: str


def plan(load: Load) -> list[Need]:
    """What a load needs, in the order in which it is to be decided."""
    average = load.events_per_second if load.average is None else load.average
    workers = _processes(load.events_per_second, WORKER_EVENTS)
    partitions = _power_of_two(max(8, workers * PARTITIONS_PER_WORKER))
    log_rate = load.events_per_second * load.copies * _event_bytes()
    transactions = max(partitions, load.events_per_second / CYCLE_EVENTS)
    brokers = max(
        load.copies,
        ceil(log_rate / BROKER_BYTES.value),
        ceil(transactions / TRANSACTIONS.value),
    )
    rows = average * DAY_SECONDS * load.row_days * ROW_BYTES.value
    shards = max(
        1,
        ceil(load.events_per_second / CLICKHOUSE_ROWS.value / (CLICKHOUSE_CORES * FILLED)),
        ceil(rows / ROWS_DISK_BYTES),
    )
    store = _store_bytes(load, average) / workers
    gateways = max(2, ceil(load.asks_per_second / GATEWAY_ASKS.value))
    sinks = max(2, _processes(load.events_per_second, SINK_ROWS))
    return [
        Need("workers", workers, "processes of one core", _of(WORKER_EVENTS)),
        Need("partitions", partitions, "", f"{PARTITIONS_PER_WORKER} for each worker"),
        Need("gateways", gateways, "processes", _of(GATEWAY_ASKS)),
        Need("sinks", sinks, "processes", _of(SINK_ROWS)),
        Need("transactions", transactions, "a second", f"{CYCLE_EVENTS:,} events in one"),
        Need(
            "log written", log_rate / 1e6, "MB/s", f"{_event_bytes():,.0f} bytes an event, copied"
        ),
        Need("brokers", brokers, "", "the larger of copies, bytes and transactions"),
        Need(
            "log kept",
            average * DAY_SECONDS * load.log_days * _kept_bytes() * load.copies / 1e12,
            "TB",
            f"{load.log_days} days of usage and ledger",
        ),
        Need("store of a worker", store / 1e9, "GB", f"claims of {CLAIM_DAYS} days, accounts"),
        Need(
            "empty store filled in",
            load.customers / workers / RECOVERED.value,
            "s, and its claims",
            _of(RECOVERED),
        ),
        Need("ClickHouse shards", shards, "", f"{CLICKHOUSE_CORES} cores and 8 TB each"),
        Need("rows kept", rows / 1e12, "TB on each copy", f"{load.row_days} days"),
    ]


def doubts(load: Load) -> list[str]:
    """What of a plan lies beyond everything that was measured, the gravest first."""
    average = load.events_per_second if load.average is None else load.average
    workers = _processes(load.events_per_second, WORKER_EVENTS)
    store = _store_bytes(load, average) / workers
    found = []
    if store > STORE_BYTES_MEASURED:
        found.append(
            f"a store of {store / 1e9:,.1f} GB at each worker: measured are "
            f"{STORE_BYTES_MEASURED / 1e9:.1f} GB, in which a new id costs 0.8 µs and a known one "
            "5 µs. Measure yours, or use more workers."
        )
    if workers > 2:
        found.append(
            f"{workers} workers: measured are three on two cores. That they do not disturb each "
            "other follows from partitions that share nothing but brokers."
        )
    if load.events_per_second > 2 * CLICKHOUSE_ROWS.value:
        found.append("several shards of ClickHouse: tried are two, without copies (decision 036).")
    return found


def _event_bytes() -> float:
    return USAGE_BYTES.value + LEDGER_BYTES.value + CHANGELOG_BYTES.value


def _kept_bytes() -> float:
    return USAGE_BYTES.value + LEDGER_BYTES.value


def _store_bytes(load: Load, average: float) -> float:
    claims = average * DAY_SECONDS * CLAIM_DAYS * CLAIM_BYTES.value
    return claims + load.customers * ACCOUNT_BYTES.value


def _processes(per_second: float, figure: Figure) -> int:
    return max(1, ceil(per_second / (figure.value * FILLED)))


def _of(figure: Figure) -> str:
    return f"{figure.value:,.0f} {figure.unit}"


def _power_of_two(least: int) -> int:
    count = 1
    while count < least:
        count *= 2
    return count
