"""Files of rate cards and plans: read, checked, every fault with the line and column that it stands
on, all at once.

Owns no record of the catalog (`streams.app.rates` plans those). A fault of one part hides none of
another; a text whose structure is broken has that one fault.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError

from schemas.catalog import CardDiscount, CardItem
from schemas.money import AMOUNT_PATTERN
from schemas.rates import DAY_OR_TIME_PATTERN, RATE_FILES, RateCardFile, RatePlanFile
from streams.adapters.marked_text import BrokenTextError, Marked, TextFault, read_marked
from streams.domain.rate_cards import (
    CardFault,
    below,
    discount_faults,
    doubts,
    item_faults,
    path_text,
    repeated_ids,
    too_much_off,
)
from streams.errors import SetupError

FILE_BYTES_MAX: Final = 4 * 1024 * 1024
"""A file of rate cards. Ten cards are some 20 KB; beyond this it is another kind of file."""

WHOLE_NUMBERS: Final = frozenset({"up_to", "per", "included"})
"""The fields that are counts; every other number of a card is an amount and stays its text."""

HARMLESS: Final[dict[str, str | int]] = {
    "id": "?",
    "price": "0",
    "flat": "0",
    "percent": "1",
    "markup_percent": "0",
    "per": 1,
    "included": 0,
}
"""What stands for a value that is wrong in itself, while the rest of its part is looked at."""

_whole_number = re.compile(r"[0-9][0-9_]{0,30}\Z")

_PATTERNS: Final = {
    AMOUNT_PATTERN: "an amount is a decimal such as 0.01: no sign, no exponent, at most 18 digits "
    "before the point and 12 after it",
    DAY_OR_TIME_PATTERN: "a day such as 2026-11-01 (midnight UTC) or a time with a zone such as "
    "2026-11-01T00:00:00+01:00",
    r"^[A-Z]{3}$": "a currency is three capital letters of ISO 4217, such as USD",
}
"""What is said in place of a pattern."""

Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class FileFault:
    """What is wrong in a file, and where."""

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        what = f"{self.path}: {self.message}" if self.path else self.message
        return f"{self.file}:{self.line}:{self.column}: {what}"


@dataclass(frozen=True, slots=True)
class RateDocument:
    """A document that is right, and where it stands. `doubts` are what may not be meant so."""

    file: str
    line: int
    model: RateCardFile | RatePlanFile
    doubts: tuple[FileFault, ...] = ()


@dataclass(slots=True)
class FilesRead:
    """What is in some files: documents in their order, and all faults."""

    documents: list[RateDocument] = field(default_factory=list)
    faults: list[FileFault] = field(default_factory=list)


def read_rate_files(names: Sequence[str]) -> FilesRead:
    """All documents of these files. Raises SetupError for a file that cannot be read at all."""
    found = FilesRead()
    for name in names:
        text = _text_of(Path(name))
        _read_text(found, name, text)
    found.faults.sort(key=lambda fault: (names.index(fault.file), fault.line, fault.column))
    return found


def _text_of(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise SetupError(
            f"{path} cannot be read: {error.strerror}", action="Name a file that is there."
        ) from error
    if len(raw) > FILE_BYTES_MAX:
        raise SetupError(
            f"{path} has {len(raw):,} bytes; a file of rate cards may have {FILE_BYTES_MAX:,}",
            action="Split it, or name the right file.",
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SetupError(
            f"{path} is no UTF-8: byte {error.start} is 0x{raw[error.start]:02x}",
            action="Save it as UTF-8.",
        ) from error


def _read_text(found: FilesRead, name: str, text: str) -> None:
    try:
        documents, broken = read_marked(text, as_json=name.endswith(".json"))
    except BrokenTextError as error:
        found.faults.append(_at(name, error.fault))
        return
    found.faults += [_at(name, fault) for fault in broken]
    if not documents:
        found.faults.append(FileFault(name, 1, 1, "", "there is nothing in the file"))
    for document in documents:
        checked = _Checked(name, document)
        found.faults += checked.faults
        if checked.model is not None and not checked.faults:
            found.documents.append(
                RateDocument(name, document.line, checked.model, tuple(checked.doubts()))
            )


def _at(name: str, fault: TextFault) -> FileFault:
    return FileFault(name, fault.line, fault.column, "", fault.message)


class _Checked:
    """One document with all that is wrong with it."""

    def __init__(self, name: str, document: Marked) -> None:
        self._name = name
        self._document = document
        self.faults: list[FileFault] = []
        self.model: RateCardFile | RatePlanFile | None = None
        kind = self._kind()
        if kind is None:
            return
        plain = plain_of(document)
        try:
            self.model = RATE_FILES[kind].model_validate(plain)
        except ValidationError as error:
            for item in error.errors(include_url=False, include_input=False):
                self._add_error(RATE_FILES[kind], item)
        if kind == "rate_card":
            for fault in _contradictions(plain):
                self._add(fault.path, fault.message)

    def doubts(self) -> Iterator[FileFault]:
        """What is right and may not be meant so."""
        if isinstance(self.model, RateCardFile):
            for fault in doubts(self.model):
                yield self._fault(fault.path, fault.message)

    def _kind(self) -> str | None:
        value = self._document.value
        if not isinstance(value, dict):
            self._add((), "a document is a mapping: kind, id and what the card charges")
            return None
        if "kind" not in value:
            self._add((), "kind is missing: rate_card or rate_plan")
            return None
        kind = value["kind"].value
        if not isinstance(kind, str) or kind not in RATE_FILES:
            self._add(("kind",), "must be rate_card or rate_plan")
            return None
        return kind

    def _add(self, path: Place, message: str, *, key: bool = False) -> None:
        self.faults.append(self._fault(path, message, key=key))

    def _fault(self, path: Place, message: str, *, key: bool = False) -> FileFault:
        line, column = _place(self._document, path, key=key)
        return FileFault(self._name, line, column, path_text(path), message)

    def _add_error(self, model: type[BaseModel], item: Any) -> None:
        path: Place = item["loc"]
        kind, context = item["type"], item.get("ctx", {})
        if kind == "missing":
            self._add(path, "is missing")
        elif kind == "extra_forbidden":
            known = _known_names(model, path)
            near = difflib.get_close_matches(str(path[-1]), known, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            self._add(path, f"there is no such field: {hint}", key=True)
        elif kind == "string_pattern_mismatch":
            self._add(path, _PATTERNS.get(context.get("pattern", ""), item["msg"]))
        elif kind == "value_error":
            self._add(path, str(context.get("error", item["msg"])))
        elif kind == "int_type":
            self._add(path, "must be a whole number, without quotes")
        elif kind == "string_type":
            self._add(path, "must be a text or a number")
        elif kind == "string_too_short":
            self._add(path, "must not be empty")
        else:
            said: str = item["msg"]
            self._add(path, said.replace("Input should be", "must be", 1))


def plain_of(marked: Marked, name: str = "") -> Any:
    """The value as a model reads it: counts as integers, amounts and names as texts."""
    value = marked.value
    if isinstance(value, dict):
        return {key: plain_of(child, key) for key, child in value.items()}
    if isinstance(value, list):
        return [plain_of(child) for child in value]
    if marked.plain and name in WHOLE_NUMBERS and value and _whole_number.match(value):
        return int(value.replace("_", ""))
    return value


def _contradictions(plain: Mapping[str, Any]) -> Iterator[CardFault]:
    """What the fields of a card say against each other, as far as each part can be read at all."""
    yield from repeated_ids({group: _ids(plain, group) for group in _GROUPS})
    for at, part in enumerate(_parts(plain, "items")):
        item, wrong = _as_model(CardItem, part)
        if item is not None:
            yield from below(("items", at), _apart_from(wrong, item_faults(item)))
    known = [name for name in _ids(plain, "items") if name is not None]
    readable: list[CardDiscount | None] = []
    for at, part in enumerate(_parts(plain, "discounts")):
        discount, wrong = _as_model(CardDiscount, part)
        faults = [] if discount is None else list(discount_faults(discount, known))
        yield from below(("discounts", at), _apart_from(wrong, faults))
        readable.append(None if faults or wrong else discount)
    yield from too_much_off(readable, list(dict.fromkeys(known)))


_GROUPS: Final = ("fees", "items", "discounts")


def _parts(plain: Mapping[str, Any], group: str) -> Sequence[Any]:
    parts = plain.get(group)
    return parts if isinstance(parts, list) else []


def _ids(plain: Mapping[str, Any], group: str) -> list[str | None]:
    found = [part.get("id") if isinstance(part, dict) else None for part in _parts(plain, group)]
    return [name if isinstance(name, str) else None for name in found]


def _as_model(model: Any, part: Any) -> tuple[Any, tuple[Place, ...]]:
    """A part as its model reads it, and the places in it that are wrong: something harmless stands
    there, so that what the others say against each other is found all the same. None for a part
    of which too little can be read."""
    try:
        return model.model_validate(part), ()
    except ValidationError as error:
        wrong = tuple(item["loc"] for item in error.errors(include_url=False))
    mended = deepcopy(part)
    try:
        for place in wrong:
            _mend(mended, place)
        return model.model_validate(mended), wrong
    except (LookupError, TypeError, ValidationError):
        return None, wrong


def _mend(part: Any, place: Place) -> None:
    """Puts something harmless in a place. Raises LookupError where nothing is."""
    if not place:
        raise LookupError("a part that is no mapping")
    *path, name = place
    for step in path:
        part = part[step]
    if name in HARMLESS:
        part[name] = HARMLESS[str(name)]
    elif name in part and name not in ("metric", "tiers", "up_to", "items"):
        del part[name]
    else:
        raise LookupError(name)


def _apart_from(wrong: Sequence[Place], faults: Iterable[CardFault]) -> Iterator[CardFault]:
    """The faults that do not stand where something harmless was put. What is missing from the
    whole part may be what a wrong name in it was meant to say."""
    return (fault for fault in faults if fault.path not in wrong and (fault.path or not wrong))


def _place(document: Marked, path: Place, *, key: bool) -> tuple[int, int]:
    """Where a path stands, or the innermost part of it that is there."""
    node, place = document, (document.line, document.column)
    for depth, part in enumerate(path):
        value = node.value
        if isinstance(value, dict) and isinstance(part, str) and part in value:
            child = value[part]
            # Of what has parts, the first one begins a line later than the word that names it.
            named = depth == len(path) - 1 and (key or isinstance(child.value, dict | list))
            place = node.keys[part] if named else (child.line, child.column)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            child = value[part]
            place = (child.line, child.column)
        else:
            break
        node = child
    return place


def _known_names(model: type[BaseModel], path: Place) -> list[str]:
    """The fields that may stand where a wrong one stands."""
    here: Any = model
    for part in path[:-1]:
        if isinstance(part, int):
            continue
        found = here.model_fields[part].annotation
        while not (isinstance(found, type) and issubclass(found, BaseModel)):
            found = next((arg for arg in get_args(found) if arg is not type(None)), None)
            if found is None:
                return []
        here = found
    return list(here.model_fields)
