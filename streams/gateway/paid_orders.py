"""Paid's orders: kept and told as they are made. What is invoiced follows from the ledger alone."""

from typing import Any, Final

from schemas.structs import CatalogueItem
from streams.gateway.paid_bodies import OrderBody, OrderChange, read_fields
from streams.gateway.paid_catalogue import Catalogue, ledger_id
from streams.gateway.paid_pages import (
    asked,
    catalogue,
    change,
    create,
    matches,
    page,
    times,
)
from streams.gateway.replies import Response, json_response
from streams.gateway.routes import Request
from streams.gateway.services import Services

NAME: Final = "Order"
"""Of an order that was given none."""

AMOUNTS: Final = (
    "billedAmountNoTax",
    "billedTax",
    "estimatedTax",
    "orderAmount",
    "pendingBillingAmount",
    "totalAmount",
    "totalBilledAmount",
)
"""What Paid computes from its prices of products; 0 here."""


async def list_orders(services: Services, request: Request) -> Response:
    """The orders that are there, the newest first."""
    request.caller.require_unbound()
    kept, query = catalogue(services), request.query
    customer_id = query.get("customerId")
    if query.get("externalCustomerId"):
        customer = kept.view.find("customer", query["externalCustomerId"])
        customer_id = "" if customer is None else customer.id

    def fits(item: CatalogueItem) -> bool:
        of_customer = customer_id is None or customer_id == item.fields.get("customerId")
        return of_customer and matches(item, query, ("creationState",))

    filtered = asked(query, "creationState", "customerId", "externalCustomerId")
    items, pagination = await page(services, request, "order", fits if filtered else None)
    return json_response(200, {"data": [told(item) for item in items], "pagination": pagination})


async def create_order(services: Services, request: Request) -> Response:
    """A new order of a customer that is there. Under an externalId that is there, the same one."""
    body, fields = read_fields(OrderBody, request.body)
    kept = catalogue(services)
    customer = await kept.get("customer", body.customer_id)
    request.caller.require_customer(ledger_id(customer))
    fields = {"creationState": "draft", **fields}
    fields["lines"] = [await _line(kept, line) for line in fields.get("lines") or []]
    item = await create(services, request, "order", body.external_id, fields)
    return json_response(200, told(item))


async def _line(kept: Catalogue, sent: dict[str, Any]) -> dict[str, Any]:
    """A line as it is kept: with the name of its product where it has none of its own."""
    product = await kept.get("product", sent["productId"])
    return {"name": product.fields.get("name") or "", **sent}


async def get_order(services: Services, request: Request) -> Response:
    """An order."""
    return json_response(200, told(await _order(services, request)))


async def update_order(services: Services, request: Request) -> Response:
    """Changes what is said; the rest stays."""
    _, fields = read_fields(OrderChange, request.body)
    item = await _order(services, request)
    return json_response(200, told(await change(services, item, fields)))


async def activate_order(services: Services, request: Request) -> Response:
    """An order that was a draft is one no longer."""
    item = await _order(services, request)
    active = {"creationState": "active"}
    return json_response(
        200, told(await catalogue(services).update(item, active, services.now_us()))
    )


async def delete_order(services: Services, request: Request) -> Response:
    """Takes an order away."""
    item = await _order(services, request)
    await catalogue(services).delete(item, services.now_us())
    return json_response(200, {})


async def get_lines(services: Services, request: Request) -> Response:
    """The products of an order."""
    item = await _order(services, request)
    starts = told(item)["startDate"]
    lines = [
        {
            "id": f"ol_{item.id.removeprefix('ord_')}_{number}",
            "productId": line["productId"],
            "name": line["name"],
            "description": line.get("description"),
            "startDate": line.get("startDate") or starts,
            "endDate": line.get("endDate"),
            "lineType": "STANDARD",
        }
        for number, line in enumerate(item.fields.get("lines", []), 1)
    ]
    total = len(lines)
    pagination = {"limit": max(total, 1), "offset": 0, "total": total, "hasMore": False}
    return json_response(200, {"data": lines, "pagination": pagination})


async def _order(services: Services, request: Request) -> CatalogueItem:
    item = await catalogue(services).get("order", request.params["id"])
    customer = catalogue(services).view.get("customer", item.fields.get("customerId", ""))
    if customer is not None:
        request.caller.require_customer(ledger_id(customer))
    return item


def told(item: CatalogueItem) -> dict[str, Any]:
    """An `OrderTold`."""
    fields = item.fields
    given = ("billingCustomerId", "endDate", "subscriptionTerms", "paymentTerms", "metadata")
    kept = times(item)
    return {
        "id": item.id,
        "customerId": fields.get("customerId", ""),
        "billingContactIds": fields.get("billingContactIds") or [],
        **{name: fields.get(name) for name in given},
        "name": fields.get("name") or NAME,
        "startDate": fields.get("startDate") or kept["createdAt"],
        **dict.fromkeys(AMOUNTS, 0),
        "creationState": fields.get("creationState") or "draft",
        "number": item.number,
        "version": item.version,
        "billingFrequencyOverridden": False,
        **kept,
    }
