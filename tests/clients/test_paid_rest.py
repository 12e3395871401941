"""Paid's own Python client, unmodified, against the gateway: what it records stands in the ledger,
what it makes it reads back."""

import datetime
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from decimal import Decimal
from typing import Any

import httpx
import pytest
from paid import (
    ConflictError,
    Cost_Cost,
    Cost_Usage,
    CostOverride,
    CreateOrderLineRequest,
    CustomerByExternalId,
    CustomerById,
    CustomerUnitAttribution,
    ForbiddenError,
    NotFoundError,
    Paid,
    ProductByExternalId,
    ProductById,
    Signal,
    TokenUsage,
)
from paid.core.api_error import ApiError
from paid.errors import BadRequestError

from schemas import codec
from schemas.structs import SignalEntry, UsageEntry
from schemas.topics import SIGNALS, USAGE
from tests.clients.lossy import Lossy
from tests.clients.serving import served
from tests.clients.whole import FREE_UNITS, Target, Whole, fresh

Clients = Callable[..., Paid]


@pytest.fixture
def clients() -> Iterator[Clients]:
    """Makes clients, whose connections are closed when the test ends."""
    with ExitStack() as opened:

        def client_of(target: Target, key: str = "") -> Paid:
            own = opened.enter_context(httpx.Client(timeout=30))
            return Paid(token=key or target.key, base_url=f"{target.url}/api/v2", httpx_client=own)

        yield client_of


@pytest.fixture
def client(clients: Clients, target: Target) -> Paid:
    return clients(target)


@pytest.fixture
def lossy(clients: Clients, target: Target) -> Iterator[tuple[Paid, Lossy]]:
    app = Lossy(target.url)
    with served(app) as url:
        yield clients(Target(url, target.key)), app


def entries(whole: Whole, customer: str, kind: type[Any]) -> list[Any]:
    """What the ledger holds of a customer."""
    whole.installation.wait_consumed()
    return [
        entry
        for part in whole.installation.entries()
        for entry in part
        if isinstance(entry, kind) and entry.customer_id == customer
    ]


def signal(external: str, **more: Any) -> Signal:
    fields: dict[str, Any] = {
        "event_name": "meeting_booked",
        "customer": CustomerByExternalId(external_customer_id=external),
        "attribution": ProductByExternalId(external_product_id="sdr"),
    }
    return Signal(**(fields | more))


def counts(answer: Any) -> tuple[int, int, int]:
    return answer.ingested, answer.duplicates, answer.failed


def test_a_customer_is_made_read_changed_and_erased(
    client: Paid, clients: Clients, beside: Target
) -> None:
    external = fresh("c")
    made = client.customers.create_customer(
        name="Acme", email="a@acme.test", external_id=external, metadata={"tier": "pro", "n": 1.5}
    )
    assert made.id.startswith("cus_")
    assert (made.external_id, made.metadata) == (external, {"tier": "pro", "n": 1.5})
    other = clients(beside)
    assert other.customers.get_customer_by_id(made.id) == made
    assert other.customers.get_customer_by_external_id(external) == made
    changed = other.customers.update_customer_by_external_id(external, name="Acme 2")
    assert (changed.id, changed.name, changed.email) == (made.id, "Acme 2", "a@acme.test")
    assert changed.updated_at > changed.created_at
    listed = client.customers.list_customers(external_id=external, limit=10, offset=0)
    assert (listed.data, listed.pagination.total) == ([changed], 1)
    client.customers.delete_customer_by_id(made.id)
    with pytest.raises(NotFoundError):
        client.customers.get_customer_by_external_id(external)


def test_an_order_of_a_product_is_made_and_activated(client: Paid) -> None:
    customer = client.customers.create_customer(name="Acme", external_id=fresh("c"))
    product = client.products.create_product(name="SDR agent", external_id=fresh("sdr"))
    assert client.products.get_product_by_id(product.id).product_attributes == []
    renamed = client.products.update_product_by_id(product.id, description="books meetings")
    assert (renamed.id, renamed.description) == (product.id, "books meetings")
    order = client.orders.create_order(
        customer_id=customer.id,
        name="O1",
        start_date=datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC),
        currency="USD",
        lines=[CreateOrderLineRequest(product_id=product.id)],
    )
    assert (order.creation_state, order.customer_id) == ("draft", customer.id)
    assert client.orders.activate_order_by_id(order.id).creation_state == "active"
    [line] = client.orders.get_order_lines(order.id).data
    assert (line.product_id, line.name) == (product.id, "SDR agent")
    [found] = client.orders.list_orders(customer_id=customer.id).data
    assert found == client.orders.get_order_by_id(order.id)
    client.orders.delete_order_by_id(order.id)
    with pytest.raises(NotFoundError):
        client.orders.get_order_by_id(order.id)


def test_signals_are_counted_once_and_stand_in_the_ledger(client: Paid, whole: Whole) -> None:
    external = fresh("c")
    customer = client.customers.create_customer(name="Acme", external_id=external)
    product = client.products.create_product(name="SDR agent", external_id=fresh("sdr"))
    now = datetime.datetime.now(datetime.UTC)  # noqa: TID251 - a log refuses what is long ago
    signals = [
        signal(external, event_name="emails_sent", idempotency_key="sig-1", timestamp=now),
        signal(
            external,
            customer=CustomerById(customer_id=customer.id),
            customer_unit=CustomerUnitAttribution(external_customer_unit_id="team-7"),
            attribution=ProductById(product_id=product.id),
            idempotency_key="sig-2",
        ),
        signal(external, customer=CustomerById(customer_id="cus_unknown")),
    ]
    assert counts(client.signals.create_signals(signals=signals)) == (2, 0, 1)
    assert counts(client.signals.create_signals(signals=signals)) == (0, 2, 1)
    first, second = entries(whole, external, SignalEntry)
    assert (first.signal_name, first.agent_id) == ("emails_sent", "sdr")
    assert (second.signal_name, second.agent_id) == ("meeting_booked", product.external_id)


def test_a_cost_by_hand_stands_beside_its_signal(client: Paid, whole: Whole) -> None:
    customer = fresh("c")
    amount = {"vendor": "any", "cost": {"amount": 0.1 + 0.2, "currency": "USD"}}
    tokens = {
        "gen_ai.response.model": "small",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 300,
        "gen_ai.usage.cached_input_tokens": 600,
    }
    told = client.signals.create_signals(
        signals=[
            signal(customer, data={"costData": amount}, idempotency_key="a"),
            signal(
                customer,
                data={"costData": {"vendor": "lab", "attributes": tokens}},
                idempotency_key="b",
            ),
        ]
    )
    assert counts(told) == (2, 0, 0)
    by_hand, priced = entries(whole, customer, UsageEntry)
    assert (by_hand.cost, by_hand.cost_basis) == ("0.3", "reported")
    # 3, 0.3 and 15 dollars for a million: 100 * 3 + 600 * 0.3 + 300 * 15 millionths.
    assert (Decimal(priced.cost), priced.cost_basis) == (Decimal("0.00498"), "priced")
    claims = {one.event_id: one for one in _records(whole, customer, SIGNALS.name)}
    costs = {one.event_id: one for one in _records(whole, customer, USAGE.name)}
    assert claims.keys() == costs.keys() == {"a", "b"}
    assert all(claims[key].trace_id == costs[key].trace_id == f"signal:{key}" for key in "ab")


def _records(whole: Whole, customer: str, topic: str) -> list[Any]:
    decode = codec.decode_usage if topic == USAGE.name else codec.decode_signal
    found = [decode(r.value) for part in whole.installation.read(topic) for r in part]
    return [record for record in found if record.customer_id == customer]


def test_costs_are_charged_to_the_pico_dollar(client: Paid, whole: Whole) -> None:
    customer = fresh("c")
    who = CustomerByExternalId(external_customer_id=customer)
    usage = TokenUsage(
        input_tokens=410,
        output_tokens=222,
        cache_read_input_tokens=3000,
        reasoning_output_tokens=22,
    )
    told = client.costs.create_costs(
        costs=[
            Cost_Cost(
                customer=who,
                product=ProductByExternalId(external_product_id="sdr"),
                metadata={"run": "r1"},
                amount=1.25,
                currency="USD",
                vendor="openai",
                model="gpt-4o",
            ),
            Cost_Usage(customer=who, vendor="lab", model="small", usage=usage),
            Cost_Usage(
                customer=who,
                vendor="lab",
                model="small",
                usage=usage,
                cost_override=CostOverride(amount=0.000001, currency="USD"),
            ),
        ]
    )
    assert (told.ingested, told.duplicates) == (3, 0)
    found = entries(whole, customer, UsageEntry)
    # 410 * 3 + 3,000 * 0.3 + 222 * 15 millionths of a dollar, of reasoning as of other output.
    assert sorted(Decimal(one.cost) for one in found) == [
        Decimal("0.000001"),
        Decimal("0.00546"),
        Decimal("1.25"),
    ]


def test_one_wrong_cost_refuses_all_of_them(client: Paid, whole: Whole) -> None:
    customer = fresh("c")
    who = CustomerByExternalId(external_customer_id=customer)
    good = Cost_Cost(customer=who, amount=1, currency="USD")
    wrong = Cost_Cost(customer=CustomerById(customer_id="cus_no"), amount=1, currency="USD")
    with pytest.raises(BadRequestError) as refused:
        client.costs.create_costs(costs=[good, wrong])
    assert refused.value.body["details"] == "costs.1"
    assert entries(whole, customer, UsageEntry) == []


def test_credits_are_what_is_left_of_the_grants(client: Paid) -> None:
    customer = client.customers.create_customer(name="Acme", external_id=fresh("c"))
    client.signals.create_signals(signals=[signal(customer.external_id or "")])
    [units] = client.customers.get_customer_credit_balances(customer.id).data
    assert (units.currency_key, units.available, units.used) == ("unit", FREE_UNITS, 0)


ONCE: list[tuple[str, dict[str, Any], Mapping[str, str]]] = [
    ("a key of its own", {"idempotency_key": "mine"}, {}),
    ("an Idempotency-Key", {}, {"Idempotency-Key": "request-1"}),
    ("a traceparent", {}, {"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01"}),
]


@pytest.mark.parametrize(("fields", "headers"), [one[1:] for one in ONCE], ids=[o[0] for o in ONCE])
def test_an_answer_that_was_lost_costs_nothing_twice(
    lossy: tuple[Paid, Lossy], whole: Whole, fields: dict[str, Any], headers: Mapping[str, str]
) -> None:
    client, app = lossy
    customer, app.losing = fresh("c"), 1
    named = {name: text if name == "traceparent" else fresh(text) for name, text in headers.items()}
    told = client.signals.create_signals(
        signals=[signal(customer, **fields)], request_options={"additional_headers": dict(named)}
    )
    assert len(app.arrived) == 2
    assert counts(told) == (0, 1, 0)
    assert len(entries(whole, customer, SignalEntry)) == 1


def test_without_any_name_a_lost_answer_counts_again_as_the_guide_says(
    lossy: tuple[Paid, Lossy], whole: Whole
) -> None:
    client, app = lossy
    customer, app.losing = fresh("c"), 1
    assert counts(client.signals.create_signals(signals=[signal(customer)])) == (1, 0, 0)
    assert len(entries(whole, customer, SignalEntry)) == 2


def test_a_customer_whose_creation_was_answered_late_is_one(lossy: tuple[Paid, Lossy]) -> None:
    client, app = lossy
    external, app.losing = fresh("c"), 1
    made = client.customers.create_customer(name="Acme", external_id=external)
    assert len(app.arrived) == 2
    assert client.customers.list_customers(external_id=external).data == [made]
    with pytest.raises(BadRequestError) as refused:
        client.customers.create_customer(name="Another", external_id=external)
    assert refused.value.body["code"] == "CONFLICT"
    # Said as a 409 the client would have sent it three times.
    assert not isinstance(refused.value, ConflictError)


def test_a_client_that_is_too_fast_waits_and_goes_on(
    clients: Clients, target: Target, whole: Whole
) -> None:
    client, customer = clients(target, whole.keys.busy), fresh("c")
    sent = [signal(customer)]
    told = [client.signals.create_signals(signals=sent) for _ in range(3)]
    assert [counts(one) for one in told] == [(1, 0, 0)] * 3


def test_a_key_that_does_not_count_is_said_in_words_that_the_client_raises(
    clients: Clients, target: Target, whole: Whole
) -> None:
    with pytest.raises(ApiError) as refused:
        clients(target, "paid_key").customers.list_customers()
    assert (refused.value.status_code, refused.value.body["code"]) == (401, "UNAUTHORIZED")
    with pytest.raises(ForbiddenError) as forbidden:
        clients(target, whole.keys.ingest).customers.create_customer(name="Acme")
    assert forbidden.value.body["code"] == "SCOPE_MISSING"
