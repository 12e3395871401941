"""Paid's products: what sells an outcome, which the ledger calls the agent."""

from typing import Any

from schemas.structs import CatalogueItem
from streams.gateway.paid_bodies import ProductBody, ProductChange, read_fields
from streams.gateway.paid_pages import (
    asked,
    catalogue,
    change,
    create,
    external_id_of,
    matches,
    page,
    times,
)
from streams.gateway.replies import Response, json_response
from streams.gateway.routes import Request
from streams.gateway.services import Services


async def list_products(services: Services, request: Request) -> Response:
    """The products that are there, the newest first."""
    query = request.query

    def fits(item: CatalogueItem) -> bool:
        active = str(_active(item)).lower()
        return matches(item, query, ()) and query.get("active") in (None, "", active)

    filtered = asked(query, "name", "active")
    items, pagination = await page(services, request, "product", fits if filtered else None)
    return json_response(200, {"data": [told(item) for item in items], "pagination": pagination})


async def create_product(services: Services, request: Request) -> Response:
    """A new product. Under an externalId that is there already, the same one."""
    request.caller.require_unbound()
    body, fields = read_fields(ProductBody, request.body)
    item = await create(services, request, "product", body.external_id, fields)
    return json_response(200, told(item))


async def get_product(services: Services, request: Request) -> Response:
    """A product."""
    return json_response(200, told(await _product(services, request)))


async def update_product(services: Services, request: Request) -> Response:
    """Changes what is said; the rest stays."""
    request.caller.require_unbound()
    _, fields = read_fields(ProductChange, request.body)
    item = await _product(services, request)
    return json_response(200, told(await change(services, item, fields, keeps_name=True)))


async def _product(services: Services, request: Request) -> CatalogueItem:
    if "external_id" in request.params:
        return await catalogue(services).find("product", external_id_of(request))
    return await catalogue(services).get("product", request.params["id"])


def _active(item: CatalogueItem) -> bool:
    return item.fields.get("active") is not False


def told(item: CatalogueItem) -> dict[str, Any]:
    """A `ProductTold`."""
    fields = item.fields
    return {
        "id": item.id,
        "name": fields.get("name") or "",
        "description": fields.get("description"),
        "active": _active(item),
        "productCode": fields.get("productCode"),
        "externalId": item.external_id,
        "archivedAt": None,
        "metadata": fields.get("metadata"),
        "productAttributes": [],
        **times(item),
    }
