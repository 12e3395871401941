"""Paid's customers, products and orders as a gateway sees them: folded from `paid-catalogue`, and
changed by appending to it.

A change is answered when its record is acknowledged and folded here, so whoever made it reads it.
Two gateways that change one item within the same milliseconds leave the later record whole; no
money depends on it (decision 022).
"""

import asyncio
from bisect import bisect_left, insort
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, Protocol
from weakref import WeakValueDictionary

from schemas import codec
from schemas.catalogue import Family
from schemas.envelope import SCHEMA_VERSION
from schemas.structs import CatalogueItem
from streams.gateway.problems import ProblemError

PREFIXES: Final[Mapping[Family, str]] = {"customer": "cus_", "product": "prod_", "order": "ord_"}
"""How ids begin, as Paid's do."""

ID_BYTES: Final = 12
"""Of the hash in an id: among a hundred million items two alike are a chance of one in 10^13."""

FOLD_SECONDS: Final = 5.0
"""Within which a record that was acknowledged comes back. It takes milliseconds; a broker that was
just lost takes seconds."""

LOOK_SECONDS: Final = 5.0
"""For reading the topic to its end before something is listed, changed, or said not to exist. It
takes a few milliseconds; where the broker does not answer, what is known is told."""


class CatalogueLog(Protocol):
    """The topic: appended to, and read into a view that somebody else folds."""

    async def append(self, key: bytes, value: bytes) -> int | None:
        """The offset of a record that is acknowledged; None where nobody knows."""
        ...

    async def read_to(self, offset: int, seconds: float) -> bool:
        """Whether the record at `offset` was folded in time."""
        ...

    async def read_to_end(self, seconds: float) -> bool:
        """Whether all that stands in the topic now was folded in time."""
        ...


@dataclass(slots=True)
class CatalogueView:
    """The latest version of each item, by id and by the vendor's own id."""

    items: dict[str, CatalogueItem] = field(default_factory=dict)
    by_external: dict[tuple[Family, str], str] = field(default_factory=dict)
    ordered: dict[Family, list[tuple[int, str]]] = field(default_factory=dict)
    """Of each family what is not deleted: (created at, id), sorted."""
    order_number: int = 0
    """The highest of any order."""

    def fold(self, value: bytes) -> None:
        """Takes a record of the topic. Raises ValueError where it is none."""
        item = codec.decode_catalogue_item(value)
        known = self.items.get(item.id)
        places = self.ordered.setdefault(item.family, [])
        if known is not None and not known.deleted:
            del places[bisect_left(places, (known.created_at, known.id))]
        self.items[item.id] = item
        if not item.deleted:
            insort(places, (item.created_at, item.id))
        if item.external_id is not None:
            self.by_external[item.family, item.external_id] = item.id
        self.order_number = max(self.order_number, item.number)

    def get(self, family: Family, item_id: str) -> CatalogueItem | None:
        """An item, also one that was deleted."""
        item = self.items.get(item_id)
        return item if item is not None and item.family == family else None

    def find(self, family: Family, external_id: str) -> CatalogueItem | None:
        """An item by the vendor's own id, also one that was deleted."""
        item_id = self.by_external.get((family, external_id))
        return None if item_id is None else self.items[item_id]

    def count(self, family: Family) -> int:
        """How many are there."""
        return len(self.ordered.get(family, ()))

    def slice(self, family: Family, offset: int, limit: int) -> list[CatalogueItem]:
        """So many after the first `offset`, the newest first."""
        places = self.ordered.get(family, [])
        end = max(0, len(places) - offset)
        return [self.items[item_id] for _, item_id in reversed(places[max(0, end - limit) : end])]


@dataclass(frozen=True, slots=True)
class Made:
    """Where a new item gets its id from: the vendor's own id, else what names the request."""

    external_id: str | None
    request: str

    def id_of(self, family: Family) -> str:
        """The same for the same."""
        parts = [family, self.external_id or "", "" if self.external_id else self.request]
        return PREFIXES[family] + blake2b(codec.encode(parts), digest_size=ID_BYTES).hexdigest()


class Catalogue:
    """The view with its log behind it."""

    def __init__(self, view: CatalogueView, log: CatalogueLog) -> None:
        self.view = view
        self._log = log
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._order_number = 0

    async def get(self, family: Family, item_id: str) -> CatalogueItem:
        """An item that is there. Raises ProblemError `not_found`."""
        return await self._looked_for(family, item_id, by_external=False)

    async def find(self, family: Family, external_id: str) -> CatalogueItem:
        """An item that is there, by the vendor's own id. Raises ProblemError `not_found`."""
        return await self._looked_for(family, external_id, by_external=True)

    async def _looked_for(self, family: Family, text: str, *, by_external: bool) -> CatalogueItem:
        look = self.view.find if by_external else self.view.get
        item = look(family, text)
        if item is None:
            # Another gateway may have made it a moment ago.
            await self.catch_up()
            item = look(family, text)
        if item is None or item.deleted:
            raise ProblemError("not_found", f"{family.capitalize()} not found")
        return item

    async def catch_up(self) -> None:
        """Returns when all that stands in the topic was folded, or after a moment."""
        await self._log.read_to_end(LOOK_SECONDS)

    async def create(
        self, family: Family, made: Made, fields: dict[str, Any], now_us: int
    ) -> CatalogueItem:
        """A new item; the one that is there where it was made by the same request, or under the
        same id of the vendor with the same fields.

        Raises ProblemError `conflict` where it differs, `log_unavailable`.
        """
        item_id = made.id_of(family)
        async with self._lock(item_id):
            known = self.view.get(family, item_id)
            if known is not None and not known.deleted:
                if all(known.fields.get(name) == value for name, value in fields.items()):
                    return known
                raise ProblemError(
                    "conflict", f"there is a {family} with this externalId; update it instead"
                )
            number = self._next_order_number() if family == "order" else 0
            item = CatalogueItem(
                schema_version=SCHEMA_VERSION,
                family=family,
                id=item_id,
                external_id=made.external_id,
                version=1 if known is None else known.version + 1,
                created_at=now_us,
                updated_at=now_us,
                number=number,
                fields=fields,
            )
            return await self._append(item)

    def _next_order_number(self) -> int:
        self._order_number = max(self._order_number, self.view.order_number) + 1
        return self._order_number

    async def update(
        self, item: CatalogueItem, fields: Mapping[str, Any], now_us: int
    ) -> CatalogueItem:
        """The item with these fields in place of what it had under their names.

        The topic is read to its end before: another gateway may have answered a change that has
        not come here yet, and an item is written whole.
        """
        await self.catch_up()
        async with self._lock(item.id):
            known = self.view.items[item.id]
            if all(known.fields.get(name) == value for name, value in fields.items()):
                return known
            return await self._append(_changed(known, {**known.fields, **fields}, now_us))

    async def delete(self, item: CatalogueItem, now_us: int) -> None:
        """Erases an item: its ids stay, for what was counted under them."""
        await self.catch_up()
        async with self._lock(item.id):
            known = self.view.items[item.id]
            if not known.deleted:
                await self._append(_changed(known, {}, now_us, deleted=True))

    def _lock(self, item_id: str) -> asyncio.Lock:
        return self._locks.setdefault(item_id, asyncio.Lock())

    async def _append(self, item: CatalogueItem) -> CatalogueItem:
        try:
            value = codec.encode(item)
        except (ValueError, OverflowError):
            raise ProblemError("malformed", "a number or a text that no record can hold") from None
        offset = await self._log.append(codec.catalogue_key(item), value)
        if offset is None or not await self._log.read_to(offset, FOLD_SECONDS):
            raise ProblemError(
                "log_unavailable", "the log did not acknowledge the change; send it again"
            )
        return self.view.items[item.id]


def _changed(
    known: CatalogueItem, fields: dict[str, Any], now_us: int, *, deleted: bool = False
) -> CatalogueItem:
    return CatalogueItem(
        schema_version=SCHEMA_VERSION,
        family=known.family,
        id=known.id,
        external_id=known.external_id,
        version=known.version + 1,
        created_at=known.created_at,
        updated_at=now_us,
        deleted=deleted,
        number=known.number,
        fields=fields,
    )


def ledger_id(item: CatalogueItem) -> str:
    """What an item is called in the ledger: a customer's account, a product's agent."""
    return item.external_id or item.id
