"""What must be in the ledger and in ClickHouse, worked out naively from the inbound topics.

Shares no code with the domain: JSON, dictionaries and decimals. Which records are accepted does not
depend on how cycles were cut (decision 003), so the expectation is exact.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from schemas import codec
from schemas.partitioner import partition_of
from schemas.structs import CycleEntry, DeadLetter, GrantEntry, LedgerEntry, UsageEntry, VoidEntry
from schemas.topics import BUDGETS, DEAD_LETTERS, PRODUCED, SIGNALS, USAGE
from streams.adapters.clickhouse import ClickHouse
from tests.installation import Installation

Place = tuple[str, int, int]
"""Topic, partition, offset of an inbound record."""

PLACES_SHOWN: Final = 5


@dataclass(slots=True)
class Expected:
    """What becomes of each inbound record, and the sums that follow."""

    accepted: dict[Place, dict[str, Any]] = field(default_factory=dict)
    duplicates: set[Place] = field(default_factory=set)
    letters: dict[Place, str] = field(default_factory=dict)
    voids: dict[Place, dict[str, Any]] = field(default_factory=dict)
    """What takes a signal back: whether it was decided before that is the cycles' affair."""
    units: Counter[str] = field(default_factory=Counter)
    cost: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))


@dataclass(slots=True)
class Verdict:
    """The outcome of one schedule. `faults` is empty where everything is as it must be."""

    events: int = 0
    accepted: int = 0
    duplicates: int = 0
    letters: int = 0
    lost: int = 0
    doubled: int = 0
    wrong_sums: int = 0
    shares: int = 0
    """Attributions, and those of them that came late or by a signal taken back."""
    late: int = 0
    voided: int = 0
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Books:
    """The committed records of an installation: inbound topics, ledger, dead letters."""

    inbound: dict[str, list[list[Any]]]
    ledger: list[list[LedgerEntry]]
    letters: list[list[DeadLetter]]


def check_log(installation: Installation, verdict: Verdict) -> Books:
    """Reads everything and compares what was decided with what had to be."""
    found = read_books(installation, verdict)
    inbound, letters = found.inbound, found.letters
    ends = {
        (topic, partition): records[-1].offset + 1
        for topic, parts in inbound.items()
        for partition, records in enumerate(parts)
        if records
    }
    expected = expect(inbound, installation.settings.partitions)
    check_ledger(expected, found.ledger, letters, ends, verdict)
    check_burns(found.ledger, verdict)
    return found


def read_books(installation: Installation, verdict: Verdict) -> Books:
    """The committed records; counts the inbound ones."""
    inbound = {topic.name: installation.read(topic.name) for topic in PRODUCED}
    letters = [
        [codec.decode_dead_letter(record.value) for record in part]
        for part in installation.read(DEAD_LETTERS.name)
    ]
    verdict.events = sum(len(part) for parts in inbound.values() for part in parts)
    return Books(inbound, installation.entries(), letters)


def expect(inbound: dict[str, list[list[Any]]], partitions: int) -> Expected:
    """The naive outcome. `inbound` holds the records by topic and partition, in their order."""
    expected = Expected()
    for topic, parts in inbound.items():
        for partition, records in enumerate(parts):
            first: dict[tuple[str, str, str], dict[str, Any]] = {}
            for record in records:
                place = (topic, partition, record.offset)
                _expect_one(expected, first, place, record, partitions)
    return expected


def _expect_one(
    expected: Expected,
    first: dict[tuple[str, str, str], dict[str, Any]],
    place: Place,
    record: Any,
    partitions: int,
) -> None:
    try:
        body = json.loads(record.value)
        customer = body["customer_id"]
    except (ValueError, TypeError):
        expected.letters[place] = "malformed"
        return
    if partition_of(customer.encode(), partitions) != place[1]:
        expected.letters[place] = "wrong_partition"
        return
    if body.get("kind") == "void":
        expected.voids[place] = body
        return
    key = (customer, body["source"], body["event_id"])
    if key in first:
        if first[key] == body:
            expected.duplicates.add(place)
        else:
            expected.letters[place] = "conflict"
        return
    first[key] = body
    expected.accepted[place] = body
    if place[0] == USAGE.name:
        expected.units[customer] += body["units"]
        expected.cost[customer] += Decimal(body["cost"])


def check_ledger(
    expected: Expected,
    ledger: Sequence[Sequence[LedgerEntry]],
    letters: Sequence[Sequence[DeadLetter]],
    ends: dict[tuple[str, int], int],
    verdict: Verdict,
) -> None:
    """Compare the committed ledger and dead letters with the expectation."""
    found: Counter[Place] = Counter()
    counted: Counter[str] = Counter()
    consumed: dict[tuple[str, int], int] = {}
    units: Counter[str] = Counter()
    cost: dict[str, Decimal] = defaultdict(Decimal)
    plans: Counter[str] = Counter()
    kinds = {USAGE.name: "UsageEntry", SIGNALS.name: "SignalEntry", BUDGETS.name: "GrantEntry"}
    _settle_voids(expected, ledger, letters, verdict)
    for partition, entries in enumerate(ledger):
        if [entry.sequence for entry in entries] != list(range(len(entries))):
            verdict.faults.append(f"partition {partition}: the ledger's sequences are not dense")
        for entry in entries:
            if isinstance(entry, CycleEntry):
                counted.update(
                    accepted=entry.accepted, duplicates=entry.duplicates, letters=entry.dead_letters
                )
                for piece in entry.consumed:
                    at = consumed.get((piece.topic, partition), 0)
                    if piece.from_offset != at:
                        verdict.faults.append(
                            f"partition {partition} cycle {entry.cycle}: {piece.topic} goes on at "
                            f"{piece.from_offset} after {at}"
                        )
                    consumed[piece.topic, partition] = piece.to_offset
                continue
            if entry.entry_index:
                plans[entry.customer_id] += 1
                continue
            place = (entry.topic, partition, entry.source_offset)
            found[place] += 1
            body = expected.accepted.get(place)
            if body is not None and (
                (body["customer_id"], body["event_id"]) != (entry.customer_id, entry.event_id)
                or (place not in expected.voids and type(entry).__name__ != kinds[entry.topic])
            ):
                verdict.faults.append(f"{place}: the entry is of another event")
            if isinstance(entry, UsageEntry):
                units[entry.customer_id] += entry.units
                cost[entry.customer_id] += Decimal(entry.cost)
    _compare_places(expected, found, verdict)
    _compare_letters(expected, letters, verdict)
    _compare_sums(expected, units, cost, verdict)
    known = {body["customer_id"] for body in expected.accepted.values()}
    if plans != Counter(known):
        verdict.faults.append(f"default plans: {sum(plans.values())} for {len(known)} customers")
    due = {"accepted": len(expected.accepted), "duplicates": len(expected.duplicates)}
    due["letters"] = len(expected.letters)
    if {name: counted[name] for name in due} != due:
        verdict.faults.append(f"the cycles' entries count {dict(counted)}, expected {due}")
    wrong = {at: (end, consumed.get(at, 0)) for at, end in ends.items() if consumed.get(at) != end}
    if wrong:
        verdict.faults.append(f"consumed up to elsewhere (end, consumed): {wrong}")
    verdict.accepted, verdict.duplicates = counted["accepted"], counted["duplicates"]
    verdict.letters = counted["letters"]


def check_customers(books: Books, partitions: int, prefix: str, verdict: Verdict) -> None:
    """The same of the customers alone whose names begin so, beside others of whom nothing is known
    here: each of their records ends once, their sums are right. Nobody else has dead letters."""
    begins = prefix.encode()
    inbound = {
        topic: [
            [record for record in part if (record.key or b"").startswith(begins)] for part in parts
        ]
        for topic, parts in books.inbound.items()
    }
    expected = expect(inbound, partitions)
    mine = [
        [e for e in part if not isinstance(e, CycleEntry) and e.customer_id.startswith(prefix)]
        for part in books.ledger
    ]
    _settle_voids(expected, mine, books.letters, verdict)
    found: Counter[Place] = Counter()
    units: Counter[str] = Counter()
    cost: dict[str, Decimal] = defaultdict(Decimal)
    for partition, part in enumerate(mine):
        for entry in part:
            if entry.topic in inbound and not entry.entry_index:
                found[entry.topic, partition, entry.source_offset] += 1
            if isinstance(entry, UsageEntry):
                units[entry.customer_id] += entry.units
                cost[entry.customer_id] += Decimal(entry.cost)
    _compare_places(expected, found, verdict)
    _compare_letters(expected, books.letters, verdict)
    _compare_sums(expected, units, cost, verdict)
    verdict.accepted += len(expected.accepted)
    verdict.duplicates += len(expected.duplicates)
    verdict.letters += len(expected.letters)


def _settle_voids(
    expected: Expected,
    ledger: Sequence[Sequence[LedgerEntry]],
    letters: Sequence[Sequence[DeadLetter]],
    verdict: Verdict,
) -> None:
    """Lets each void be what the log says, one thing: a signal is taken back once, the first time
    after it was decided."""
    refused = {
        (letter.topic, partition, letter.source_offset): letter.code.value
        for partition, part in enumerate(letters)
        for letter in part
    }
    taken = {
        (entry.topic, partition, entry.source_offset): entry.signal_entry
        for partition, part in enumerate(ledger)
        for entry in part
        if isinstance(entry, VoidEntry)
    }
    twice = [name for name, count in Counter(taken.values()).items() if count > 1]
    if twice:
        verdict.doubled += len(twice)
        verdict.faults.append(f"{len(twice)} taken back twice: {sorted(twice)[:PLACES_SHOWN]}")
    for place, body in expected.voids.items():
        if place in taken:
            expected.accepted[place] = body
        elif refused.get(place) in ("invalid_field", "conflict"):
            expected.letters[place] = refused[place]
        else:
            expected.duplicates.add(place)


def _compare_places(expected: Expected, found: Counter[Place], verdict: Verdict) -> None:
    lost = [place for place in expected.accepted if not found[place]]
    doubled = [place for place, count in found.items() if count > 1]
    surplus = [place for place in found if place not in expected.accepted]
    verdict.lost += len(lost)
    verdict.doubled += len(doubled) + len(surplus)
    for what, places in (("lost", lost), ("doubled", doubled), ("not due", surplus)):
        if places:
            verdict.faults.append(f"{len(places)} {what}: {sorted(places)[:PLACES_SHOWN]}")


def _compare_letters(
    expected: Expected, letters: Sequence[Sequence[DeadLetter]], verdict: Verdict
) -> None:
    seen: Counter[tuple[Place, str]] = Counter()
    for partition, part in enumerate(letters):
        if [letter.sequence for letter in part] != list(range(len(part))):
            verdict.faults.append(f"partition {partition}: dead letters are not dense")
        for letter in part:
            seen[(letter.topic, partition, letter.source_offset), letter.code.value] += 1
    due = Counter(expected.letters.items())
    if seen != due:
        verdict.lost += sum((due - seen).values())
        verdict.doubled += sum((seen - due).values())
        verdict.faults.append(
            f"dead letters: missing {list(due - seen)[:PLACES_SHOWN]}, "
            f"not due {list(seen - due)[:PLACES_SHOWN]}"
        )


def _compare_sums(
    expected: Expected, units: Counter[str], cost: dict[str, Decimal], verdict: Verdict
) -> None:
    for customer in sorted({*expected.units, *expected.cost, *units, *cost}):
        due = (expected.units[customer], expected.cost[customer])
        if (units[customer], cost[customer]) != due:
            verdict.wrong_sums += 1
            verdict.faults.append(
                f"{customer}: {units[customer]} units, cost {cost[customer]}; expected {due}"
            )


def check_burns(ledger: Sequence[Sequence[LedgerEntry]], verdict: Verdict) -> None:
    """No grant is burnt beyond its amount, and what is covered is what was burnt."""
    for entries in ledger:
        left: dict[str, Decimal] = {}
        for entry in entries:
            if isinstance(entry, GrantEntry):
                left[entry.entry_id] = Decimal(entry.amount)
            elif isinstance(entry, UsageEntry):
                burnt: dict[str, Decimal] = defaultdict(Decimal)
                for burn in entry.burns:
                    left[burn.grant_id] -= Decimal(burn.amount)
                    burnt[burn.denomination] += Decimal(burn.amount)
                covered = (Decimal(entry.covered_units), Decimal(entry.covered_usd))
                if (burnt["unit"], burnt["usd"]) != covered:
                    verdict.wrong_sums += 1
                    verdict.faults.append(f"{entry.entry_id}: burns {burnt} cover {covered}")
        if any(amount < 0 for amount in left.values()):
            verdict.wrong_sums += 1
            verdict.faults.append("a grant was burnt beyond its amount")


def check_tables(
    clickhouse: ClickHouse,
    ledger: Sequence[Sequence[LedgerEntry]],
    letters: Sequence[Sequence[DeadLetter]],
    verdict: Verdict,
) -> None:
    """Every row of ClickHouse is a record of the log, and every record a row, once."""
    of_ledger = {
        (e.partition, e.sequence, e.entry_id, *_content(e)) for part in ledger for e in part
    }
    of_letters = {
        (e.partition, e.sequence, e.entry_id, e.code.value, e.source_offset)
        for part in letters
        for e in part
    }
    columns = "partition, sequence, entry_id"
    _compare_rows(
        clickhouse,
        f"SELECT {columns}, toString(kind), customer_id, units, toString(cost) FROM ledger",
        of_ledger,
        verdict,
    )
    _compare_rows(
        clickhouse,
        f"SELECT {columns}, toString(code), source_offset FROM dead_letters",
        of_letters,
        verdict,
    )


def _content(entry: LedgerEntry) -> tuple[Any, ...]:
    kind = type(entry).__name__.removesuffix("Entry").lower()
    if isinstance(entry, CycleEntry):
        return (kind, "", 0, "0")
    units, cost = getattr(entry, "units", 0), getattr(entry, "cost", "0")
    return (
        kind,
        entry.customer_id,
        units,
        str(Decimal(cost).normalize()) if Decimal(cost) else "0",
    )


def _compare_rows(
    clickhouse: ClickHouse, sql: str, due: set[tuple[Any, ...]], verdict: Verdict
) -> None:
    rows = [_plain(row) for row in clickhouse.query(sql).rows]
    table = sql.rpartition(" ")[2]
    missing, surplus = due - set(rows), set(rows) - due
    verdict.lost += len(missing)
    verdict.doubled += len(rows) - len(set(rows)) + len(surplus)
    if len(rows) != len(due) or missing or surplus:
        verdict.faults.append(
            f"table {table}: {len(rows)} rows for {len(due)} records; missing "
            f"{sorted(missing)[:PLACES_SHOWN]}, not due {sorted(surplus)[:PLACES_SHOWN]}"
        )


def _plain(row: Sequence[Any]) -> tuple[Any, ...]:
    if len(row) != len(("partition", "sequence", "id", "kind", "customer", "units", "cost")):
        return tuple(row)
    cost = Decimal(row[6])
    return (*row[:6], str(cost.normalize()) if cost else "0")
