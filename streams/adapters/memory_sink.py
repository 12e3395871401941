"""The sink's ports in memory: the same promises as ClickHouse and Kafka, without either.

Shipped for tests and for trying things out; `tests/contract` runs one suite on these and on the
real ones."""

from collections.abc import Sequence

from schemas.codec import decode_mark
from streams.errors import FaultError
from streams.ports import NO_ROWS, OutboundRecord


class MemoryRows:
    """Tables in memory, with ClickHouse's two rules: the guard on the mark, and tokens that are
    remembered even where their rows are gone."""

    def __init__(self) -> None:
        """Begin with no rows and no tokens."""
        self.rows: dict[tuple[str, int, int], list[int]] = {}
        self.bodies: list[bytes] = []
        """Every body that took effect."""
        self._tokens: set[tuple[str, int, int, int]] = set()

    async def mark(self, table: str, generation: int, partition: int) -> int:
        """Read the mark; see `ports.RowTarget`."""
        rows = self.rows.get((table, generation, partition), [])
        mark = max(rows, default=NO_ROWS)
        if len(rows) != mark + 1:
            raise FaultError(
                f"{table} holds {len(rows)} rows up to {mark}: rows are missing or doubled",
                action="Begin with an empty table.",
            )
        return mark

    async def insert(
        self, table: str, generation: int, partition: int, mark: int, body: bytes
    ) -> None:
        """Insert under the mark; see `ports.RowTarget`."""
        key = (table, generation, partition)
        if max(self.rows.get(key, []), default=NO_ROWS) != mark:
            return
        if (*key, mark) in self._tokens:
            return
        self._tokens.add((*key, mark))
        self.rows.setdefault(key, []).extend(
            decode_mark(line).sequence for line in body.split(b"\n")
        )
        self.bodies.append(body)

    def forget_tokens(self) -> None:
        """What dropping a table, or its window, does."""
        self._tokens.clear()


class MemoryLog:
    """One partition of an outbound topic in memory. Offsets may have gaps, as markers leave them.

    `take` never waits: it raises `EndOfLogError` at the end instead, so that a test ends where a
    sink would wait."""

    def __init__(self, table: str, partition: int, *, hint: int | None = None) -> None:
        """Begin with no records. `hint` is what a former process may have stored."""
        self._table = table
        self._partition = partition
        self._hint = hint
        self._position = 0
        self.records: list[OutboundRecord] = []

    @property
    def table(self) -> str:
        """See `ports.OutboundLog`."""
        return self._table

    @property
    def partition(self) -> int:
        """See `ports.OutboundLog`."""
        return self._partition

    def append(self, value: bytes, *, gap: int = 0) -> None:
        """Append a record, after `gap` offsets that no reader is given."""
        last = self.records[-1].offset if self.records else -1
        self.records.append(OutboundRecord(last + 1 + gap, value))

    async def bounds(self) -> tuple[int, int]:
        """See `ports.OutboundLog`."""
        if not self.records:
            return 0, 0
        return self.records[0].offset, self.records[-1].offset + 1

    async def hint(self) -> int | None:
        """See `ports.OutboundLog`."""
        return self._hint

    async def peek(self, offset: int) -> OutboundRecord | None:
        """See `ports.OutboundLog`."""
        return next((record for record in self.records if record.offset >= offset), None)

    async def seek(self, offset: int) -> None:
        """See `ports.OutboundLog`."""
        self._position = offset

    async def take(self, rows_max: int, bytes_max: int) -> Sequence[OutboundRecord]:
        """See `ports.OutboundLog`."""
        taken = [record for record in self.records if record.offset >= self._position][:rows_max]
        if not taken:
            raise EndOfLogError
        self._position = taken[-1].offset + 1
        return taken

    def done(self, offset: int) -> None:
        """See `ports.OutboundLog`."""
        self._hint = offset


class EndOfLogError(Exception):
    """There is nothing more to take."""
