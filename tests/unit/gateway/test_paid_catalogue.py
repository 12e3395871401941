"""Paid's customers, products and orders over a topic in memory."""

from typing import Any

import pytest

import schemas.rpc as rpc
from schemas import codec
from streams.gateway.paid import ROUTES
from streams.gateway.paid_catalogue import CatalogueView
from streams.gateway.ports import Caller, Scope
from tests.gateway_fakes import Answer, World, account

API = "/api/v2"


@pytest.fixture
def world() -> World:
    return World(ROUTES)


async def made(
    world: World, what: str, headers: dict[str, str] | None = None, **fields: Any
) -> Any:
    answer = await world.call("POST", f"{API}/{what}/", fields, headers)
    assert answer.status == 200, answer.json
    return answer.json


async def get(world: World, path: str) -> Answer:
    return await world.call("GET", f"{API}/{path}")


async def test_a_customer_is_answered_with_every_field_that_its_client_requires(
    world: World,
) -> None:
    told = await made(
        world, "customers", name="Acme", externalId="acme-inc", metadata={"tier": "pro", "n": 1.5}
    )
    assert told["id"].startswith("cus_")
    assert told == {
        "id": told["id"],
        "name": "Acme",
        "externalId": "acme-inc",
        "email": "",
        "phone": "",
        "website": "",
        "status": "active",
        "creationState": "active",
        **dict.fromkeys(("legalName", "billingAddress", "churnDate", "vatNumber")),
        "metadata": {"tier": "pro", "n": 1.5},
        "defaultCurrency": "USD",
        "connections": {},
        **dict.fromkeys(("createdAt", "updatedAt"), "2027-01-15T08:00:00.000000Z"),
    }
    for path in (f"customers/{told['id']}", "customers/external/acme-inc"):
        assert (await get(world, path)).json == told


async def test_a_change_replaces_what_it_says_and_null_takes_back(world: World) -> None:
    await made(world, "customers", name="Acme", externalId="acme", phone="1", email="a@b.c")
    change = {"name": "Acme 2", "phone": None, "billingAddress": {"city": "Bern", "line2": None}}
    path = f"{API}/customers/external/acme"
    told = (await world.call("PUT", path, change)).json
    assert (told["name"], told["phone"], told["email"]) == ("Acme 2", "", "a@b.c")
    assert told["billingAddress"] == {"city": "Bern"}
    assert (await get(world, "customers/external/acme")).json == told
    # Said again, as a client does that had no answer, it is no other version.
    records = len(world.catalogue_log.records)
    assert (await world.call("PUT", path, change)).json == told
    assert len(world.catalogue_log.records) == records


async def test_what_is_not_there_is_404_in_the_form_that_the_client_reads(world: World) -> None:
    answer = await get(world, "customers/external/missing")
    assert answer.status == 404
    assert answer.json == {"error": "Customer not found", "code": "NOT_FOUND", "details": None}
    product = await made(world, "products", name="SDR")
    assert (await get(world, f"customers/{product['id']}")).status == 404


async def test_what_another_gateway_made_is_found(world: World) -> None:
    other = World(ROUTES)
    told = await made(other, "customers", name="Acme", externalId="acme")
    world.catalogue_log.unread = [value for _, value in other.catalogue_log.records]
    assert (await get(world, f"customers/{told['id']}")).json == told


async def test_a_customer_made_twice_is_one_and_never_silently_another(world: World) -> None:
    first = await made(world, "customers", name="Acme", externalId="acme")
    assert await made(world, "customers", name="Acme", externalId="acme") == first
    answer = await world.call(
        "POST", f"{API}/customers/", {"name": "Another", "externalId": "acme"}
    )
    # A 409 would only be sent again.
    assert (answer.status, answer.json["code"]) == (400, "CONFLICT")
    assert await made(world, "customers", name="Acme") != await made(
        world, "customers", name="Acme"
    )


@pytest.mark.parametrize("header", ["idempotency-key", "traceparent"])
async def test_a_request_with_a_name_makes_one_order(world: World, header: str) -> None:
    customer = await made(world, "customers", name="Acme")
    named = {header: "00-" + "a" * 32 + "-" + "b" * 16 + "-01"}
    first = await made(world, "orders", named, customerId=customer["id"])
    assert await made(world, "orders", named, customerId=customer["id"]) == first
    assert await made(world, "orders", customerId=customer["id"]) != first


async def test_a_create_that_was_not_acknowledged_makes_one_when_it_comes_again(
    world: World,
) -> None:
    world.catalogue_log.losing = True
    refused = await world.call("POST", f"{API}/customers/", {"name": "Acme"})
    assert (refused.status, refused.json["code"]) == (503, "LOG_UNAVAILABLE")
    assert int(refused.headers["retry-after"]) >= 1
    world.catalogue_log.losing = False
    told = await made(world, "customers", name="Acme")
    listed = (await get(world, "customers/")).json
    assert listed["data"] == [told]
    # An answer has ended that: the next is another customer.
    assert await made(world, "customers", name="Acme") != told


@pytest.mark.parametrize(
    ("what", "path"), [("customers", "customers/{}"), ("products", "products/{}")]
)
async def test_an_external_id_is_for_life(world: World, what: str, path: str) -> None:
    told = await made(world, what, name="A", externalId="a")
    for item, external in ((told, "b"), (await made(world, what, name="B"), "b")):
        answer = await world.call(
            "PUT", f"{API}/{path.format(item['id'])}", {"externalId": external}
        )
        assert (answer.status, answer.json["details"]) == (400, "externalId")
    same = await world.call("PUT", f"{API}/{path.format(told['id'])}", {"externalId": "a"})
    assert same.json["externalId"] == "a"


async def test_a_deletion_erases_everything_but_the_ids(world: World) -> None:
    told = await made(world, "customers", name="Jo Doe", externalId="jo", email="jo@example.org")
    assert (await world.call("DELETE", f"{API}/customers/{told['id']}")).json == {}
    assert (await get(world, "customers/external/jo")).status == 404
    assert (await get(world, "customers/")).json["data"] == []
    key, value = world.catalogue_log.records[-1]
    item = codec.decode_catalogue_item(value)
    # The same key as before: compaction takes what stood there away.
    assert key == world.catalogue_log.records[0][0] == f"customer/{told['id']}".encode()
    assert (item.fields, item.external_id, item.deleted) == ({}, "jo", True)
    assert b"Doe" not in value
    again = await made(world, "customers", name="Jo again", externalId="jo")
    assert again["id"] == told["id"]


async def test_lists_are_paged_and_filtered_newest_first(world: World) -> None:
    for number in range(5):
        await made(world, "customers", name=f"Customer {number}", externalId=f"c{number}")
    await made(world, "customers", name="Gone", churnDate="2026-01-01T00:00:00Z")
    answer = (await get(world, "customers/?limit=2&offset=1&status=active")).json
    assert len(answer["data"]) == 2
    assert answer["pagination"] == {"limit": 2, "offset": 1, "total": 5, "hasMore": True}
    assert (await get(world, "customers/?status=churned")).json["pagination"]["total"] == 1
    assert (await get(world, "customers/?name=OMER%203")).json["data"][0]["externalId"] == "c3"
    assert (await get(world, "customers/?externalId=c4")).json["pagination"]["total"] == 1
    assert (await get(world, "customers/?limit=5000")).json["pagination"]["limit"] == 100
    assert (await get(world, "customers/?limit=many")).status == 400
    pages = [(await get(world, f"customers/?limit=4&offset={at}")).json for at in (0, 4, 8)]
    assert [len(page["data"]) for page in pages] == [4, 2, 0]
    assert [page["pagination"]["hasMore"] for page in pages] == [True, False, False]
    everything = [row["id"] for page in pages for row in page["data"]]
    scanned = (await get(world, "customers/?name=o")).json["data"]
    assert everything == [row["id"] for row in scanned]


async def test_an_order_is_activated_and_told_with_its_lines(world: World) -> None:
    customer = await made(world, "customers", name="Acme", externalId="acme")
    product = await made(world, "products", name="SDR agent", externalId="sdr")
    order = await made(
        world,
        "orders",
        customerId=customer["id"],
        name="O1",
        startDate="2025-01-01T00:00:00Z",
        currency="USD",
        lines=[{"productId": product["id"]}],
    )
    assert order["id"].startswith("ord_")
    assert (order["number"], order["creationState"], order["version"]) == (1, "draft", 1)
    assert order["totalAmount"] == order["billedTax"] == 0
    active = (await world.call("POST", f"{API}/orders/{order['id']}/activate")).json
    assert (active["creationState"], active["version"]) == ("active", 2)
    lines = (await get(world, f"orders/{order['id']}/lines")).json
    assert lines["data"][0]["productId"] == product["id"]
    assert lines["data"][0]["name"] == "SDR agent"
    assert lines["data"][0]["startDate"] == "2025-01-01T00:00:00Z"
    second = await made(world, "orders", customerId=customer["id"])
    assert second["number"] == 2
    found = (await get(world, "orders/?externalCustomerId=acme&creationState=active")).json
    assert [row["id"] for row in found["data"]] == [order["id"]]
    assert (await world.call("DELETE", f"{API}/orders/{order['id']}")).json == {}
    assert (await get(world, f"orders/{order['id']}")).status == 404


@pytest.mark.parametrize(
    "fields", [{"customerId": "cus_missing"}, {"lines": [{"productId": "prod_missing"}]}]
)
async def test_an_order_of_what_is_not_there_is_not_made(
    world: World, fields: dict[str, Any]
) -> None:
    customer = await made(world, "customers", name="Acme")
    answer = await world.call("POST", f"{API}/orders/", {"customerId": customer["id"]} | fields)
    assert answer.status == 404
    assert (await get(world, "orders/")).json["data"] == []


async def test_credits_are_the_balances_of_the_ledger(world: World) -> None:
    balances = [
        rpc.BalanceTold("unit", "90", "4", "6"),
        rpc.BalanceTold("token", None, "0", "7"),
        rpc.BalanceTold("usd", "1.000000000001", "0", "0.5"),
    ]
    world.owners.otherwise = lambda _partition, ask: account(
        account_id=ask.account_id, balances=balances
    )
    await made(world, "customers", name="Acme", externalId="acme")
    answer = await get(world, "customers/external/acme/credits/balances")
    [units, dollars] = answer.json["data"]
    assert (units["currencyKey"], units["available"], units["used"]) == ("unit", 90, 6)
    assert units["total"] == 100
    assert b'"available":1.000000000001,' in answer.body
    assert dollars["recipient"] == "organization"
    assert world.owners.asks == [rpc.LookupAsk("customer", "acme")]


async def test_a_bound_key_sees_its_own_customer_and_no_list(world: World) -> None:
    await made(world, "customers", name="Mine", externalId="mine")
    theirs = await made(world, "customers", name="Theirs", externalId="theirs")
    world.keys.caller = Caller("k2", frozenset(Scope), frozenset({"mine"}))
    assert (await get(world, "customers/external/mine")).status == 200
    for path in (f"customers/{theirs['id']}", "customers/external/theirs", "customers/", "orders/"):
        answer = await get(world, path)
        assert (answer.status, answer.json["code"]) == (403, "CUSTOMER_NOT_ALLOWED"), path


async def test_a_key_for_recording_changes_no_catalogue(world: World) -> None:
    world.keys.caller = Caller("k2", frozenset({Scope.INGEST, Scope.READ}))
    answer = await world.call("POST", f"{API}/customers/", {"name": "Acme"})
    assert (answer.status, answer.json["code"]) == (403, "SCOPE_MISSING")


@pytest.mark.parametrize(
    "body",
    [
        {"email": "nameless"},
        {"name": ""},
        {"name": "A", "externalId": "x" * 200},
        {"name": "A", "externalId": "\0x"},
        {"name": "A", "churnDate": "yesterday"},
        {"name": "A", "metadata": {"text": "\ud800"}},
    ],
)
async def test_what_no_customer_can_be_is_400(world: World, body: Any) -> None:
    answer = await world.call("POST", f"{API}/customers/", body)
    assert answer.status == 400, answer.json
    assert world.catalogue_log.records == []


async def test_a_view_is_the_same_after_compaction(world: World) -> None:
    first = await made(world, "customers", name="One", externalId="one")
    await made(world, "customers", name="Two", externalId="two")
    await world.call("PUT", f"{API}/customers/{first['id']}", {"name": "One again"})
    await world.call("DELETE", f"{API}/customers/external/two")
    compacted = CatalogueView()
    for value in dict(world.catalogue_log.records).values():
        compacted.fold(value)
    assert compacted == world.catalogue_log.view
