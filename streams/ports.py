"""What the core's surroundings promise: store, log, clock. Adapters implement these, agents use
them.

The sink's ports stand in `streams.ports_sink`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class Table(StrEnum):
    """The tables of a partition."""

    ACCOUNTS = "accounts"
    """Customer id in UTF-8 to account; PROGRESS_KEY to the partition's progress."""
    CLAIMS = "claims"
    """Claim key (16 bytes) to packed claim. Its changelog holds whole segments."""


PROGRESS_KEY = b"\x00progress"
"""The key of the partition's progress record among its accounts. Reserved: a record that names it
as its customer is refused when it is decoded."""


@dataclass(slots=True)
class Changes:
    """What a committed cycle changes in one table, and the offset of its last changelog record."""

    rows: Sequence[tuple[bytes, bytes | None]]
    changelog_offset: int


class Store(Protocol):
    """The local tables of the partitions that this process owns.

    A batch is written whole or not at all, together with its changelog offset, so that a crash
    between two tables leaves each of them at an offset from which its changelog completes it.
    """

    def read(self, table: Table, partition: int, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of these keys, in their order, None where there is none."""
        ...

    def write(self, table: Table, partition: int, changes: Changes) -> None:
        """Puts (or, for a None value, deletes) all rows and remembers the changelog offset."""
        ...


@dataclass(slots=True)
class Appends:
    """Records to append to one topic, in order. `topic` is the logical name."""

    topic: str
    records: list[tuple[bytes | None, bytes]] = field(default_factory=list)


class CycleLog(Protocol):
    """One transaction per cycle, fenced per partition (decision 006).

    After `fence(p)` returns, no earlier owner of p can commit anything, and what it had open is
    decided.
    """

    async def fence(self, partitions: Sequence[int]) -> None:
        """Takes the transactional id of each partition; earlier holders are refused from now on."""
        ...

    async def release(self) -> None:
        """Gives all partitions up."""
        ...

    async def commit(
        self, partition: int, appends: Sequence[Appends], offsets: Mapping[str, int]
    ) -> dict[str, int]:
        """Appends everything and commits the next input offsets by logical topic, atomically.

        Returns the offset of the last record of each topic. Raises FaultError (fenced, refused,
        outcome unknown): the caller must stop without touching anything.
        """
        ...


class Clock(Protocol):
    """Wall time, for limits at the edge only; the domain never sees it."""

    def now_us(self) -> int:
        """Microseconds since the epoch."""
        ...
