"""Dead letters as a list: what was refused, why, and where the original lies."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from streams.ports import Warehouse

LIST_LIMIT_MAX: Final = 10_000
"""Rows of one list. Whoever needs more wants a file: `tollgate sql … --format csv`."""

_CONDITIONS: Final = {
    "code": "code = {code:String}",
    "topic": "topic = {topic:String}",
    "since_us": "decided_at >= fromUnixTimestamp64Micro({since_us:Int64}, 'UTC')",
    # A record that is not JSON has no customer; then nothing is found, which is true.
    "customer": "JSONExtractString(tryBase64Decode(ifNull(record_value, '')), 'customer_id') "
    "= {customer:String}",
}

_COLUMNS: Final = (
    "toUnixTimestamp64Micro(decided_at), code, reason, field, topic, partition, source_offset, "
    "toUnixTimestamp64Micro(appended_at), length(tryBase64Decode(ifNull(record_value, ''))), "
    "entry_id"
)


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """Which dead letters are wanted; None means all. Times are microseconds since the epoch."""

    code: str | None = None
    topic: str | None = None
    since_us: int | None = None
    customer: str | None = None

    def where(self) -> tuple[str, dict[str, Any]]:
        """The condition and its parameters."""
        values = {name: getattr(self, name) for name in _CONDITIONS}
        given = {name: value for name, value in values.items() if value is not None}
        return " AND ".join(_CONDITIONS[name] for name in given) or "1", given


@dataclass(frozen=True, slots=True)
class DeadLetterLine:
    """One dead letter without its bytes. `topic`, `partition` and `offset` are where the original
    lies, `size` is the length of its value."""

    decided_at_us: int
    code: str
    reason: str
    field: str
    topic: str
    partition: int
    offset: int
    appended_at_us: int
    size: int
    entry_id: str
    record: Mapping[str, str | None]
    """Key and value in base64, where they were asked for."""


@dataclass(frozen=True, slots=True)
class DeadLetterList:
    """The newest dead letters first, and how many there are of each code, shown or not."""

    lines: tuple[DeadLetterLine, ...]
    counts: dict[str, int]


def list_dead_letters(
    warehouse: Warehouse, wanted: DeadLetterFilter, limit: int, *, payload: bool = False
) -> DeadLetterList:
    """The newest `limit` dead letters that are wanted, and the counts of all that are."""
    where, parameters = wanted.where()
    columns = f"{_COLUMNS}, record_key, record_value" if payload else _COLUMNS
    lines = warehouse.query(
        f"SELECT {columns} FROM dead_letters WHERE {where} "  # noqa: S608 - our own conditions
        "ORDER BY decided_at DESC, generation DESC, partition DESC, sequence DESC "
        "LIMIT {limit:UInt32}",
        {**parameters, "limit": limit},
    )
    counts = warehouse.query(
        f"SELECT code, count() FROM dead_letters WHERE {where} GROUP BY code ORDER BY 2 DESC, 1",  # noqa: S608
        parameters,
    )
    return DeadLetterList(
        tuple(_line(row) for row in lines.rows),
        {str(code): int(count) for code, count in counts.rows},
    )


def _line(row: Any) -> DeadLetterLine:
    decided, code, reason, path, topic, partition, offset, appended, size, entry_id, *record = row
    return DeadLetterLine(
        int(decided),
        str(code),
        str(reason),
        str(path),
        str(topic),
        int(partition),
        int(offset),
        int(appended),
        int(size),
        str(entry_id),
        dict(zip(("record_key", "record_value"), record, strict=True)) if record else {},
    )
