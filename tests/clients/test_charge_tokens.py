"""The chargeTokens protocol, as its callers speak it."""

import secrets
from typing import Any

import pytest
import requests

from tests.builders import context
from tests.clients.serving import Target, fresh, gateway


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
    answer = requests.get(
        f"{target.url}/v1/customers/{user}/budget",
        headers={"Authorization": f"Bearer {target.key}"},
        timeout=5,
    )
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


def test_a_wrong_key_is_no_success(local: Target) -> None:
    answer = charge(local, {"INTERNAL_API_KEY": "wrong"})
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


def test_billing_that_is_down_is_no_success_and_a_retry_charges_once() -> None:
    with gateway(context()) as failing:
        failing.stack.down = True
        answer = charge(failing)
        assert answer.status_code == 503
        assert answer.json()["success"] is False
        assert int(answer.headers["retry-after"]) >= 1
        failing.stack.down = False
        failing.stack.forget_acknowledgement = True
        assert not charge(failing).json()["success"]
        failing.stack.forget_acknowledgement = False
        assert charge(failing).json() == {"success": True}
        assert used(failing, "u1") == 1_545


def test_users_and_flows_may_be_numbers(target: Target) -> None:
    user = secrets.randbits(48)
    assert charge(target, userId=user, flowId=7).json() == {"success": True}
    assert used(target, str(user)) == 1_545
