"""What must be true of an installation that came to rest, whatever happened to it."""

from collections.abc import Mapping
from fractions import Fraction

from schemas import codec
from schemas.structs import CycleEntry, GrantEntry, LedgerEntry, SignalEntry, UsageEntry
from schemas.topics import (
    ACCOUNTS_CHANGELOG,
    CLAIMS_CHANGELOG,
    DEAD_LETTERS,
    LEDGER,
)
from streams.adapters.memory_books import DictImage, ListBook
from streams.adapters.store import expand_segments
from streams.audit.replay import PartitionBooks, audit_partition
from streams.domain.appends import decode_progress
from streams.domain.pipeline import FOLD_ORDER
from streams.ports import PROGRESS_KEY
from tests.builders import of_kind
from tests.property.model import Model, price
from tests.property.test_model import bill_of
from tests.simulation.broker import Broker
from tests.simulation.scheduler import ViolationError
from tests.simulation.workers import Disk
from tests.simulation.world import DEARER_FROM, PARTITIONS, VIEWS, World


def check(world: World) -> None:
    """Raises ViolationError naming the first thing that is wrong."""
    for partition in range(PARTITIONS):
        check_ledger(world.broker, partition)
        disks = {one.name: one.disk for one in world.processes.values()}
        check_audit(world.broker, disks, partition)
        _check_model(world, partition)
        _check_rows(world, partition)


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
    ended = sum(cycle.accepted + cycle.duplicates + cycle.dead_letters for cycle in cycles)
    demand(ended == inbound, f"{inbound} records came in, {ended} ended")


def check_audit(broker: Broker, disks: Mapping[str, Disk], partition: int) -> None:
    """Decided again from the recorded cycles: the same bytes; and the tables as the log says."""
    topics = (*FOLD_ORDER, LEDGER.name, DEAD_LETTERS.name, CLAIMS_CHANGELOG.name)
    books = {
        topic: ListBook(broker.all(topic, partition), end=broker.end(topic, partition))
        for topic in topics
    }
    accounts = {
        record.key or b"": record.value or b""
        for record in broker.all(ACCOUNTS_CHANGELOG.name, partition)
    }
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
    unreadable = []
    for cycle in of_kind(CycleEntry, entries):
        model.rate = dearer if cycle.catalog_offset >= DEARER_FROM else price
        for piece in cycle.consumed:
            for record in world.broker.read(piece.topic, partition, piece.from_offset, 10**9):
                if record.offset >= piece.to_offset:
                    break
                event = world.events.get((piece.topic, partition, record.offset))
                if event is None or world.misplaced(record, partition):
                    unreadable.append((piece.topic, record.offset))
                else:
                    model.take(event, record.offset, cycle.decided_at)
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
    found = sorted((letter.topic, letter.source_offset) for letter in letters)
    due = sorted([*unreadable, *((topic, offset) for topic, offset, _ in model.refused)])
    demand(found == due, "dead letters differ from the model's")


def _check_rows(world: World, partition: int) -> None:
    for topic in (LEDGER.name, DEAD_LETTERS.name):
        rows = world.database.rows.get((topic, 1, partition), [])
        due = [record.value for record in world.broker.all(topic, partition)]
        demand(rows == due, f"{topic}: the rows are not the log's records, each once")
