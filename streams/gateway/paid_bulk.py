"""Paid's `signals/bulk` and `costs/bulk`: into the log, answered by what their cycles made of them.

A request is answered when all of its records are acknowledged; where one is not, the client is told
to send it again, and what arrived counts once. Which of them were known already is said by their
committed entries, where there are few enough to ask for (R1).
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import schemas.rpc as rpc
from streams.gateway.decimals import parse_numbers
from streams.gateway.paid_bodies import CostsBody, SignalBody, What, Who, checked
from streams.gateway.paid_catalogue import ledger_id
from streams.gateway.paid_identity import Named, identity, named
from streams.gateway.paid_pages import catalogue
from streams.gateway.paid_usage import Record, Said, cost_record, signal_records
from streams.gateway.ports import Appended, AuthError
from streams.gateway.problems import ProblemError
from streams.gateway.replies import Response, json_response
from streams.gateway.routes import Request
from streams.gateway.services import Services
from streams.metrics import GATEWAY_APPENDED, GATEWAY_PROBLEMS

ITEMS_MAX: Final = 1_000
"""Signals or costs of one request."""

TOLD_MAX: Final = 250
"""Of a request with more of them the answer does not wait for their cycles, each of which is asked
for by itself: all are then counted as ingested."""

TURN: Final = 50
"""Items that are read before others get their turn: two milliseconds of work."""


async def post_signals(services: Services, request: Request) -> Response:
    """Outcomes: each is taken or failed on its own."""
    return await _post(services, request, _items(request, "signals"))


async def post_earlier_signals(services: Services, request: Request) -> Response:
    """The same from clients before 1.0, whose fields have other names."""
    items = _items(request, "signals")
    return await _post(services, request, [_renamed(item) for item in items])


async def _post(services: Services, request: Request, items: Sequence[Any]) -> Response:
    name = named(services, request)
    taken: list[list[Record]] = []
    failed = 0
    for index, item in enumerate(items):
        if index % TURN == TURN - 1:
            await asyncio.sleep(0)
        try:
            taken.append(await _signal(services, request, name, index, item))
        except ProblemError as problem:
            services.metrics.add(GATEWAY_PROBLEMS, problem.code)
            failed += 1
    counts = await _append(services, name, taken)
    return json_response(200, _told(counts, failed))


def _renamed(item: Any) -> Any:
    """A signal of an earlier client as one of today. Its `customer_id` is the vendor's own id where
    the client names agents, Paid's where it names products."""
    if not isinstance(item, dict):
        return item
    with_agents = not item.keys() & {"product_id", "external_product_id"}
    own, paid_s = item.get("external_customer_id"), item.get("internal_customer_id")
    if with_agents and own is None and paid_s is None:
        own = item.get("customer_id")
    elif paid_s is None:
        paid_s = item.get("customer_id")
    customer = {"externalCustomerId": own, "customerId": paid_s}
    attribution = {
        "externalProductId": item.get("external_product_id") or item.get("external_agent_id"),
        "productId": item.get("product_id") or item.get("agent_id"),
    }
    return {
        "eventName": item.get("event_name"),
        "customer": customer,
        "attribution": attribution,
        "data": item.get("data"),
        "idempotencyKey": item.get("idempotency_key"),
    }


async def _signal(
    services: Services, request: Request, name: Named, index: int, item: Any
) -> list[Record]:
    body = checked(SignalBody, item)
    said = await _said(
        services,
        request,
        body.customer,
        body.attribution,
        identity(item, body.content, name, index),
    )
    return signal_records(body, said)


async def post_costs(services: Services, request: Request) -> Response:
    """Costs: all of them are taken, or none where one is wrong."""
    items = _items(request, "costs")
    name = named(services, request)
    body = checked(CostsBody, {"costs": items})
    taken: list[list[Record]] = []
    for index, (item, cost) in enumerate(zip(items, body.costs, strict=True)):
        if index % TURN == TURN - 1:
            await asyncio.sleep(0)
        known_by = identity(item, cost.metadata, name, index)
        try:
            said = await _said(services, request, cost.customer, cost.product, known_by)
            taken.append([cost_record(cost, said)])
        except ProblemError as problem:
            place = f"costs.{index}"
            raise ProblemError(
                "invalid_field", f"{place}: {problem.detail}", field=place
            ) from problem
    return json_response(200, _told(await _append(services, name, taken), 0))


def _items(request: Request, field: str) -> list[Any]:
    items = parse_numbers(request.body).get(field)
    if not isinstance(items, list) or not items:
        raise ProblemError("invalid_field", f"{field}: a list of at least one", field=field)
    if len(items) > ITEMS_MAX:
        raise ProblemError("too_many_items", f"one request may have {ITEMS_MAX} {field}")
    return items


async def _said(
    services: Services, request: Request, who: Who, what: What | None, known_by: tuple[str, str]
) -> Said:
    """Whom an item concerns, by the catalogue where it is named by Paid's id."""
    if who.external_customer_id is not None:
        customer_id = who.external_customer_id
    elif who.customer_id is not None:
        customer_id = await _account(services, who.customer_id)
    else:
        raise ProblemError(
            "invalid_field", "customer: customerId or externalCustomerId", field="customer"
        )
    try:
        request.caller.require_customer(customer_id)
    except AuthError as error:
        raise ProblemError(error.code, error.message, field="customer") from None
    return Said(customer_id, _agent(services, what), *known_by)


async def _account(services: Services, customer_id: str) -> str:
    """The account of a customer, also of one that was erased: what it used still counts."""
    kept = catalogue(services)
    item = kept.view.get("customer", customer_id)
    if item is None:
        await kept.catch_up()
        item = kept.view.get("customer", customer_id)
    if item is None:
        raise ProblemError("not_found", "there is no customer of this customerId")
    return ledger_id(item)


def _agent(services: Services, what: What | None) -> str | None:
    """The agent that a product is; one that nobody knows goes by the id that was given."""
    if what is None or what.external_product_id is not None:
        return None if what is None else what.external_product_id
    if what.product_id is None:
        return None
    item = catalogue(services).view.get("product", what.product_id)
    return what.product_id if item is None else ledger_id(item)


async def _append(
    services: Services, name: Named, items: Sequence[Sequence[Record]]
) -> "Counter[str]":
    """How many items became what: accepted, duplicate, refused, or undecided.

    Raises ProblemError `log_unavailable` unless every record is acknowledged.
    """
    records = [record for parts in items for record in parts]
    try:
        places = await _places(services, records)
    except ProblemError:
        name.failed()
        raise
    firsts, at = [], 0
    for parts in items:
        firsts.append((parts[0], places[at]))
        at += len(parts)
    if len(firsts) > TOLD_MAX:
        return Counter(undecided=len(firsts))
    told = await asyncio.gather(*(_outcome(services, *first) for first in firsts))
    return Counter(told)


async def _places(services: Services, records: Sequence[Record]) -> list[Appended]:
    places: dict[int, Appended] = {}
    lost = False
    for topic in dict.fromkeys(topic for topic, _, _ in records):
        chosen = [index for index, record in enumerate(records) if record[0] == topic]
        found = await services.asking.append(
            topic, [(records[index][1].encode(), records[index][2]) for index in chosen]
        )
        for index, place in zip(chosen, found, strict=True):
            if place is None:
                lost = True
            else:
                places[index] = place
        services.metrics.add(GATEWAY_APPENDED, topic, by=sum(place is not None for place in found))
    if lost:
        raise ProblemError(
            "log_unavailable", "the log did not acknowledge every record; send them all again"
        )
    return [places[index] for index in range(len(records))]


async def _outcome(services: Services, record: Record, place: Appended) -> str:
    """What a record became. A conflict is known by its id and so a duplicate to these clients; it
    stands among the dead letters."""
    topic, customer_id, _ = record
    ask = rpc.AwaitAsk("customer", customer_id, topic, place.offset, 0)
    answer = await services.asking.ask(ask, services.record_seconds)
    if not isinstance(answer, rpc.RecordAnswer):
        return "undecided"
    if answer.status == "refused" and answer.code == "conflict":
        return "duplicate"
    return answer.status


def _told(counts: "Counter[str]", failed: int) -> dict[str, int]:
    return {
        "ingested": counts["accepted"] + counts["undecided"],
        "duplicates": counts["duplicate"],
        "failed": failed + counts["refused"],
    }
