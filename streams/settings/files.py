"""The files that settings are read from: lines of an environment file, and secrets, one per file.

Reads and judges files; knows no setting. Nothing of a file's content is ever in a message.
"""

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streams import limits
from streams.settings.given import Fault

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class FileRefusedError(Exception):
    """A file that cannot be used: `wrong` goes on after its name, `todo` says what to do; neither
    holds anything of its content."""

    def __init__(self, wrong: str, todo: str) -> None:
        super().__init__(wrong)
        self.wrong = wrong
        self.todo = todo


@dataclass(frozen=True, slots=True)
class Line:
    """`NAME=value` of an environment file. Its repr leaves the value out."""

    name: str
    text: str
    place: str

    def __repr__(self) -> str:
        return f"Line({self.name}, {self.place})"


def read_env_file(path: Path) -> tuple[list[Line], list[Fault]]:
    """Read `NAME=value` lines; blank lines and lines that begin with # are passed over.

    A value goes to the end of its line, without surrounding white space; one pair of quotes
    around it is taken off. Nothing is expanded.
    """
    try:
        text = _content(path, limits.ENV_FILE_BYTES_MAX)
    except FileRefusedError as error:
        return [], [Fault(str(path), "", error.wrong, error.todo)]

    lines: dict[str, Line] = {}
    faults: list[Fault] = []
    for number, raw_line in enumerate(text.splitlines(), start=1):
        line = raw_line.strip()
        if not line or line.startswith("#"):
            continue
        place = f"{path}, line {number}"
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals or not _NAME.fullmatch(name):
            # The line itself is not repeated: it may hold a password.
            faults.append(Fault(place, "", "is not NAME=value", "write it so, or begin it with #"))
        elif name in lines:
            first = lines[name].place.rpartition(" ")[2]
            faults.append(
                Fault(
                    place, "", f"{name} is given twice, first in line {first}", "keep one of them"
                )
            )
        else:
            if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
                value = value[1:-1]
            lines[name] = Line(name, value, place)
    return list(lines.values()), faults


def read_secret(path: Path) -> str:
    """The secret that a file holds: all of it, but for one line end at its end.

    Raises FileRefusedError for what cannot be read or is no secret: empty, several lines, too
    large, not a regular file, changeable by anybody.
    """
    if path.is_file() and path.stat().st_mode & stat.S_IWOTH:
        raise FileRefusedError("may be changed by every user", f"run: chmod o-rwx {path}")
    text = _content(path, limits.SECRET_FILE_BYTES_MAX)
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret:
        raise FileRefusedError("is empty", "write the secret into it")
    if re.search(r"[\x00-\x1f\x7f]", secret):
        raise FileRefusedError(
            "holds more than one line, or control characters",
            "write the secret alone into it, on one line",
        )
    return secret


def open_to_all(path: Path) -> bool:
    """Whether every user of the machine may read a file. False where it cannot be told."""
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


def _content(path: Path, bytes_max: int) -> str:
    """The text of a regular file. Raises FileRefusedError."""
    try:
        # Opening a pipe that nobody writes to would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise FileRefusedError(
            f"cannot be read ({error.strerror})",
            "give the path of a file that this user may read",
        ) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileRefusedError("is not a file", "give the path of a file")
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(bytes_max + 1)
    if len(content) > bytes_max:
        raise FileRefusedError(f"is larger than {bytes_max} bytes", "give the right file")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        # Without its cause: that holds the bytes.
        raise FileRefusedError("is not UTF-8 text", "write it as UTF-8") from None
