"""What Paid's items have in common over HTTP: pages of a list, times, and what a client may see."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from schemas.catalogue import Family
from schemas.structs import CatalogueItem
from schemas.times import format_time
from streams.gateway.paid_bodies import TEXT_CHARS_MAX
from streams.gateway.paid_catalogue import Catalogue, CatalogueView, Made
from streams.gateway.paid_identity import named
from streams.gateway.problems import ProblemError
from streams.gateway.routes import Parameter, Request
from streams.gateway.services import Services

PAGE_MAX: Final = 100
"""Items of a page, and of one whose size the client does not say."""

OFFSET_MAX: Final = 10**9

TURN: Final = 1_000
"""Items that a filter looks at before others get their turn: two milliseconds."""

Fits = Callable[[CatalogueItem], bool]

PAGE_PARAMETERS: Final = (
    Parameter("limit", "query", f"Items of a page, {PAGE_MAX} at the most"),
    Parameter("offset", "query", "Items before the page"),
)


def catalogue(services: Services) -> Catalogue:
    """The catalogue of this gateway. Raises ProblemError where it follows none."""
    if services.catalogue is None:
        raise ProblemError("unavailable", "this gateway does not follow Paid's catalogue")
    return services.catalogue


async def page(
    services: Services, request: Request, family: Family, fits: Fits | None
) -> tuple[list[CatalogueItem], Any]:
    """The items of the page that was asked for, and where it stands; `fits` None takes all.

    What another gateway has answered before is on it, where the log can be read in time."""
    kept, query = catalogue(services), request.query
    await kept.catch_up()
    view = kept.view
    limit = min(_number(query, "limit", PAGE_MAX) or PAGE_MAX, PAGE_MAX)
    offset = _number(query, "offset", 0)
    if query.get("externalId"):
        item = view.find(family, query["externalId"])
        is_it = item is not None and not item.deleted and (fits is None or fits(item))
        found = [item] if is_it and item is not None else []
    elif fits is not None:
        found = await _scan(view, family, fits)
    else:
        return view.slice(family, offset, limit), _place(limit, offset, view.count(family))
    return found[offset : offset + limit], _place(limit, offset, len(found))


async def _scan(view: CatalogueView, family: Family, fits: Fits) -> list[CatalogueItem]:
    """All items that fit, the newest first; others get their turn in between."""
    found: list[CatalogueItem] = []
    for start in range(0, view.count(family), TURN):
        found += filter(fits, view.slice(family, start, TURN))
        await asyncio.sleep(0)
    return found


def _place(limit: int, offset: int, total: int) -> dict[str, Any]:
    return {"limit": limit, "offset": offset, "total": total, "hasMore": offset + limit < total}


def _number(query: Mapping[str, str], name: str, otherwise: int) -> int:
    text = query.get(name, "")
    if not text:
        return otherwise
    if not (text.isascii() and text.isdecimal() and int(text[:20]) <= OFFSET_MAX):
        raise ProblemError("bad_query", f"{name}: a whole number is expected", field=name)
    return int(text)


def matches(item: CatalogueItem, query: Mapping[str, str], names: Sequence[str]) -> bool:
    """Whether an item fits the filters of a list: `name` anywhere in its name, each of `names`
    exactly."""
    name = query.get("name", "")
    if name and name.casefold() not in str(item.fields.get("name", "")).casefold():
        return False
    return all(not query.get(one) or query[one] == item.fields.get(one) for one in names)


def asked(query: Mapping[str, str], *names: str) -> bool:
    """Whether a list is asked for with one of these filters."""
    return any(query.get(name) for name in names)


def times(item: CatalogueItem) -> dict[str, Any]:
    """When it was made and changed."""
    return {
        "createdAt": format_time(item.created_at),
        "updatedAt": format_time(item.updated_at),
    }


async def change(
    services: Services, item: CatalogueItem, fields: dict[str, Any], *, keeps_name: bool = False
) -> CatalogueItem:
    """The item with these fields changed; the rest stays, and with `keeps_name` a name that is
    said to be none. Raises ProblemError where it would get another externalId: what was counted in
    the ledger stands under the one that the item was made with."""
    if fields.get("externalId", item.external_id) != item.external_id:
        raise ProblemError(
            "invalid_field",
            "externalId: it names the account or agent in the ledger and cannot be changed; make "
            f"a new {item.family}",
            field="externalId",
        )
    left_out = {"externalId"}
    if keeps_name and fields.get("name") is None:
        left_out.add("name")
    changed = {name: part for name, part in fields.items() if name not in left_out}
    return await catalogue(services).update(item, changed, services.now_us())


async def create(
    services: Services,
    request: Request,
    family: Family,
    external_id: str | None,
    fields: dict[str, Any],
) -> CatalogueItem:
    """A new item of these fields, known by the vendor's own id or else by the request."""
    fields = {name: part for name, part in fields.items() if name != "externalId"}
    name = named(services, request)
    made = Made(external_id, name.name)
    try:
        return await catalogue(services).create(family, made, fields, services.now_us())
    except ProblemError as problem:
        if problem.code == "log_unavailable":
            name.failed()
        raise


def external_id_of(request: Request) -> str:
    """The vendor's own id in a path."""
    return request.params["external_id"][:TEXT_CHARS_MAX]
