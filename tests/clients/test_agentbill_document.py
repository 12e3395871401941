"""What docs/agentbill.md says beyond what the clients' own flows show, as requests of the
protocol."""

import base64
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
import requests

from schemas import codec
from schemas.structs import Usage
from schemas.times import parse_time_us
from schemas.topics import USAGE
from tests.clients.sdk import AgentBillClient, BudgetExhaustedError, agentbill
from tests.clients.whole import FREE_UNITS, Target, Whole, fresh, get, job_when

Send = Callable[..., requests.Response]
HOUR_US = 3_600_000_000
SECONDS = 30


@pytest.fixture
def send(target: Target) -> Send:
    """A request with the key of the installation, or another one."""

    def sent(method: str, path: str, body: Any = None, key: str = target.key) -> requests.Response:
        headers = {"Authorization": f"Bearer {key}"}
        return requests.request(
            method, target.url + path, json=body, headers=headers, timeout=SECONDS
        )

    return sent


def event(customer: str, **more: Any) -> dict[str, Any]:
    body = {"customer_id": customer, "event_type": "a", "idempotency_key": fresh("e"), "units": 1}
    return body | more


def usage_of(whole: Whole, event_id: str) -> Usage:
    """The record of an event, as it stands in the log."""
    found = [
        usage
        for part in whole.installation.read(USAGE.name)
        for record in part
        if (usage := codec.decode_usage(record.value)).event_id == event_id
    ]
    assert found, f"{event_id} is not in the log"
    return found[0]


def test_clients_refuse_plain_http_beyond_loopback() -> None:
    with pytest.raises(agentbill.AgentBillError, match="https"):
        AgentBillClient("agb_x", base_url="http://tollgate.example.org")


def test_a_limit_of_an_agent_refuses_that_agent_alone(send: Send, client: AgentBillClient) -> None:
    customer = fresh("c")
    limit = {"denomination": "unit", "amount": "20", "agent_id": "writer"}
    assert send("PUT", f"/v1/customers/{customer}/limits", limit).status_code == 200
    with pytest.raises(BudgetExhaustedError):
        client.preflight("writer", 21, customer)
    assert client.preflight("reader", 21, customer).approved


def test_without_grant_or_limit_nothing_is_refused_and_nothing_is_left_to_tell(
    client: AgentBillClient,
) -> None:
    job = fresh("job")
    check = client.preflight("a", 10**9, fresh("c"), job, task_ceiling=2 * 10**9, unit="usd")
    assert (check.approved, check.remaining_units) == (True, None)


def test_402_is_for_what_comes_after_the_budget_was_spent_and_never_for_what_was_held(
    send: Send,
) -> None:
    customer = fresh("c")
    held = {"agent_id": "a", "customer_id": customer, "estimated_units": FREE_UNITS}
    hold = send("POST", "/preflight", held).json()["reservation_id"]
    crossing = send("POST", "/events", event(customer, units=5, event_type="b"))
    assert crossing.status_code == 200, "all is held, and nothing is spent yet"
    settled = send("POST", "/events", event(customer, units=2_000, reservation_id=hold))
    assert (settled.status_code, settled.json()["reservation_status"]) == (200, "settled")
    late = send("POST", "/events", event(customer, units=3))
    assert (late.status_code, late.json()["error"]) == (402, "budget_exhausted")
    balances = get_json(send, f"/v1/customers/{customer}/budget")["balances"]
    assert [one["used"] for one in balances if one["denomination"] == "unit"] == ["2008"]
    budget = get_json(send, f"/budget?customer_id={customer}")
    assert (budget["used"], budget["remaining"], budget["is_blocked"]) == (2_008, 0, True)


def get_json(send: Send, path: str) -> Any:
    answer = send("GET", path)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize(
    ("method", "path", "body", "key"),
    [
        ("POST", "/preflight", {"agent_id": "a"}, "ingest"),
        ("POST", "/events", {}, "read"),
        ("GET", "/tasks/x", None, "ingest"),
        ("PUT", "/tasks/x/ceiling", {"ceiling_units": 1}, "agent"),
        ("POST", "/checkpoint", {}, "ingest"),
        ("POST", "/step", {}, "read"),
        ("GET", "/budget", None, "ingest"),
    ],
)
def test_each_path_needs_its_scope(
    whole: Whole, send: Send, method: str, path: str, body: Any, key: str
) -> None:
    refused = send(method, path, body, key=getattr(whole.keys, key))
    assert (refused.status_code, refused.json()["error"]) == (403, "scope_missing")


def test_a_reservation_lasts_an_hour(send: Send) -> None:
    now_us = time.time_ns() // 1_000  # noqa: TID251 - the owner decides by the real clock
    told = send("POST", "/preflight", {"agent_id": "a", "customer_id": fresh("c")}).json()
    expires_at_us = parse_time_us(told["reservation_expires_at"])
    assert abs(expires_at_us - now_us - HOUR_US) < 120_000_000


def test_a_call_without_a_customer_is_one_of_the_default_customer(send: Send) -> None:
    hold = send("POST", "/preflight", {"agent_id": "a"}).json()["reservation_id"]
    holds = get_json(send, "/v1/customers/default/holds")["holds"]
    assert hold in [one["reservation_id"] for one in holds]


def test_an_event_is_a_usage_record(whole: Whole, send: Send) -> None:
    tokens = {
        "input": 100,
        "cache_read": 20,
        "cache_write": 3,
        "cache_write_1h": 4,
        "output": 50,
        "reasoning": 30,
        "audio_input": 10,
        "audio_output": 5,
    }
    metadata = {
        "provider": "lab",
        "model": "small",
        "tokens": tokens,
        "note": "x" * 1_000,
        "nested": {"a": [1]},
        "share": 0.5,
    }
    body = event(fresh("c"), event_type="writer", units=177, metadata=metadata, ignored="?")
    assert send("POST", "/events", body).status_code == 200
    usage = usage_of(whole, body["idempotency_key"])
    assert (usage.source, usage.agent_id, usage.units) == ("agentbill", "writer", 0)
    assert (usage.provider, usage.model) == ("lab", "small")
    counted = usage.tokens
    assert counted is not None
    assert (counted.input, counted.input_audio, counted.cache_read) == (90, 10, 20)
    assert (counted.cache_write, counted.output) == (7, 15)
    assert (counted.reasoning, counted.output_audio) == (30, 5)
    kept = usage.metadata
    assert kept is not None
    assert (kept["nested"], kept["share"], kept["metadata_cut"]) == ('{"a": [1]}', "0.5", True)
    assert len(str(kept["note"])) < 1_000


def test_units_that_are_no_tokens_are_units_beside_them(whole: Whole, send: Send) -> None:
    metadata = {"tokens": {"input": 100, "output": 50}}
    body = event(fresh("c"), units=7, metadata=metadata)
    assert send("POST", "/events", body).json()["customer_remaining_units"] == FREE_UNITS - 7
    usage = usage_of(whole, body["idempotency_key"])
    assert (usage.units, usage.tokens is not None) == (7, True)


def test_the_same_key_with_other_content_is_a_duplicate_and_a_dead_letter(
    whole: Whole, send: Send
) -> None:
    body = event(fresh("c"), units=8)
    answers = [send("POST", "/events", body | {"units": units}) for units in (8, 8, 9)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert [answer.json()["status"] for answer in answers] == [
        "recorded",
        "duplicate_ignored",
        "duplicate_ignored",
    ]
    letters = [one for one in whole.installation.dead_letters() if one.code == "conflict"]
    values = [base64.b64decode(one.record_value or "") for one in letters]
    assert sum(body["idempotency_key"].encode() in value for value in values) == 1


def test_missing_usage_is_charged_at_least_the_reservation(
    send: Send, client: AgentBillClient
) -> None:
    customer, job = fresh("c"), fresh("job")
    for units in (5, 60):
        check = client.preflight("a", 30, customer, job, task_ceiling=500)
        check.record(units=units, usage_missing=True)
    job_when(client, job, used_units=30 + 60, usage_missing_calls=2)
    assert get_json(send, f"/budget?customer_id={customer}")["used"] == 90


def test_tokens_of_a_job_without_a_class_are_unpriced(send: Send, client: AgentBillClient) -> None:
    job = fresh("job")
    client.preflight("a", task_ref=job, task_ceiling_usd=1).record(
        1_000, metadata={"provider": "lab", "model": "small"}
    )
    assert job_when(client, job, unpriced_calls=1).used_usd == 0.1


def test_fractions_beyond_12_decimals_are_rounded_and_said_so(send: Send) -> None:
    job = fresh("job")
    body = {"agent_id": "a", "task_ref": job, "task_ceiling_usd": 1, "estimated_usd": 0.1 + 0.2}
    told = send("POST", "/preflight", body).json()
    assert (told["estimate_rounded"], told["estimated_usd"]) == (True, 0.3)
    told = send("POST", "/preflight", body | {"estimated_usd": 0.25}).json()
    assert "estimate_rounded" not in told


def test_with_a_key_of_ones_own_the_estimate_does_not_move(client: AgentBillClient) -> None:
    job, key = fresh("job"), fresh("key")
    tokens = {"provider": "lab", "model": "small", "tokens": {"input": 1000, "output": 0}}
    client.preflight("a", task_ref=job, task_ceiling_usd=1).record(1000, metadata=tokens)
    job_when(client, job, used_units=3_000)
    for _ in range(2):
        check = client.preflight("a", task_ref=job, unit="usd", idempotency_key=key)
        assert (check.estimated_usd, check.estimate_source) == (0.1, "default")


def test_a_job_tells_what_each_agent_used(send: Send, client: AgentBillClient) -> None:
    job, customer = fresh("job"), fresh("c")
    opened = send("PUT", f"/tasks/{job}/ceiling", {"ceiling_usd": 2.5}).json()
    assert (opened["unit"], opened["ceiling_usd"]) == ("usd", 2.5)
    job = fresh("job")
    for agent, units in (("a", 3), ("b", 4), ("a", 5)):
        check = client.preflight(agent, 9, customer, job, task_ceiling=100)
        check.record(units=units)
    job_when(client, job, used_units=12)
    assert get_json(send, f"/tasks/{job}")["breakdown"] == {"agents": {"a": 8, "b": 4}}


def test_refs_with_a_slash_work_and_those_with_a_query_do_not(
    send: Send, client: AgentBillClient
) -> None:
    ref = fresh("a/b")
    client.preflight("a", 1, task_ref=ref, task_ceiling=9)
    assert client.get_task(ref).ceiling_units == 9
    for odd in (fresh("x?y"), fresh("x#y"), fresh("x") + "/ceiling"):
        client.preflight("a", 1, task_ref=odd, task_ceiling=9)
        with pytest.raises(requests.HTTPError):
            client.get_task(odd)
    assert get_json(send, f"/v1/tasks/{quote(ref, safe='')}")["ceiling"] == "9"


def test_a_step_charges_nothing_and_a_checkpoint_holds_nothing(
    whole: Whole, send: Send, client: AgentBillClient
) -> None:
    customer = fresh("c")
    client.record_step("a", "search", 4, customer)
    client.checkpoint("a", 100, customer_id=customer)
    budget = get_json(send, f"/budget?customer_id={customer}")
    assert (budget["limit"], budget["used"], budget["remaining"]) == (FREE_UNITS, 0, FREE_UNITS)
    assert get(whole.beside, f"/v1/customers/{customer}/holds").json()["holds"] == []
