"""What in a record is personal, and the record without it (F4).

Metadata of usage and signals says who somebody is; nothing that is decided looks at it, and no hash
covers it. It is replaced where it stands, so that every other byte stays as it was: what is decided
again without it is the same.
"""

import json
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterator, Mapping
from typing import Final

from schemas.topics import (
    ACCOUNTS_CHANGELOG,
    BUDGETS,
    DEAD_LETTERS,
    PAID_CATALOGUE,
    SIGNALS,
    UNASSIGNED,
    USAGE,
)

PERSONAL: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    USAGE.name: (("metadata",),),
    SIGNALS.name: (("metadata",),),
    UNASSIGNED.name: (("usage", "metadata"), ("signal", "metadata")),
    PAID_CATALOGUE.name: (("fields",),),
}
"""Where personal members stand, by topic."""

CARRIED: Final[Mapping[str, str]] = {
    DEAD_LETTERS.name: "record_value",
    BUDGETS.name: "record_value",
    ACCOUNTS_CHANGELOG.name: "value",
}
"""The member in which a topic's record carries another record whole, in base64."""

_decoder: Final = json.JSONDecoder()
_SPACE: Final = " \t\r\n"


def without_personal(topic: str, value: bytes, *, shaped: bool = False) -> bytes:
    """A record of a topic without what is personal in it; the same bytes where nothing is.

    `shaped` keeps the names of members, and how long their texts are: for what was refused because
    of that. Raises ValueError for a record that is no JSON object.
    """
    text = value.decode()
    carrier = CARRIED.get(topic)
    if carrier is None:
        return _replaced(text, PERSONAL.get(topic, ()), shaped).encode()
    inner = UNASSIGNED.name
    for name, start, end in _members(text):
        if name == "topic":
            inner = str(json.loads(text[start:end]))
    pieces, done = [], 0
    for name, start, end in _members(text):
        carried = json.loads(text[start:end]) if name == carrier else None
        if isinstance(carried, str):
            try:
                original = b64decode(carried, validate=True)
            except Base64Error as error:
                raise ValueError("what it carries is no base64") from error
            blank = without_personal(inner, original, shaped=shaped)
            pieces += [text[done:start], json.dumps(b64encode(blank).decode())]
            done = end
    return "".join([*pieces, text[done:]]).encode()


def member(value: bytes, name: str) -> object:
    """A member of a record, None where it has none. Raises ValueError for no JSON object."""
    text = value.decode()
    found = [text[start:end] for key, start, end in _members(text) if key == name]
    return json.loads(found[-1]) if found else None


def _replaced(text: str, paths: tuple[tuple[str, ...], ...], shaped: bool) -> str:
    pieces, done = [], 0
    for name, start, end in _members(text):
        below = tuple(path[1:] for path in paths if path[0] == name)
        if not below:
            continue
        held = text[start:end]
        if () in below:
            made = json.dumps(_shape(json.loads(held))) if shaped else "{}"
        else:
            made = _replaced(held, below, shaped) if held.startswith("{") else held
        if held != "null":
            pieces += [text[done:start], made]
            done = end
    return "".join([*pieces, text[done:]])


def _shape(held: object) -> object:
    if isinstance(held, str):
        return "x" * len(held)
    if isinstance(held, dict):
        # A refusal names the member that was refused.
        return {key: _shape(one) for key, one in held.items()}
    if isinstance(held, list):
        return [_shape(one) for one in held]
    return held if held is None or isinstance(held, bool) else 0


def _members(text: str) -> Iterator[tuple[str, int, int]]:
    """The members of a JSON object: name, and where the value begins and ends."""
    try:
        at = _past_space(text, 0)
        if text[at] != "{":
            raise ValueError("no JSON object")
        at = _past_space(text, at + 1)
        while text[at] != "}":
            name, at = _decoder.raw_decode(text, at)
            at = _past_space(text, at)
            if not isinstance(name, str) or text[at] != ":":
                raise ValueError("no JSON object")
            start = _past_space(text, at + 1)
            _, at = _decoder.raw_decode(text, start)
            yield name, start, at
            at = _past_space(text, at)
            if text[at] == ",":
                at = _past_space(text, at + 1)
            elif text[at] != "}":
                raise ValueError("no JSON object")
    except (IndexError, RecursionError) as error:
        raise ValueError("no JSON object") from error


def _past_space(text: str, at: int) -> int:
    while text[at] in _SPACE:
        at += 1
    return at
