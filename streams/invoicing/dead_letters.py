"""Dead letters as ClickHouse knows them: what was refused, why, and what became of it."""

from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from streams.ports import Warehouse

LIST_LIMIT_MAX: Final = 10_000
"""Rows of one list, or letters that one command replays or discards. Whoever needs more wants a
file: `tollgate sql … --format csv`, or gives the command again."""

READ_AT_ONCE: Final = 100
"""Letters whose bytes are read together: at the largest record 100 MB, usually 50 kB."""

STATES: Final = ("open", "replayed", "duplicate", "discarded")
"""What can become of a dead letter: nothing yet; decided again and accepted; the event had been
accepted from another record; nobody means to replay it."""

_CONDITIONS: Final = {
    "code": "code = {code:String}",
    "topic": "topic = {topic:String}",
    "since_us": "decided_at >= fromUnixTimestamp64Micro({since_us:Int64}, 'UTC')",
    # A record that is not JSON has no customer; then nothing is found, which is true.
    "customer": "JSONExtractString(tryBase64Decode(ifNull(record_value, '')), 'customer_id') "
    "= {customer:String}",
    "state": "state = {state:String}",
    "ids": "entry_id IN {ids:Array(String)}",
}

_COLUMNS: Final = (
    "toUnixTimestamp64Micro(decided_at), code, reason, field, topic, partition, source_offset, "
    "toUnixTimestamp64Micro(appended_at), length(tryBase64Decode(ifNull(record_value, ''))), "
    "entry_id, letter_id, generation, record_version, state, note, "
    "toUnixTimestamp64Micro(resolved_at)"
)


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """Which dead letters are wanted; None means all. Times are microseconds since the epoch."""

    code: str | None = None
    topic: str | None = None
    since_us: int | None = None
    customer: str | None = None
    state: str | None = None
    ids: tuple[str, ...] | None = None

    def where(self) -> tuple[str, dict[str, Any]]:
        """The condition and its parameters."""
        values = {name: getattr(self, name) for name in _CONDITIONS}
        given = {
            name: list(value) if name == "ids" else value
            for name, value in values.items()
            if value is not None
        }
        return " AND ".join(_CONDITIONS[name] for name in given) or "1", given


@dataclass(frozen=True, slots=True)
class DeadLetterLine:
    """One dead letter without its bytes. `topic`, `partition` and `offset` are where the original
    lies, `size` is the length of its value.

    `letter_id` is `entry_id`, or, where a replay was refused again, the id of the letter that it
    replayed: both are resolved together.
    """

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
    letter_id: str
    generation: int
    record_version: int | None
    state: str
    note: str
    resolved_at_us: int | None
    record: Mapping[str, str | None]
    """Key and value in base64, where they were asked for."""


@dataclass(frozen=True, slots=True)
class DeadLetterList:
    """The newest dead letters first, and how many there are of each code, shown or not."""

    lines: tuple[DeadLetterLine, ...]
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class Letter:
    """A first dead letter with the bytes of its original."""

    line: DeadLetterLine
    key: bytes | None
    value: bytes | None


def list_dead_letters(
    warehouse: Warehouse, wanted: DeadLetterFilter, limit: int, *, payload: bool = False
) -> DeadLetterList:
    """The newest `limit` dead letters that are wanted, and the counts of all that are."""
    where, parameters = wanted.where()
    columns = f"{_COLUMNS}, record_key, record_value" if payload else _COLUMNS
    lines = warehouse.query(
        f"SELECT {columns} FROM letters WHERE {where} "  # noqa: S608 - our own conditions
        "ORDER BY decided_at DESC, generation DESC, partition DESC, sequence DESC "
        "LIMIT {limit:UInt32}",
        {**parameters, "limit": limit},
    )
    counts = warehouse.query(
        f"SELECT code, count() FROM letters WHERE {where} GROUP BY code ORDER BY 2 DESC, 1",  # noqa: S608
        parameters,
    )
    return DeadLetterList(
        tuple(_line(row) for row in lines.rows),
        {str(code): int(count) for code, count in counts.rows},
    )


def first_letters(
    warehouse: Warehouse, wanted: DeadLetterFilter, limit: int
) -> tuple[list[tuple[str, str]], int]:
    """The first letters behind those that are wanted, as (letter id, state), the oldest `limit` of
    them, and how many there are in all."""
    where, parameters = wanted.where()
    found = warehouse.query(
        f"SELECT letter_id, any(state), count() OVER () FROM letters WHERE {where} "  # noqa: S608
        "GROUP BY letter_id ORDER BY min((decided_at, generation, partition, sequence)) "
        "LIMIT {limit:UInt32}",
        {**parameters, "limit": limit},
    ).rows
    total = int(found[0][2]) if found else 0
    return [(str(letter), str(state)) for letter, state, _ in found], total


def known_ids(warehouse: Warehouse, ids: Sequence[str]) -> set[str]:
    """Which of these ids are dead letters'."""
    if not ids:
        return set()
    rows = warehouse.query(
        "SELECT entry_id FROM dead_letters WHERE entry_id IN {ids:Array(String)}",
        {"ids": list(ids)},
    ).rows
    return {str(entry_id) for (entry_id,) in rows}


def read_letters(warehouse: Warehouse, ids: Sequence[str]) -> list[Letter]:
    """The letters with these entry ids, as far as they are there, in the order of the ids."""
    where, parameters = DeadLetterFilter(ids=tuple(ids)).where()
    rows = warehouse.query(
        f"SELECT {_COLUMNS}, record_key, record_value FROM letters WHERE {where}",  # noqa: S608
        parameters,
    ).rows
    found = {line.entry_id: line for line in map(_line, rows)}
    return [
        Letter(line, _bytes(line.record["record_key"]), _bytes(line.record["record_value"]))
        for line in (found.get(entry_id) for entry_id in ids)
        if line is not None
    ]


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else b64decode(text)


def _line(row: Any) -> DeadLetterLine:
    decided, code, reason, path, topic, partition, offset, appended, size, entry_id, *more = row
    letter_id, generation, version, state, note, resolved, *record = more
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
        str(letter_id),
        int(generation),
        None if version is None else int(version),
        str(state),
        str(note),
        None if resolved is None else int(resolved),
        dict(zip(("record_key", "record_value"), record, strict=True)) if record else {},
    )
