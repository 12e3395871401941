"""The lease of a partition: a position in the topic `preflights`, and what surrounds its owner.

Owns how a lease is taken and when it counts; what is decided under it is in `preflights`. Decision
016 has the argument why two owners can never both answer.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from schemas import codec
from schemas.envelope import SCHEMA_VERSION
from schemas.errors import RejectError
from schemas.structs import Lease, LedgerEntry
from streams.domain.facts import Rejected, SourceRecord
from streams.domain.state import Progress
from streams.errors import FaultError
from streams.ports import Catalog, Clock, LeaseLog, Store, Table


class Outcome(Protocol):
    """What the owner needs of a committed cycle; see `streams.agents.cycle.CycleOutcome`."""

    @property
    def entries(self) -> Sequence[LedgerEntry]:
        """What the cycle appended to the ledger, its own entry first."""
        ...

    @property
    def rejected(self) -> Sequence[Rejected]:
        """What became a dead letter."""
        ...

    @property
    def rows(self) -> Mapping[bytes, bytes]:
        """The rows of all touched accounts and tasks, as written, by key."""
        ...

    @property
    def progress(self) -> Progress:
        """How far the partition is now."""
        ...


class Tables(Store, Protocol):
    """A store that can also be read from end to end."""

    def scan(self, table: Table, partition: int) -> Generator[tuple[bytes, bytes], None, None]:
        """All rows of a partition's table as they stand when the first of them is asked for,
        whatever is written meanwhile. The table stays in use until the scan is closed."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an owner is given. All of it belongs to one event loop.

    `hand_over` gives appended records to the inbox of the partition, in order and without waiting;
    `waiting_since_us` is the append time of the oldest record in that inbox, None where it is
    empty. `halt` ends the process and returns in tests alone. `nonce` makes 16 random hex digits.
    `address` is where this process answers; `group_seconds_min` lies between the beginnings of two
    of its groups at the least.
    """

    log: LeaseLog
    tables: Tables
    catalog: Catalog
    clock: Clock
    hand_over: Callable[[int, Sequence[SourceRecord]], None]
    waiting_since_us: Callable[[int], int | None]
    halt: Callable[[BaseException], Any]
    nonce: Callable[[], str]
    address: str
    group_seconds_min: float = 0.0


@dataclass(frozen=True, slots=True)
class Tenure:
    """A lease that this process holds: the offset of its record, and the nonce in it."""

    offset: int
    nonce: str


async def take_lease(
    around: Surroundings, partition: int, progress: Progress, from_offset: int, decided_at_us: int
) -> tuple[Tenure, list[SourceRecord]]:
    """Appends a lease and reads the topic from the committed position through it.

    The partition is fenced and its tables are recovered to the end. Returns the lease and the
    records, which the first cycle folds; the lease is the last of them. Raises FaultError where
    the log does not end with it: somebody else is taking the partition too, or the log has been
    cut and its offsets are given out anew.
    """
    nonce = around.nonce()
    record = Lease(
        schema_version=SCHEMA_VERSION,
        nonce=nonce,
        owner=around.address,
        cycle=progress.cycle,
        decided_at=decided_at_us,
    )
    appended = await around.log.append(partition, [(None, codec.encode(record))])
    offset = appended.base_offset
    if offset < from_offset:
        raise FaultError(
            f"partition {partition}: the lease lies at offset {offset} of preflights, the tables "
            f"are at {from_offset}",
            action="The topic lost records that were decided. Nothing was answered; restore it "
            "together with the tables' changelogs.",
        )
    records = await around.log.read(partition, from_offset, offset + 1)
    if last_lease(records) != (offset, nonce):
        raise FaultError(
            f"partition {partition}: the lease at offset {offset} of preflights is not ours",
            action="Another worker takes the same partition. Nothing was answered; the worker "
            "starts again, and the group decides who owns it.",
        )
    return Tenure(offset, nonce), records


def lost(partition: int, why: str) -> FaultError:
    """The lease is over, or nobody knows whether it is."""
    return FaultError(
        f"partition {partition}: the lease is lost: {why}",
        action="Nobody was answered. The worker stops; the partition's next owner decides anew, "
        "and whoever asks again with the same key gets one decision.",
    )


def last_lease(records: Sequence[SourceRecord]) -> tuple[int, str] | None:
    """Offset and nonce of the last lease among these records, None where there is none."""
    for record in reversed(records):
        try:
            body = codec.decode_preflights(record.value)
        except RejectError:
            continue
        if isinstance(body, Lease):
            return record.offset, body.nonce
    return None
