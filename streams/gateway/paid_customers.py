"""Paid's customers: who is billed, under the account that their externalId names."""

from typing import Any, Final

import schemas.rpc as rpc
from schemas.money import parse_signed_amount
from schemas.structs import CatalogueItem
from streams.gateway.accounts import look_up
from streams.gateway.decimals import encode_with_dollars
from streams.gateway.paid_bodies import CustomerBody, CustomerChange, read_fields
from streams.gateway.paid_catalogue import ledger_id
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

CURRENCY: Final = "USD"
"""Of a customer of whom none was said."""


async def list_customers(services: Services, request: Request) -> Response:
    """The customers that are there, the newest first."""
    request.caller.require_unbound()
    query = request.query

    def fits(item: CatalogueItem) -> bool:
        return matches(item, query, ("creationState",)) and query.get("status") in (
            *(None, ""),
            _status(item),
        )

    filtered = asked(query, "name", "status", "creationState")
    items, pagination = await page(services, request, "customer", fits if filtered else None)
    return json_response(200, {"data": [told(item) for item in items], "pagination": pagination})


async def create_customer(services: Services, request: Request) -> Response:
    """A new customer. Under an externalId that is there already, the same one."""
    body, fields = read_fields(CustomerBody, request.body)
    if body.external_id is None:
        request.caller.require_unbound()
    else:
        request.caller.require_customer(body.external_id)
    fields = {"creationState": "active", **fields}
    item = await create(services, request, "customer", body.external_id, fields)
    return json_response(200, told(item))


async def get_customer(services: Services, request: Request) -> Response:
    """A customer."""
    return json_response(200, told(await _customer(services, request)))


async def update_customer(services: Services, request: Request) -> Response:
    """Changes what is said; the rest stays."""
    _, fields = read_fields(CustomerChange, request.body)
    item = await _customer(services, request)
    return json_response(200, told(await change(services, item, fields, keeps_name=True)))


async def delete_customer(services: Services, request: Request) -> Response:
    """Erases what is known of a customer but its ids; its account stays in the ledger."""
    item = await _customer(services, request)
    await catalogue(services).delete(item, services.now_us())
    return json_response(200, {})


async def get_credits(services: Services, request: Request) -> Response:
    """What a customer was granted and has left, by denomination."""
    item = await _customer(services, request)
    account = await look_up(services, rpc.LookupAsk("customer", ledger_id(item)))
    rows = [_credits(balance) for balance in account.balances if balance.available is not None]
    return Response(200, b'{"data":[' + b",".join(rows) + b"]}")


async def _customer(services: Services, request: Request) -> CatalogueItem:
    """The customer that a path names, by either id."""
    if "external_id" in request.params:
        external_id = external_id_of(request)
        request.caller.require_customer(external_id)
        return await catalogue(services).find("customer", external_id)
    item = await catalogue(services).get("customer", request.params["id"])
    request.caller.require_customer(ledger_id(item))
    return item


def _status(item: CatalogueItem) -> str:
    return "churned" if item.fields.get("churnDate") else "active"


def told(item: CatalogueItem) -> dict[str, Any]:
    """A `CustomerTold`."""
    fields = item.fields
    texts = {name: fields.get(name) or "" for name in ("name", "email", "phone", "website")}
    given = ("legalName", "billingAddress", "churnDate", "vatNumber", "metadata")
    return {
        "id": item.id,
        **texts,
        **{name: fields.get(name) for name in given},
        "externalId": item.external_id,
        "creationState": fields.get("creationState") or "active",
        "status": _status(item),
        "defaultCurrency": (fields.get("defaultCurrency") or CURRENCY).upper(),
        "connections": {},
        **times(item),
    }


def _credits(balance: rpc.BalanceTold) -> bytes:
    """A `CreditBalanceTold`: its amounts are written as numbers, digit by digit."""
    available = parse_signed_amount(balance.available or "0")
    held, used = parse_signed_amount(balance.held), parse_signed_amount(balance.used)
    kind = balance.denomination
    fields = {
        "creditsCurrencyId": f"cc_{kind}",
        "currencyName": kind,
        "currencyKey": kind,
        "recipient": "organization",
        "grants": [],
    }
    amounts = {"available": available, "used": used, "total": available + held + used}
    return encode_with_dollars(fields, dict(amounts))
