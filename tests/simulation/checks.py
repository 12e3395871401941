"""What must be true of an installation that came to rest, whatever happened to it."""

from collections import Counter
from collections.abc import Mapping
from fractions import Fraction

from schemas import codec
from schemas.structs import CycleEntry, GrantEntry, LedgerEntry, SignalEntry, UsageEntry, Void
from schemas.topics import (
    ACCOUNTS_CHANGELOG,
    ATTRIBUTIONS,
    CLAIMS_CHANGELOG,
    DEAD_LETTERS,
    LEDGER,
    PREFLIGHTS,
    SIGNALS,
    UNASSIGNED,
    USAGE,
)
from streams.adapters.memory_books import DictImage, ListBook
from streams.adapters.store import expand_segments
from streams.audit.replay import PartitionBooks, audit_partition
from streams.domain.appends import decode_progress
from streams.domain.facts import SourceRecord
from streams.domain.folding import FOLD_ORDER
from streams.ports import PROGRESS_KEY
from tests.builders import of_kind
from tests.property.model import Accepted, Model, price
from tests.property.test_model import bill_of
from tests.simulation.broker import Broker
from tests.simulation.nameless import as_forwarded
from tests.simulation.scheduler import ViolationError
from tests.simulation.views import DEARER_FROM, PARTITIONS, VIEWS
from tests.simulation.workers import Disk
from tests.simulation.world import World


def check(world: World) -> None:
    """Raises ViolationError naming the first thing that is wrong."""
    for partition in range(PARTITIONS):
        check_ledger(world.broker, partition)
        disks = {one.name: one.disk for one in world.processes.values()}
        check_audit(world.broker, disks, partition)
        _check_model(world, partition)
        _check_rows(world, partition)
        world.shares[partition].check_closed()
    _check_nameless(world)


def demand(truth: bool, what: str) -> None:
    """Raises ViolationError."""
    if not truth:
        raise ViolationError(what)


def entries_of(broker: Broker, partition: int) -> list[LedgerEntry]:
    """The ledger as `read_committed` sees it."""
    records = broker.all(LEDGER.name, partition)
    return [codec.decode_entry(record.value or b"") for record in records]


def check_ledger(broker: Broker, partition: int) -> None:
    """The ledger is dense, and every record that came in ended in it once."""
    entries = entries_of(broker, partition)
    sequences = [entry.sequence for entry in entries]
    demand(sequences == list(range(len(entries))), "the ledger's sequences are not dense")
    ids = [entry.entry_id for entry in entries]
    demand(len(set(ids)) == len(ids), "an entry is in the ledger twice")
    cycles = of_kind(CycleEntry, entries)
    offsets = [cycle.catalog_offset for cycle in cycles]
    demand(offsets == sorted(offsets), "a partition decided with fewer catalog records than before")
    inbound = sum(len(broker.all(topic, partition)) for topic in FOLD_ORDER)
    ended = sum(
        cycle.accepted + cycle.duplicates + cycle.dead_letters + cycle.leases + cycle.void
        for cycle in cycles
    )
    ended += sum(cycle.bindings + cycle.forwarded for cycle in cycles)
    ended += cycles[-1].waiting if cycles else 0
    demand(ended == inbound, f"{inbound} records came in, {ended} ended")


def check_audit(broker: Broker, disks: Mapping[str, Disk], partition: int) -> None:
    """Decided again from the recorded cycles: the same bytes; and the tables as the log says."""
    topics = (
        *(*FOLD_ORDER, LEDGER.name),
        *(ATTRIBUTIONS.name, DEAD_LETTERS.name, CLAIMS_CHANGELOG.name),
    )
    books = {
        topic: ListBook(broker.all(topic, partition), end=broker.end(topic, partition))
        for topic in topics
    }
    latest = {
        record.key or b"": record.value for record in broker.all(ACCOUNTS_CHANGELOG.name, partition)
    }
    accounts = {key: value for key, value in latest.items() if value is not None}
    segments = broker.all(CLAIMS_CHANGELOG.name, partition)
    claims = dict(expand_segments((record.key or b"", record.value) for record in segments))
    image = DictImage(
        "changelogs",
        accounts,
        {key: value for key, value in claims.items() if value is not None},
        segments[-1].offset if segments else None,
    )
    images = [
        image,
        *(
            _disk_image(name, disk, partition)
            for name, disk in disks.items()
            if partition in disk.whole
        ),
    ]
    report = audit_partition(
        PartitionBooks(partition, books), lambda offset: VIEWS[offset].context(), images
    )
    demand(not report.cannot_tell, f"the audit cannot tell: {report.cannot_tell}")
    demand(
        not report.differences,
        "the audit finds: " + "; ".join(d.text(partition) for d in report.differences[:3]),
    )
    demand(report.internal == 0, "our own code stumbled over a record")
    if accounts:
        consumed = decode_progress(accounts[PROGRESS_KEY]).consumed
        committed = {t: broker.offsets.get((t, partition), 0) for t in FOLD_ORDER}
        demand(
            {t: consumed.get(t, 0) for t in FOLD_ORDER} == committed,
            "committed offsets and the tables' positions differ",
        )


def _disk_image(name: str, disk: Disk, partition: int) -> DictImage:
    accounts, claims, offset = disk.content(partition)
    return DictImage(f"disk of {name}", accounts, claims, offset)


def dearer(model: str | None, token_class: str, all_input: int, at_us: int) -> Fraction | None:
    """The second price book, by hand."""
    found = price(model, token_class, all_input, at_us)
    return 2 * found if found is not None and model == "small" else found


def _check_model(world: World, partition: int) -> None:
    """The naive system, fed in the recorded order, comes to the same bill."""
    entries = entries_of(world.broker, partition)
    model = Model()
    passed_on, _ = world.nameless.due(world.broker)
    unreadable = []
    for cycle in of_kind(CycleEntry, entries):
        model.rate = dearer if cycle.catalog_offset >= DEARER_FROM else price
        for piece in cycle.consumed:
            if piece.topic in (PREFLIGHTS.name, UNASSIGNED.name):
                continue  # leases and ticks are about no customer, and what waits is nobody's yet
            for record in world.broker.read(piece.topic, partition, piece.from_offset, 10**9):
                if record.offset >= piece.to_offset:
                    break
                place = (piece.topic, partition, record.offset)
                event = world.events.get(place) or as_forwarded(passed_on, record)
                if place in world.invoices.told:
                    continue
                if place in world.voids:
                    _take_void(model, world.voids[place], record)
                elif event is None or world.misplaced(record, partition):
                    unreadable.append((piece.topic, record.offset))
                else:
                    model.take(event, record.offset, cycle.decided_at)
    wrong = world.invoices.faults(partition, entries)
    demand(not wrong, wrong)
    grants = {grant.entry_id: grant for grant in of_kind(GrantEntry, entries)}
    bills = [bill_of(entry, grants) for entry in of_kind(UsageEntry, entries)]
    demand(bills == model.bills, "the bills differ from the naive model's")
    demand(len(of_kind(SignalEntry, entries)) == model.signals, "signals differ from the model's")
    counted = sum(cycle.duplicates for cycle in of_kind(CycleEntry, entries))
    demand(counted == model.duplicates, "duplicates differ from the model's")
    letters = [
        codec.decode_dead_letter(record.value or b"")
        for record in world.broker.all(DEAD_LETTERS.name, partition)
    ]
    letters = [letter for letter in letters if letter.topic != UNASSIGNED.name]
    found = sorted((letter.topic, letter.source_offset) for letter in letters)
    due = sorted([*unreadable, *((topic, offset) for topic, offset, _ in model.refused)])
    demand(found == due, "dead letters differ from the model's")


def _take_void(model: Model, void: Void, record: SourceRecord) -> None:
    """A signal that was accepted is taken back once: again it is a repeat, or contradicts."""
    identity = ("void", void.customer_id, void.signal_source, void.signal_event_id)
    content = (void.signal_entry, void.cost)
    known = model.claim(identity, record.appended_at_us)
    if known is None:
        model.past.append(Accepted(identity, content, record.appended_at_us))
    elif known.content == content:
        model.duplicates += 1
    else:
        model.refused.append((record.topic, record.offset, "conflict"))


def _check_nameless(world: World) -> None:
    """Every event without a customer lies under that of its trace, as often as it came; bindings
    that contradict an earlier one are dead letters."""
    due, refused = world.nameless.due(world.broker)
    lying = Counter(
        (record.topic, record.key, record.value)
        for topic in (USAGE.name, SIGNALS.name)
        for partition in range(PARTITIONS)
        for record in world.broker.all(topic, partition)
        if (topic, partition, record.offset) not in world.events
        and not world.misplaced(record, partition)
    )
    found = {one: lying[one] for one in lying if one in due}
    demand(found == {one: count for one, (count, _) in due.items()}, "what was passed on differs")
    letters = [
        codec.decode_dead_letter(record.value or b"")
        for partition in range(PARTITIONS)
        for record in world.broker.all(DEAD_LETTERS.name, partition)
    ]
    named = [(one.partition, one.source_offset) for one in letters if one.topic == UNASSIGNED.name]
    demand(sorted(named) == sorted(refused), "dead letters of bindings differ")
    world.scheduler.seen["passed on"] += sum(found.values())


def _check_rows(world: World, partition: int) -> None:
    for topic in (LEDGER.name, ATTRIBUTIONS.name, DEAD_LETTERS.name):
        rows = world.database.rows.get((topic, 1, partition), [])
        due = [record.value for record in world.broker.all(topic, partition)]
        demand(rows == due, f"{topic}: the rows are not the log's records, each once")
