"""Altering what nobody may alter, so that an audit has something to find.

A record in Kafka is changed where the broker keeps it, in its segment file, with the batch's check
sum made right again: the broker serves it like any other.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import rocksdict
from aiokafka.record.util import calc_crc32c

_HEADER: Final = struct.Struct(">qiibI")
"""Of a record batch, version 2: base offset, length, leader epoch, version, CRC-32C."""

_LENGTH_COUNTS_FROM: Final = 12
"""The length counts what follows it."""


def alter_record(partition_directory: Path, found: bytes, instead: bytes) -> None:
    """Replaces the last occurrence of `found` in the segments of a partition: before it there may
    be those of aborted transactions, which nobody reads. Both are equally long; the record must lie
    there uncompressed."""
    assert len(found) == len(instead)
    for segment in sorted(partition_directory.glob("*.log"), reverse=True):
        content = bytearray(segment.read_bytes())
        for start, end in reversed(list(_batches(content))):
            at = content.rfind(found, start, end)
            if at < 0:
                continue
            with segment.open("r+b") as file:
                content[at : at + len(found)] = instead
                file.seek(at)
                file.write(instead)
                crc = calc_crc32c(bytes(content[start + _HEADER.size : end]))
                file.seek(start + _HEADER.size - 4)
                file.write(struct.pack(">I", crc))
            return
    raise AssertionError(f"{found!r} is in no segment of {partition_directory}")


def _batches(content: bytearray) -> Iterator[tuple[int, int]]:
    start = 0
    while start + _HEADER.size <= len(content):
        _, length, _, version, _ = _HEADER.unpack_from(content, start)
        if length <= 0:
            return  # room that the broker has reserved
        assert version == 2
        end = start + _LENGTH_COUNTS_FROM + length
        yield start, end
        start = end


@contextmanager
def altered_store(path: Path, key: bytes, found: bytes, instead: bytes) -> Iterator[None]:
    """A row of a stopped worker's local table changed by hand, and put back afterwards."""
    before = _replace(path, key, found, instead)
    try:
        yield
    finally:
        _replace(path, key, instead, found)
    assert _value(path, key) == before


def _replace(path: Path, key: bytes, found: bytes, instead: bytes) -> bytes:
    database = _open(path)
    value: bytes = database[key]
    assert found in value
    database[key] = value.replace(found, instead, 1)
    database.close()
    return value


def _value(path: Path, key: bytes) -> bytes:
    database = _open(path)
    value: bytes = database[key]
    database.close()
    return value


def _open(path: Path) -> Any:
    options = rocksdict.Options(raw_mode=True)
    return rocksdict.Rdict(str(path), options, {"default": options})
