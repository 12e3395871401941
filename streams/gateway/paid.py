"""Paid's REST API under `/api/v2` (and of `/api/v1` the signals), as far as its clients need it to
record what was sold.

paid-python and @paid-ai/paid-node work unmodified: paths, names, required fields and the form of
errors are theirs (docs/paid.md). Spans come over OTLP, not here.
"""

from functools import partial
from typing import Any, Final

from pydantic import BaseModel

from streams.gateway import paid_answers as answers
from streams.gateway import paid_bodies as bodies
from streams.gateway import paid_bulk, paid_customers, paid_orders, paid_products
from streams.gateway.events import EVENTS_BYTES_MAX
from streams.gateway.paid_pages import PAGE_PARAMETERS
from streams.gateway.ports import Scope
from streams.gateway.problems import ProblemError, problem_headers
from streams.gateway.replies import Response, json_response
from streams.gateway.routes import Described, Endpoint, Parameter, Route


def refuse(problem: ProblemError) -> Response:
    """A problem in Paid's form.

    Its clients know no 422, and they try a 409 again, which would change nothing: both are 400.
    """
    status = 400 if problem.status in (409, 422) else problem.status
    told = {"error": problem.detail, "code": problem.code.upper(), "details": problem.field or None}
    return json_response(status, told, problem_headers(problem))


_route: Final = partial(Route, group="paid", refuse=refuse)
_JSON: Final = "application/json"
_BODY: Final = ("malformed", "empty", "too_deep", "invalid_field")
_WRONG: Final = Described("The request is wrong; the code says how", answers.PaidErrorTold)
_CHANGES: Final = ("customer_not_allowed", "not_found", "conflict", "log_unavailable")
_IDEMPOTENCY: Final = Parameter(
    "Idempotency-Key", "header", "The client's own id of the request, the same in every try"
)


def _read(
    path: str,
    endpoint: Endpoint,
    name: str,
    summary: str,
    told: type[BaseModel],
    *parameters: Parameter,
    problems: tuple[str, ...] = (),
) -> Route:
    """A route that shows something."""
    return _route(
        "GET",
        f"/api/v2/{path}",
        endpoint,
        Scope.READ,
        name=name,
        summary=summary,
        answers={200: Described(summary, told), 400: _WRONG},
        problems=("not_found", "customer_not_allowed", *problems),
        parameters=parameters,
    )


def _change(
    method: Any,
    path: str,
    endpoint: Endpoint,
    name: str,
    summary: str,
    told: type[BaseModel],
    body: type[BaseModel] | None = None,
) -> Route:
    """A route that changes the catalogue."""
    return _route(
        method,
        f"/api/v2/{path}",
        endpoint,
        Scope.ADMIN,
        name=name,
        summary=summary,
        accepts={} if body is None else {_JSON: body},
        answers={200: Described(summary, told), 400: _WRONG},
        problems=(*(() if body is None else _BODY), *_CHANGES),
        parameters=(_IDEMPOTENCY,) if method == "POST" and body is not None else (),
    )


def _bulk(
    path: str,
    endpoint: Endpoint,
    name: str,
    what: str,
    body: type[BaseModel],
    told: type[BaseModel],
) -> Route:
    return _route(
        "POST",
        path,
        endpoint,
        Scope.INGEST,
        name=name,
        summary=f"Append {what}: up to {paid_bulk.ITEMS_MAX}",
        accepts={_JSON: body},
        answers={200: Described("They are in the log", told), 400: _WRONG},
        problems=(*_BODY, "too_many_items", "customer_not_allowed", "log_unavailable"),
        parameters=(
            _IDEMPOTENCY,
            Parameter("traceparent", "header", "Names the request where no key does"),
        ),
        body_bytes_max=EVENTS_BYTES_MAX,
    )


_CUSTOMER: Final = "customers/{id}"
_EXTERNAL: Final = "customers/external/{external_id*}"
_OWNER_PROBLEMS: Final = ("not_mine", "not_ready", "lagging", "unknown_outcome", "invalid_field")

_CUSTOMERS: Final = (
    _read(
        "customers/",
        paid_customers.list_customers,
        "paidListCustomers",
        "Customers, the newest first",
        answers.CustomersTold,
        *PAGE_PARAMETERS,
        Parameter("name", "query", "Anywhere in the name"),
        Parameter("status", "query", "`active` or `churned`"),
        Parameter("creationState", "query", "`active` or `draft`"),
        Parameter("externalId", "query", "The vendor's own id"),
    ),
    _change(
        "POST",
        "customers/",
        paid_customers.create_customer,
        "paidCreateCustomer",
        "A new customer",
        answers.CustomerTold,
        bodies.CustomerBody,
    ),
    *(
        route
        for suffix, path in (("ByExternalId", _EXTERNAL), ("", _CUSTOMER))
        for route in (
            _read(
                f"{path}/credits/balances",
                paid_customers.get_credits,
                f"paidCreditBalances{suffix}",
                "What a customer has left of its grants",
                answers.CreditBalancesTold,
                problems=_OWNER_PROBLEMS,
            ),
            _read(
                path,
                paid_customers.get_customer,
                f"paidGetCustomer{suffix}",
                "A customer",
                answers.CustomerTold,
            ),
            _change(
                "PUT",
                path,
                paid_customers.update_customer,
                f"paidUpdateCustomer{suffix}",
                "Change a customer",
                answers.CustomerTold,
                bodies.CustomerChange,
            ),
            _change(
                "DELETE",
                path,
                paid_customers.delete_customer,
                f"paidDeleteCustomer{suffix}",
                "Erase what is known of a customer",
                answers.NothingTold,
            ),
        )
    ),
)

_PRODUCTS: Final = (
    _read(
        "products/",
        paid_products.list_products,
        "paidListProducts",
        "Products, the newest first",
        answers.ProductsTold,
        *PAGE_PARAMETERS,
        Parameter("name", "query", "Anywhere in the name"),
        Parameter("active", "query", "`true` or `false`"),
    ),
    _change(
        "POST",
        "products/",
        paid_products.create_product,
        "paidCreateProduct",
        "A new product",
        answers.ProductTold,
        bodies.ProductBody,
    ),
    *(
        route
        for suffix, path in (
            ("ByExternalId", "products/external/{external_id*}"),
            ("", "products/{id}"),
        )
        for route in (
            _read(
                path,
                paid_products.get_product,
                f"paidGetProduct{suffix}",
                "A product",
                answers.ProductTold,
            ),
            _change(
                "PUT",
                path,
                paid_products.update_product,
                f"paidUpdateProduct{suffix}",
                "Change a product",
                answers.ProductTold,
                bodies.ProductChange,
            ),
        )
    ),
)

_ORDERS: Final = (
    _read(
        "orders/",
        paid_orders.list_orders,
        "paidListOrders",
        "Orders, the newest first",
        answers.OrdersTold,
        *PAGE_PARAMETERS,
        Parameter("customerId", "query", "Of this customer"),
        Parameter("externalCustomerId", "query", "Of this customer, by the vendor's own id"),
        Parameter("externalId", "query", "The vendor's own id"),
        Parameter("creationState", "query", "`active` or `draft`"),
    ),
    _change(
        "POST",
        "orders/",
        paid_orders.create_order,
        "paidCreateOrder",
        "A new order",
        answers.OrderTold,
        bodies.OrderBody,
    ),
    _change(
        "POST",
        "orders/{id}/activate",
        paid_orders.activate_order,
        "paidActivateOrder",
        "Make a draft an order",
        answers.OrderTold,
    ),
    _read(
        "orders/{id}/lines",
        paid_orders.get_lines,
        "paidOrderLines",
        "The products of an order",
        answers.LinesTold,
    ),
    _read("orders/{id}", paid_orders.get_order, "paidGetOrder", "An order", answers.OrderTold),
    _change(
        "PUT",
        "orders/{id}",
        paid_orders.update_order,
        "paidUpdateOrder",
        "Change an order",
        answers.OrderTold,
        bodies.OrderChange,
    ),
    _change(
        "DELETE",
        "orders/{id}",
        paid_orders.delete_order,
        "paidDeleteOrder",
        "Take an order away",
        answers.NothingTold,
    ),
)

ROUTES: Final[tuple[Route, ...]] = (
    _bulk(
        "/api/v2/signals/bulk",
        paid_bulk.post_signals,
        "paidSignals",
        "signals",
        bodies.SignalsBody,
        answers.SignalsTold,
    ),
    _bulk(
        "/api/v2/costs/bulk",
        paid_bulk.post_costs,
        "paidCosts",
        "costs",
        bodies.CostsBody,
        answers.CostsTold,
    ),
    *(
        _bulk(
            f"/api/v1/usage/{version}signals/bulk",
            paid_bulk.post_earlier_signals,
            name,
            "signals, from clients before 1.0",
            bodies.EarlierSignalsBody,
            answers.SignalsTold,
        )
        for version, name in (("", "paidEarlierSignals"), ("v2/", "paidEarlierSignalsV2"))
    ),
    *_CUSTOMERS,
    *_PRODUCTS,
    *_ORDERS,
)
"""The protocol, for the application and the description of it."""
