r"""How programs log: lines for people, or one JSON object a line for machines.

A JSON line has `time` (RFC 3339, UTC), `level`, `logger` and `message`, and of FIELDS those that
the message is about. It is one line whatever was logged: JSON writes line ends as `\n`, and the
lines for people are written the same way, so that nobody can make a line that we did not write.
"""

import contextlib
import json
import logging
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final, Literal

FIELDS: Final = (
    "request_id",
    "event_id",
    "route",
    "status",
    "code",
    "seconds",
    "topic",
    "partition",
    "offset",
    "cycle",
    "lease",
    "table",
)
"""What a line may say apart from its message, as `extra` of a call of a logger. A closed list: a
field of another name would be found by nobody who searches for these."""

MESSAGE_CHARS_MAX: Final = 16_384
"""A message, and a traceback: what is longer is cut, since collectors drop lines beyond 16 to
64 KiB whole."""

CHATTY: Final = ("uvicorn", "aiokafka")
"""Libraries of whose messages only warnings are passed on."""

_LINE_ENDS: Final = str.maketrans(
    {**{chr(code): f"\\x{code:02x}" for code in (*range(32), 0x7F, 0x85)}, "\n": "\\n", "\t": "\t"}
    | {"\u2028": "\\u2028", "\u2029": "\\u2029"}
)


class JsonLines(logging.Formatter):
    """A record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """One line without its end."""
        at = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _cut(record.getMessage()),
        }
        line |= {name: record.__dict__[name] for name in FIELDS if name in record.__dict__}
        if record.exc_info:
            line["exception"] = _cut(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=True, default=str)


class TextLines(logging.Formatter):
    """A record as a line for people; a traceback follows on lines of its own, indented."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line, with control characters written out."""
        return super().formatMessage(record).translate(_LINE_ENDS)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """The traceback, each line indented, so that none looks like a message."""
        lines = super().formatException(ei).splitlines()
        return "\n".join("  " + line.translate(_LINE_ENDS) for line in lines)


def log_to_stderr(
    level: str, form: Literal["text", "json"], count: Callable[[str], None] | None = None
) -> None:
    """Makes this the one way in which the program logs. `count` is told the level of every
    warning and worse."""
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(JsonLines() if form == "json" else TextLines())
    lines.addFilter(_worth_saying)
    if count is not None:
        told = count

        def counted(record: logging.LogRecord) -> bool:
            if record.levelno >= logging.WARNING:
                told(record.levelname.lower())
            return True

        lines.addFilter(counted)
    logging.root.handlers[:] = [lines]
    logging.root.setLevel(level.upper())


@contextlib.contextmanager
def logging_restored() -> Iterator[None]:
    """Gives logging back as it was: what runs in it may be inside somebody else's process."""
    handlers, level = logging.root.handlers[:], logging.root.level
    try:
        yield
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)


def _worth_saying(record: logging.LogRecord) -> bool:
    # Theirs tell of every connection; what is worth knowing of it we say ourselves.
    return record.levelno >= logging.WARNING or record.name.partition(".")[0] not in CHATTY


def _cut(text: str) -> str:
    return text if len(text) <= MESSAGE_CHARS_MAX else text[:MESSAGE_CHARS_MAX] + "…"
