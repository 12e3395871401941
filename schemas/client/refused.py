"""The file of refused events: one JSON line each, for a person to read and to mend.

A line holds the event as it was, with the code and the reason. It is written and synced before the
event leaves the spool; a crash in between can write a line twice, never not at all.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from schemas.client.events import MODELS, Ready, ready, validated
from schemas.client.sending import Refused, Spooled
from schemas.errors import RejectError

NAME = "refused.jsonl"


def _line(record: Spooled, refused: Refused, at: str) -> bytes:
    told: dict[str, Any] = {
        "at": at,
        "code": refused.code,
        "reason": refused.reason,
        "field": refused.field,
        "topic": record.topic,
    }
    try:
        told["event"] = json.loads(record.value)
    except ValueError:
        # Damaged on the disk: kept for whoever wants to make something of it.
        told["bytes"] = record.value.hex()
    return json.dumps(told, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


class RefusedFile:
    """The file in a spool's directory. It may be moved away at any time; the next line begins
    another."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / NAME

    def bytes_taken(self) -> int:
        """Its size, which counts against the bound of the spool."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def write(self, refusals: Sequence[tuple[Spooled, Refused]], at: str) -> None:
        """Appends a line for each and returns when they are on the disk. Raises OSError."""
        lines = b"".join(_line(record, refused, at) for record, refused in refusals)
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            end = file.seek(0, os.SEEK_END)
            if end:
                # A line that a crash tore stands alone, and the next one is whole.
                file.seek(end - 1)
                if file.read(1) != b"\n":
                    lines = b"\n" + lines
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
        if not end:
            _sync_directory(self.path.parent)


def _sync_directory(directory: Path) -> None:
    """A new file is there after a loss of power only once its directory has been synced."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_refused(path: Path) -> tuple[list[Ready], list[int]]:
    """The events of such a file that the contract accepts, and the numbers of the lines (from 1)
    that hold none: torn, damaged, or still wrong.

    Mend the events in a copy, read it, append the events to a spool: they keep their ids.
    """
    events: list[Ready] = []
    bad: list[int] = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line:
            continue
        try:
            told = json.loads(line)
            events.append(ready(validated(MODELS[told["topic"]], told["event"])))
        except (ValueError, KeyError, TypeError, RejectError):
            bad.append(number)
    return events, bad
