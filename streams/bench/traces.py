"""`tollgate bench traces`: what joining costs and signals takes, and what an open trace takes.

One process folds a day of traces in memory, as a worker's cycles do: calls and signals of many
traces mixed, some of each after their trace has closed. Beside it stands the same day without trace
ids, so that the difference is what windows cost. No Kafka, no store: what those cost is measured by
`bench pipeline`. Before a figure is told, every cost must be shared out to the pico-dollar.
"""

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from schemas import codec
from schemas.envelope import SCHEMA_VERSION
from schemas.money import parse_signed_amount
from schemas.partitioner import partition_of
from schemas.structs import Consumed, Generation, Rules, Signal, Usage, UsageEntry
from schemas.times import format_time
from schemas.topics import SIGNALS, USAGE
from streams.bench.report import Report, at_least, machine
from streams.domain.appends import cycle_appends
from streams.domain.context import CatalogView, Context
from streams.domain.decoding import decode_records
from streams.domain.facts import Fact, Rejected, SourceRecord
from streams.domain.folding import FOLD_ORDER, CycleResult, event_time_us, fold_cycle
from streams.domain.reach import load_windows
from streams.domain.state import PartitionState, Progress
from streams.domain.windows import is_window_row
from streams.errors import FaultError

EVENTS: Final = 120_000
CALLS: Final = 5
"""Calls of a trace; one signal besides."""

CYCLE_RECORDS: Final = 2_000
CUSTOMERS: Final = 500
LATE_ONE_IN: Final = 50
"""Every so many-th call comes an hour after its trace."""

TRACES_PER_SECOND: Final = 10
"""Few enough that most of them close while others go on."""

JOINED_PER_SECOND: Final = at_least(50_000)


@dataclass(slots=True)
class Spent:
    """CPU seconds of one day, by what they went into, and what came out."""

    decode: float = 0.0
    load: float = 0.0
    fold: float = 0.0
    encode: float = 0.0
    records: int = 0
    rows: int = 0
    open_bytes: list[int] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.decode + self.load + self.fold + self.encode


def run_traces(begins_at_us: int, *, events: int = EVENTS, seed: int, rounds: int = 3) -> Report:
    """The figures, each the best of some rounds: whatever else runs here only ever adds to them.

    Raises FaultError where a cost is not shared out exactly.
    """
    context = _context()
    plain: list[Spent] = []
    traced: list[Spent] = []
    for _ in range(rounds):
        plain.append(_fold_day(context, begins_at_us, events, seed, traced=False))
        traced.append(_fold_day(context, begins_at_us, events, seed, traced=True))
    without, joined = min(plain, key=_seconds), min(traced, key=_seconds)
    join_seconds = joined.seconds - without.seconds
    report = Report(machine())
    report.add("joined", joined.records / join_seconds, "events/CPU s", JOINED_PER_SECOND)
    report.add("joining costs", join_seconds / joined.records * 1e6, "us/event")
    report.add("whole core with traces", joined.records / joined.seconds, "events/CPU s")
    report.add("whole core without", without.records / without.seconds, "events/CPU s")
    report.add("attributions", joined.rows, "rows")
    size = sum(joined.open_bytes) / max(1, len(joined.open_bytes))
    report.add("state of an open trace", size, "bytes")
    return report


def _seconds(spent: Spent) -> float:
    return spent.seconds


def _context() -> Context:
    generation = Generation(
        schema_version=SCHEMA_VERSION, id="bench", version="1", generation=1, partitions=1
    )
    rules = Rules(schema_version=SCHEMA_VERSION, id="bench", version="1", default_plan=[])
    view = CatalogView()
    view.fold(0, generation)
    view.fold(1, rules)
    return view.context()


def _fold_day(
    context: Context, begins_at_us: int, events: int, seed: int, *, traced: bool
) -> Spent:
    spent, state = Spent(), PartitionState(Progress())
    table: dict[bytes, bytes] = {}
    ends: dict[str, int] = {}
    sums: dict[str, int] = {}
    costs: dict[str, int] = {}
    for batch in _cycles(_day(begins_at_us, events, seed, traced=traced)):
        for record in batch:
            ends[record.topic] = record.offset + 1
        result = _cycle(context, state, table, batch, ends, spent)
        for entry in result.entries:
            if isinstance(entry, UsageEntry):
                costs[entry.entry_id] = parse_signed_amount(entry.cost)
        for row in result.attributions:
            if row.cost_entry:
                amount = parse_signed_amount(row.amount)
                sums[row.cost_entry] = sums.get(row.cost_entry, 0) + amount
    wrong = [cost for cost, amount in sums.items() if amount != costs[cost]]
    if wrong or (traced and not sums):
        raise FaultError(
            f"{len(wrong)} of {len(sums)} costs are not shared out exactly",
            action="This is a defect of the trace windows: report it with the seed.",
        )
    return spent


def _cycle(
    context: Context,
    state: PartitionState,
    table: dict[bytes, bytes],
    batch: Sequence[SourceRecord],
    ends: dict[str, int],
    spent: Spent,
) -> CycleResult:
    consumed = [Consumed(topic=topic, from_offset=0, to_offset=end) for topic, end in ends.items()]
    domain_time_us = max(record.appended_at_us for record in batch)
    began = time.process_time()
    facts: list[Fact | Rejected] = decode_records(batch, 0, context.partitions)
    decoded = time.process_time()
    latest_us = event_time_us(state.progress, facts, consumed, context)
    state.windows = load_windows(
        facts, state.progress, latest_us, domain_time_us, lambda keys: [*map(table.get, keys)]
    )
    loaded = time.process_time()
    result = fold_cycle(state, 0, consumed, facts, context, domain_time_us)
    folded = time.process_time()
    appends = cycle_appends(state, result)
    encoded = time.process_time()
    for key, value in appends["accounts-changelog"]:
        assert key is not None, "every row has one"
        if value is None:
            table.pop(key, None)
        else:
            table[key] = value
            if is_window_row(key) and b'"closed":true' not in value:
                spent.open_bytes.append(len(key) + len(value))
    spent.decode += decoded - began
    spent.load += loaded - decoded
    spent.fold += folded - loaded
    spent.encode += encoded - folded
    spent.records += len(batch)
    spent.rows += len(result.attributions)
    state.touched.clear()
    state.new_claims.clear()
    return result


def _cycles(records: Iterator[SourceRecord]) -> Iterator[list[SourceRecord]]:
    batch: list[SourceRecord] = []
    for record in records:
        batch.append(record)
        if len(batch) == CYCLE_RECORDS:
            yield sorted(batch, key=_in_order)
            batch = []
    if batch:
        yield sorted(batch, key=_in_order)


def _in_order(record: SourceRecord) -> tuple[int, int]:
    return FOLD_ORDER.index(record.topic), record.offset


def _day(begins_at_us: int, events: int, seed: int, *, traced: bool) -> Iterator[SourceRecord]:
    """Calls and signals of all traces by their time. A trace lasts for some two seconds."""
    rng = random.Random(seed)  # noqa: S311 - reproducible choices, no secrets
    happenings: list[tuple[int, int, int]] = []
    for trace in range(events // (CALLS + 1)):
        start_us = begins_at_us + trace * 1_000_000 // TRACES_PER_SECOND
        for call in range(CALLS):
            late_us = 3_600_000_000 if not rng.randrange(LATE_ONE_IN) else 0
            happenings.append((start_us + rng.randrange(2_000_000) + late_us, trace, call))
        happenings.append((start_us + 2_000_000, trace, CALLS))
    happenings.sort()
    offsets = {USAGE.name: 0, SIGNALS.name: 0}
    for at_us, trace, call in happenings:
        topic = SIGNALS.name if call == CALLS else USAGE.name
        body = _body(at_us, trace, call, traced=traced)
        key = body.customer_id.encode()
        assert partition_of(key, 1) == 0
        yield SourceRecord(topic, offsets[topic], at_us, key, codec.encode(body))
        offsets[topic] += 1


def _body(at_us: int, trace: int, call: int, *, traced: bool) -> Usage | Signal:
    head = {
        "schema_version": SCHEMA_VERSION,
        "event_id": f"{trace:032x}:{call:016x}",
        "source": "otlp",
        "customer_id": f"customer-{trace % CUSTOMERS:07d}",
        "occurred_at": format_time(at_us),
        "trace_id": f"{trace:032x}" if traced else None,
    }
    if call == CALLS:
        return codec.decode_signal(
            codec.encode(head | {"name": "meeting_booked", "cost_tracing": traced})
        )
    spans = {"span_id": f"{call + 1:016x}", "parent_span_id": "0" * 16} if traced else {}
    return codec.decode_usage(codec.encode(head | spans | {"cost": f"0.{trace % 10**6:06d}"}))
