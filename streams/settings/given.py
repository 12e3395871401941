"""What somebody wrote for a setting, where, and what is wrong with it: shared by all sources."""

import re
from dataclasses import dataclass
from typing import Any, Final, Literal

Kind = Literal["default", "file", "environment", "flag"]

FILE_SUFFIX: Final = "_FILE"
"""Ends the name under which a secret is given as the path of a file."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was given. `place` is what a person looks for: a variable, a flag, a file and
    its line. `secret_file` names the file that held the value itself, where one did."""

    kind: Kind
    place: str
    secret_file: str | None = None

    def __str__(self) -> str:
        held = "" if self.secret_file is None else f", from the file {self.secret_file}"
        return f"{self.place}{held}"


DEFAULT: Final = Origin("default", "default")


@dataclass(frozen=True, slots=True)
class Given:
    """A value as somebody wrote it, and where. `name` is the variable that gave it: a secret's may
    end in `_FILE`. Never printed whole: the value may be a secret."""

    value: Any
    origin: Origin
    name: str

    def __repr__(self) -> str:
        return f"Given({self.name}, {self.origin})"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong. `name` is a setting or a file, `place` where it was given (may be
    empty), `wrong` what is the matter, `todo` what mends it. None holds a secret."""

    name: str
    place: str
    wrong: str
    todo: str

    def __str__(self) -> str:
        place = f" ({self.place})" if self.place else ""
        return f"{self.name}{place}: {self.wrong}; {self.todo}"


def without_password(text: str) -> str:
    """Cover user and password of an address, which are refused there but may have been given: from
    its scheme to the last `@`, whatever a password holds."""
    return re.sub(r"(\w+://)?.*@", r"\1***@", text, flags=re.DOTALL)
