"""The chargeTokens protocol, as its callers speak it."""

import re
import secrets
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests

from schemas import codec
from schemas.topics import USAGE
from streams.app.warehouse import clickhouse as connect
from tests.clients.whole import Target, Whole, fresh, get
from tests.embedded_waiting import until

DOCUMENT = Path(__file__).parents[2] / "docs" / "charge-tokens.md"
ROWS_SECONDS = 60.0
"""A sink starts and reads everything that the other tests have left, on a busy machine."""


def charge(target: Target, headers: dict[str, str] | None = None, **changes: Any) -> Any:
    """One operation of 1,200 tokens in and 345 out."""
    body: dict[str, Any] = {
        "flowId": "f1",
        "userId": "u1",
        "inputTokens": 1200,
        "outputTokens": 345,
        "model": "gpt-4o-mini",
        "aiSystem": "openai",
    }
    return requests.post(
        f"{target.url}/worker/charge-tokens",
        json=body | changes,
        headers={"INTERNAL_API_KEY": target.key} | (headers or {}),
        timeout=5,
    )


def used(target: Target, user: str) -> int:
    """Tokens that a user has used."""
    answer = get(target, f"/v1/customers/{user}/budget")
    [tokens] = [one for one in answer.json()["balances"] if one["denomination"] == "token"]
    return int(tokens["used"])


def limit_tokens(target: Target, user: str, amount: int, agent_id: str | None = None) -> None:
    answer = requests.put(
        f"{target.url}/v1/customers/{user}/limits",
        json={"denomination": "token", "amount": str(amount), "agent_id": agent_id},
        headers={"Authorization": f"Bearer {target.key}"},
        timeout=5,
    )
    assert answer.status_code == 200, answer.text


def test_tokens_are_recorded_for_the_user(target: Target) -> None:
    user = fresh("u")
    assert charge(target, userId=user).json() == {"success": True}
    assert used(target, user) == 1_545


@pytest.mark.parametrize(
    "name",
    ["INTERNAL_API_KEY", "Internal_Api_Key", "internal-api-key", "X-Internal-Api-Key"],
)
def test_the_key_may_come_under_every_spelling(target: Target, name: str) -> None:
    body: dict[str, Any] = {"flowId": "f", "userId": fresh("u")}
    body |= {"inputTokens": 1, "outputTokens": 1}
    answer = requests.post(
        f"{target.url}/worker/charge-tokens", json=body, headers={name: target.key}, timeout=5
    )
    assert answer.json() == {"success": True}


def test_a_wrong_key_is_no_success(target: Target) -> None:
    answer = charge(target, {"INTERNAL_API_KEY": "wrong"})
    assert answer.status_code == 401
    assert (answer.json()["success"], answer.json()["code"]) == (False, "unauthorized")


@pytest.mark.parametrize(
    "changes",
    [
        {"inputTokens": -1},
        {"inputTokens": "many"},
        {"outputTokens": None},
        {"userId": ""},
        {"userId": "u" * 129},
        {"flowId": None},
        {"userId": True},
    ],
)
def test_a_wrong_body_is_no_success(target: Target, changes: dict[str, Any]) -> None:
    answer = charge(target, **changes)
    assert answer.status_code == 422
    assert answer.json()["success"] is False


def test_a_user_without_a_limit_is_never_refused(target: Target) -> None:
    user = fresh("u")
    answers = [charge(target, userId=user, inputTokens=10**9).json() for _ in range(3)]
    assert [answer["success"] for answer in answers] == [True] * 3


def test_who_was_over_the_limit_before_is_told_and_recorded_all_the_same(target: Target) -> None:
    user = fresh("u")
    limit_tokens(target, user, 2_000)
    answers = [charge(target, userId=user).json() for _ in range(3)]
    assert [answer["success"] for answer in answers] == [True, True, False]
    assert answers[2]["code"] == "over_limit"
    assert used(target, user) == 3 * 1_545


def test_a_limit_of_one_flow_leaves_the_others_alone(target: Target) -> None:
    user = fresh("u")
    limit_tokens(target, user, 1_000, agent_id="f1")
    answers = [charge(target, userId=user, flowId=flow).json() for flow in ("f1", "f1", "f2")]
    assert [answer["success"] for answer in answers] == [True, False, True]


def test_spent_free_units_are_no_limit_of_tokens(target: Target) -> None:
    user = fresh("u")
    requests.post(
        f"{target.url}/events",
        json={"customer_id": user, "event_type": "a", "idempotency_key": user, "units": 5_000},
        headers={"Authorization": f"Bearer {target.key}"},
        timeout=5,
    )
    assert charge(target, userId=user).json() == {"success": True}


def test_an_operation_with_an_id_of_its_own_is_charged_once(target: Target) -> None:
    user = fresh("u")
    for _ in range(2):
        assert charge(target, {"Idempotency-Key": user}, userId=user).json()["success"]
        assert charge(target, userId=user, idempotencyKey=f"{user}-b").json()["success"]
    assert used(target, user) == 2 * 1_545
    other = charge(target, userId=user, idempotencyKey=f"{user}-b", inputTokens=7)
    assert (other.status_code, other.json()["success"]) == (409, False)


def test_an_operation_of_an_execution_is_charged_once(target: Target) -> None:
    user = fresh("u")
    for execution in ("e1", "e1", "e2"):
        assert charge(target, userId=user, execId=execution).json()["success"]
    assert charge(target, userId=user, execId="e1", outputTokens=1).json()["success"]
    assert used(target, user) == 2 * 1_545 + 1_201


def test_without_any_id_every_answered_request_is_a_charge(target: Target) -> None:
    user = fresh("u")
    for _ in range(2):
        charge(target, userId=user)
    assert used(target, user) == 2 * 1_545


def test_the_header_names_the_operation_before_the_body_does(target: Target) -> None:
    user, name = fresh("u"), fresh("op")
    for number in range(2):
        told = charge(target, {"Idempotency-Key": name}, userId=user, eventId=f"{name}-{number}")
        assert told.json() == {"success": True}
    assert used(target, user) == 1_545


def test_who_has_spent_its_dollars_is_over_the_limit(target: Target) -> None:
    user = fresh("u")
    grant = {"event_id": user, "denomination": "usd", "amount": "0.005"}
    answer = requests.post(
        f"{target.url}/v1/customers/{user}/grants",
        json=grant,
        headers={"Authorization": f"Bearer {target.key}"},
        timeout=5,
    )
    assert answer.json()["status"] == "accepted", answer.text
    told = [charge(target, userId=user, model="small", aiSystem="lab").json() for _ in range(2)]
    assert [one["success"] for one in told] == [True, False]
    assert told[1]["code"] == "over_limit"


def test_tokens_are_recorded_with_what_comes_beside_them_and_use_no_units(
    whole: Whole, target: Target
) -> None:
    user = fresh("u")
    told = charge(target, userId=user, eventId=user, nodeId=7, note="n" * 1_000)
    assert told.json() == {"success": True}
    [usage] = [
        usage
        for part in whole.installation.read(USAGE.name)
        for record in part
        if (usage := codec.decode_usage(record.value)).customer_id == user
    ]
    assert (usage.source, usage.agent_id, usage.units) == ("charge-tokens", "f1", 0)
    assert (usage.provider, usage.model) == ("openai", "gpt-4o-mini")
    assert usage.metadata is not None
    assert (usage.metadata["nodeId"], usage.metadata["metadata_cut"]) == (7, True)
    budget = get(target, f"/v1/customers/{user}/budget").json()
    [units] = [one for one in budget["balances"] if one["denomination"] == "unit"]
    assert (units["used"], units["available"]) == ("0", "1000")


def test_the_scope_ingest_is_enough_and_another_is_not(whole: Whole) -> None:
    ingesting, reading = (
        Target(whole.inside.url, key) for key in (whole.keys.ingest, whole.keys.read)
    )
    assert charge(ingesting, userId=fresh("u")).json() == {"success": True}
    refused = charge(reading, userId=fresh("u"))
    assert (refused.status_code, refused.json()["success"]) == (403, False)


def test_a_body_that_is_none_is_no_success(target: Target) -> None:
    for body, kind, status in (
        (b"{", "application/json", 400),
        (b"{}", "text/plain", 415),
        (b" " * 70_000, "application/json", 413),
    ):
        headers = {"INTERNAL_API_KEY": target.key, "Content-Type": kind}
        url = f"{target.url}/worker/charge-tokens"
        answer = requests.post(url, data=body, headers=headers, timeout=5)
        assert (answer.status_code, answer.json()["success"]) == (status, False)


def test_users_and_flows_may_be_numbers(target: Target) -> None:
    user = secrets.randbits(48)
    assert charge(target, userId=user, flowId=7).json() == {"success": True}
    assert used(target, str(user)) == 1_545


def test_who_used_how_much_is_a_query(delivered: Whole, target: Target) -> None:
    user, other = fresh("u"), fresh("u")
    known: dict[str, Any] = {"model": "small", "aiSystem": "lab"}
    for changes in (known | {"userId": user}, known | {"userId": user}, {"userId": other}):
        assert charge(target, **changes).json()["success"]
    found = re.search(r"^```sql\n(.*?)^```", DOCUMENT.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None, "the document has no query"
    clickhouse = connect(delivered.installation.settings)

    def rows() -> dict[str, dict[str, Any]]:
        answer = clickhouse.query(found[1])
        lines = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
        return {line["user_id"]: line for line in lines}

    def delivered_all() -> bool:
        return other in rows() and rows().get(user, {}).get("operations") == 2

    try:
        until(delivered_all, "the rows are there", ROWS_SECONDS)
        line = rows()[user]
        assert (line["flow_id"], line["provider"], line["model"]) == ("f1", "lab", "small")
        assert (line["input"], line["output"]) == (2_400, 690)
        # 1,200 tokens at $3 a million and 345 at $15, twice.
        assert (line["cost"], line["unpriced"]) == (Decimal("0.01755"), 0)
        assert rows()[other]["unpriced"] == 1
    finally:
        clickhouse.close()
    entries = get(target, f"/v1/customers/{user}/entries").json()["entries"]
    assert [entry["kind"] for entry in entries].count("usage") == 2
