"""What docs/http.md says, end to end: asked of one gateway, looked at through the other."""

import gzip
import json
from collections.abc import Mapping
from typing import Any

import cramjam
import pytest
import requests

from schemas.times import parse_time_us
from tests.clients.whole import FREE_UNITS, Target, Whole, fresh, get
from tests.embedded_waiting import until

SECONDS = 30
EXPIRY_SECONDS = 60.0
"""A deadline: an owner looks every second, and an expiry counts once its cycle has committed."""


def call(
    target: Target,
    method: str,
    path: str,
    body: object = None,
    headers: Mapping[str, str] | None = None,
) -> requests.Response:
    """One request; a body that is no bytes is JSON."""
    sent = {"Authorization": f"Bearer {target.key}", "Content-Type": "application/json"}
    raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    return requests.request(
        method, target.url + path, data=raw, headers=sent | dict(headers or {}), timeout=SECONDS
    )


def done(answer: requests.Response, status: int = 200) -> Any:
    """The body of an answer that has to have this status."""
    assert answer.status_code == status, answer.text
    return answer.json()


def usage(customer: str, **more: Any) -> dict[str, Any]:
    record = {"schema_version": 1, "event_id": fresh("e"), "source": "test", "units": 1}
    return record | {"customer_id": customer} | more


def units(target: Target, customer: str) -> tuple[str, str, str]:
    """Used, held and available."""
    balances = done(get(target, f"/v1/customers/{customer}/budget"))["balances"]
    [unit] = [one for one in balances if one["denomination"] == "unit"]
    return unit["used"], unit["held"], unit["available"]


def test_a_hold_expires_by_itself_and_its_key_says_so(target: Target, beside: Target) -> None:
    customer = fresh("c")
    ask = {"customer_id": customer, "idempotency_key": "k", "estimate": "5", "ttl_seconds": 1}
    told = done(call(target, "POST", "/v1/preflights", ask))
    assert (told["approved"], told["remaining"]) == (True, str(FREE_UNITS - 5))
    until(lambda: units(beside, customer) == ("0", "0", "1000"), "it has expired", EXPIRY_SECONDS)
    again = done(call(beside, "POST", "/v1/preflights", ask))
    assert (again["reservation_id"], again["replayed"]) == (told["reservation_id"], True)
    assert again["hold_state"] == "expired"
    late = usage(customer, units=4, reservation_id=told["reservation_id"])
    recorded = done(call(target, "POST", "/v1/records", late))
    assert (recorded["status"], recorded["settlement"]["status"]) == ("accepted", "already_closed")
    assert units(beside, customer) == ("4", "0", "996")


def test_a_hold_is_extended_and_never_shortened(target: Target, beside: Target) -> None:
    customer = fresh("c")
    ask = {"customer_id": customer, "idempotency_key": "k", "estimate": "5", "ttl_seconds": 600}
    told = done(call(target, "POST", "/v1/preflights", ask))
    path = f"/v1/preflights/{told['reservation_id']}/extend"
    ends = [parse_time_us(told["expires_at"])]
    for seconds in (1_200, 60):
        body = {"customer_id": customer, "ttl_seconds": seconds}
        ends.append(parse_time_us(done(call(beside, "POST", path, body))["expires_at"]))
    assert ends[0] < ends[1] == ends[2]
    [hold] = done(get(target, f"/v1/customers/{customer}/holds"))["holds"]
    assert parse_time_us(hold["expires_at"]) == ends[1]


def test_the_first_reason_that_applies_is_given(target: Target) -> None:
    customer, task = fresh("c"), fresh("t")
    ask = {"customer_id": customer, "estimate": "2000", "task_ref": task, "task_ceiling": "1500"}
    found = []
    for more in ({"ceiling": "1"}, {}, {"estimate": "1200"}, {"estimate": "900"}):
        body = ask | more | {"idempotency_key": fresh("k")}
        told = done(call(target, "POST", "/v1/preflights", body))
        found.append(told["reason"])
    assert found == ["ceiling_exceeded", "task_ceiling_exceeded", "budget_exhausted", None]
    # What the customer refused the task holds no more.
    assert done(get(target, f"/v1/tasks/{task}"))["held"] == "900"


def test_a_limit_is_set_changed_and_lifted(target: Target, beside: Target) -> None:
    customer = fresh("c")
    path, found = f"/v1/customers/{customer}/limits", []
    for amount in ({"amount": "10"}, {"amount": "20"}, {}):
        limit = {"denomination": "unit", **amount}
        assert done(call(target, "PUT", path, limit))["status"] == "accepted"
        ask = {"customer_id": customer, "idempotency_key": fresh("k"), "estimate": "15"}
        told = done(call(beside, "POST", "/v1/preflights", ask))
        found.append(told["approved"])
        if told["approved"]:
            release = f"/v1/preflights/{told['reservation_id']}/release"
            assert done(call(target, "POST", release, {"customer_id": customer}))["changed"]
    assert found == [False, True, True]
    assert done(get(target, f"/v1/customers/{customer}/budget"))["limits"] == []


def test_a_record_is_told_what_is_left_now_or_later(target: Target, beside: Target) -> None:
    customer = fresh("c")
    record = usage(customer, units=3)
    hurried = call(target, "POST", "/v1/records", record, {"Prefer": "wait=0"})
    told = done(hurried, 202)
    assert (told["status"], told["balances"]) == ("undecided", None)
    told = done(call(beside, "POST", "/v1/records", record))
    assert told["status"] == "duplicate"
    [balance] = [one for one in told["balances"] if one["denomination"] == "unit"]
    assert (balance["used"], balance["available"]) == ("3", "997")
    assert told["as_of"]["usage_offset"] > 0
    conflict = done(call(target, "POST", "/v1/records", record | {"units": 4}), 409)
    assert conflict["code"] == "conflict"
    old = usage(customer, occurred_at="2020-01-01T00:00:00Z")
    refused = done(call(target, "POST", "/v1/records", old), 422)
    assert (refused["code"], refused["code_of_refusal"]) == ("refused", "too_old")
    assert units(beside, customer) == ("3", "0", "997")


def test_events_are_answered_one_by_one_and_count_once(target: Target, beside: Target) -> None:
    customer = fresh("c")
    batch = [usage(customer) for _ in range(20)]
    for at in (target, beside):
        told = done(call(at, "POST", "/v1/events", batch), 202)
        assert (told["accepted"], len(told["items"])) == (20, 20)
    partly = [usage(customer), usage(customer, units=-1), usage(customer, surprise=1)]
    told = done(call(target, "POST", "/v1/events", partly), 207)
    assert [item["status"] for item in told["items"]] == ["accepted", "refused", "refused"]
    told = done(call(target, "POST", "/v1/events", partly[1:]), 422)
    assert len(told["items"]) == 2
    signal = {**usage(customer), "name": "ticket_closed"}
    del signal["units"]
    assert done(call(target, "POST", "/v1/events?type=signal", signal), 202)["accepted"] == 1
    until(lambda: units(beside, customer)[0] == "21", "all have counted", SECONDS)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_bodies_may_be_compressed(target: Target, encoding: str) -> None:
    customer = fresh("c")
    raw = json.dumps([usage(customer) for _ in range(100)]).encode()
    packed = gzip.compress(raw) if encoding == "gzip" else bytes(cramjam.zstd.compress(raw))
    answer = call(target, "POST", "/v1/events", packed, {"Content-Encoding": encoding})
    assert done(answer, 202)["accepted"] == 100
    until(lambda: units(target, customer)[0] == "100", "all have counted", SECONDS)


def test_cloud_events_of_all_modes_are_one_kind_of_event(target: Target, beside: Target) -> None:
    customer, name = fresh("c"), fresh("ce")
    event: dict[str, Any] = {"specversion": "1.0", "type": "tollgate.usage", "id": name}
    event |= {"source": "/bots/7", "subject": customer, "data": {"units": 3}}
    structured = {"Content-Type": "application/cloudevents+json"}
    batched = {"Content-Type": "application/cloudevents-batch+json"}
    binary = {f"ce-{key}": str(value) for key, value in event.items() if key != "data"}
    for at in (target, beside):
        done(call(at, "POST", "/v1/events", event, structured), 202)
        done(call(at, "POST", "/v1/events", [event, event | {"id": name + "b"}], batched), 202)
        done(call(at, "POST", "/v1/events", event["data"], binary), 202)
    # The record with which the native protocol would say the same is the same.
    record = usage(customer, event_id=name, source="/bots/7", units=3)
    assert done(call(target, "POST", "/v1/records", record))["status"] == "duplicate"
    until(lambda: units(beside, customer)[0] == "6", "both have counted once", SECONDS)


def test_problems_have_their_form_and_a_code(target: Target) -> None:
    for path, body, status, code in (
        ("/v1/preflights", b"{", 400, "malformed"),
        ("/v1/preflights", b"", 400, "empty"),
        ("/v1/preflights", {"customer_id": "c"}, 422, "invalid_field"),
        ("/v1/records", usage("c", surprise=1), 422, "unknown_field"),
        ("/v1/records", usage("c") | {"schema_version": 9}, 422, "unknown_version"),
        ("/v1/records", b" " * 70_000, 413, "oversized"),
        ("/v1/nothing", {}, 404, "not_found"),
    ):
        answer = call(target, "POST", path, body)
        told = done(answer, status)
        assert answer.headers["content-type"] == "application/problem+json"
        assert (told["code"], told["status"]) == (code, status), path
        assert "retry-after" not in answer.headers
    assert done(call(target, "DELETE", "/v1/records"), 405)["code"] == "method_not_allowed"


def test_health_needs_no_key_and_metrics_the_scope_read(whole: Whole) -> None:
    for url in (whole.inside.url, whole.beside.url):
        for path in ("/healthz", "/readyz", "/openapi.json"):
            assert requests.get(url + path, timeout=SECONDS).status_code == 200
        assert get(Target(url, whole.keys.ingest), "/metrics").status_code == 403
        text = get(Target(url, whole.keys.read), "/metrics").text
        assert 'tollgate_gateway_requests_total{route="' in text


def test_a_key_of_one_customer_is_refused_elsewhere(whole: Whole) -> None:
    bound = Target(whole.inside.url, whole.keys.bound)
    assert get(bound, "/v1/customers/mine/budget").status_code == 200
    assert done(get(bound, "/v1/customers/yours/budget"), 403)["code"] == "customer_not_allowed"
    batch = [usage("mine"), usage("yours")]
    told = done(call(bound, "POST", "/v1/events", batch), 207)
    assert [item["status"] for item in told["items"]] == ["accepted", "refused"]
