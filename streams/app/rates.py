"""Rate cards and plans for commands: read from the catalog, compared with what a file says, and
appended as new versions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from schemas import catalog, codec
from schemas.envelope import SCHEMA_VERSION
from schemas.rates import RatePlanFile, catalog_fields
from schemas.structs import RateCard, RatePlan
from schemas.times import format_time
from streams.adapters.catalog import append_catalog, read_catalog_into
from streams.adapters.clock import SystemClock
from streams.app.addresses import kafka_bootstrap
from streams.app.rate_files import RateDocument
from streams.domain.rate_cards import RateShelf, begins_us, in_force
from streams.errors import SetupError
from streams.settings import Settings

HEAD: Final = frozenset({"schema_version", "kind", "version"})
"""The fields of a record that are no content: what a file does not say."""

RateRecord = RateCard | RatePlan


async def read_rate_shelf(settings: Settings) -> RateShelf:
    """The catalog as it is now, with all versions of all cards and plans."""
    return await read_catalog_into(RateShelf(), kafka_bootstrap(settings), settings.topic_prefix)


def now_us() -> int:
    """The time at which cards are shown where nobody names another."""
    return SystemClock().now_us()


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that differs between two versions; None where there is none. Parts of lists are
    named by their ids: `items.tokens.price`."""

    path: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class PlannedVersion:
    """What becomes of a document: a new version, or nothing where it is in the catalog already.

    `before` is the version that was in force when this one begins, or the last one where none was.
    `backdated`: from a time on that has passed this changes what another version says.
    """

    document: RateDocument
    record: RateRecord
    before: RateRecord | None
    is_new: bool
    backdated: bool = False

    @property
    def differences(self) -> list[Difference]:
        """What this version changes, by path."""
        return [] if self.before is None else differences(self.before, self.record)


def plan_versions(
    shelf: RateShelf, documents: Sequence[RateDocument], now_us: int
) -> list[PlannedVersion]:
    """The versions that these documents become, in their order; nothing is appended.

    Content that is the last word of its id and time already stays the version that it is. Raises
    SetupError for a plan whose card nobody knows.
    """
    known: list[RateRecord] = [*shelf.card_records, *shelf.plan_records]
    cards = {one.id for one in known if isinstance(one, RateCard)}
    cards |= {one.model.id for one in documents if one.model.kind == "rate_card"}
    planned = []
    for document in documents:
        model = document.model
        if isinstance(model, RatePlanFile) and model.card not in cards:
            raise SetupError(
                f"{document.file}:{document.line}: plan {model.id} names the card {model.card}, "
                "which there is not",
                action="Apply the card first, or in the same command.",
            )
        one = _plan_version(document, known, now_us)
        planned.append(one)
        if one.is_new:
            known.append(one.record)
    return planned


def _plan_version(
    document: RateDocument, known: Sequence[RateRecord], now_us: int
) -> PlannedVersion:
    kind = RatePlan if isinstance(document.model, RatePlanFile) else RateCard
    same = [one for one in known if isinstance(one, kind) and one.id == document.model.id]
    record = _record(document, _next_version(same))
    at_that_time = [one for one in same if begins_us(one) == begins_us(record)]
    if at_that_time and content(at_that_time[-1]) == content(record):
        return PlannedVersion(document, at_that_time[-1], at_that_time[-1], is_new=False)
    before = in_force(same, begins_us(record)) or (same[-1] if same else None)
    backdated = bool(same) and begins_us(record) < now_us
    return PlannedVersion(document, record, before, is_new=True, backdated=backdated)


def _next_version(same: Sequence[RateRecord]) -> str:
    taken = {one.version for one in same}
    number = len(taken) + 1
    while str(number) in taken:
        number += 1
    return str(number)


def _record(document: RateDocument, version: str) -> RateRecord:
    plain = document.model.model_dump(exclude_defaults=True)
    record = codec.decode_catalog(codec.encode(catalog_fields(plain, version, SCHEMA_VERSION)))
    if not isinstance(record, RateCard | RatePlan):
        raise TypeError(f"a file cannot hold a {type(record).__name__}")
    return record


def content(record: RateRecord) -> dict[str, Any]:
    """What a version says, without what it is called and without what goes without saying."""
    model = catalog.RateCard if isinstance(record, RateCard) else catalog.RatePlan
    # Whether a default was written down or left out makes no other content.
    plain = model.model_validate(codec.to_plain(record)).model_dump(exclude_defaults=True)
    return {name: value for name, value in plain.items() if name not in HEAD}


def differences(before: RateRecord, after: RateRecord) -> list[Difference]:
    """What differs between two versions, by path. Where only the order of parts differs, that."""
    was, now = _flat(content(before)), _flat(content(after))
    found = [
        Difference(path, was.get(path), now.get(path))
        for path in [*was, *(path for path in now if path not in was)]
        if was.get(path) != now.get(path)
    ]
    if not found and content(before) != content(after):
        return [Difference("the order of its parts", None, None)]
    return found


def _flat(value: Any, path: str = "") -> dict[str, str]:
    """All values by their paths."""
    if isinstance(value, dict):
        pairs = [(name, child) for name, child in value.items() if not (path and name == "id")]
    elif isinstance(value, list):
        pairs = [
            (child["id"] if isinstance(child, dict) and "id" in child else str(at), child)
            for at, child in enumerate(value)
        ]
    elif path == "effective_from":
        return {path: format_time(value)}
    else:
        return {path: str(value)}
    found: dict[str, str] = {}
    for name, child in pairs:
        found |= _flat(child, f"{path}.{name}" if path else name)
    return found


async def append_versions(
    settings: Settings, shelf: RateShelf, planned: Sequence[PlannedVersion]
) -> None:
    """Appends what is new of it, in its order. Raises SetupError where the catalog cannot take
    it; nothing is appended then."""
    records = [one.record for one in planned if one.is_new]
    if records:
        await append_catalog(kafka_bootstrap(settings), settings.topic_prefix, shelf, records)
