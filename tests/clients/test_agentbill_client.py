"""AgentBill's Python client, as it is, against the gateway."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests.clients.sdk import (
    AgentBillClient,
    AuthenticationError,
    BudgetExhaustedError,
    CeilingExceededError,
    TaskCeilingExceededError,
    TaskCeilingRequiredError,
)
from tests.clients.whole import (
    FREE_UNITS,
    SELLER_TOKENS,
    UPGRADE_URL,
    Target,
    Whole,
    fresh,
    job_when,
)
from tests.embedded_waiting import until


def answer_of(refused: pytest.ExceptionInfo[requests.HTTPError]) -> requests.Response:
    """What the gateway answered."""
    assert refused.value.response is not None
    return refused.value.response


def test_a_call_is_approved_held_and_settled(client: AgentBillClient) -> None:
    customer = fresh("c")
    check = client.preflight("researcher", estimated_units=10, customer_id=customer)
    assert check.approved
    assert check.reason is None
    assert (check.estimated_units, check.remaining_units) == (10, FREE_UNITS - 10)
    assert check.reservation_id
    assert check.reservation_expires_at is not None
    assert check.reservation_expires_at.endswith("Z")
    recorded = check.record(units=8)
    assert recorded["status"] == "recorded"
    assert recorded["event_id"]
    assert recorded["customer_remaining_units"] == FREE_UNITS - 8
    assert recorded["reservation_status"] == "settled"
    assert recorded["reservation_released_units"] == 2
    assert check.record(units=8)["reservation_status"] == "already_closed"


def test_without_an_estimate_one_unit_is_held(client: AgentBillClient) -> None:
    check = client.preflight("researcher", customer_id=fresh("c"))
    assert (check.estimated_units, check.remaining_units) == (1, FREE_UNITS - 1)


def test_the_ceiling_of_a_call_raises(target: Target) -> None:
    strict = AgentBillClient(target.key, ceiling=20, base_url=target.url)
    with pytest.raises(CeilingExceededError) as refused:
        strict.preflight("researcher", estimated_units=50, customer_id=fresh("c"))
    assert refused.value.answer is not None
    assert refused.value.answer["ceiling"] == 20
    assert refused.value.answer["estimated_units"] == 50


def test_a_spent_budget_raises_and_says_what_is_left(client: AgentBillClient) -> None:
    customer = fresh("c")
    client.record("researcher", units=990, customer_id=customer)
    with pytest.raises(BudgetExhaustedError) as refused:
        client.preflight("researcher", estimated_units=11, customer_id=customer)
    assert refused.value.answer is not None
    assert refused.value.answer["remaining_units"] == 10


def test_a_job_counts_every_call_and_refuses_the_one_that_crosses(
    client: AgentBillClient,
) -> None:
    job, customer = fresh("job"), fresh("c")
    first = client.preflight("researcher", 12, customer, task_ref=job, task_ceiling=50)
    assert (first.task_ref, first.task_remaining_units, first.task_unit) == (job, 38, None)
    recorded = first.record(units=8, metadata={"model": "gpt-4o-mini", "latency_ms": 812.5})
    # Null where the job took longer to count it than the answer waited.
    assert recorded["task_used_units"] in (8, None)
    assert recorded["task_remaining_units"] in (42, None)
    assert recorded["task_exceeded"] in (False, None)
    status = job_when(client, job, used_units=8, reserved_units=0)
    assert (status.agent_id, status.unit, status.exceeded) == ("researcher", "unit", False)
    assert (status.ceiling_units, status.remaining_units) == (50, 42)
    with pytest.raises(TaskCeilingExceededError) as refused:
        client.preflight("writer", estimated_units=400, task_ref=job)
    error = refused.value
    assert (error.task_ref, error.task_ceiling) == (job, 50)
    assert (error.task_used_units, error.task_remaining_units) == (8, 42)


def test_a_record_is_never_refused_by_a_ceiling(client: AgentBillClient) -> None:
    job = fresh("job")
    check = client.preflight("researcher", 5, fresh("c"), task_ref=job, task_ceiling=10)
    recorded = check.record(units=15)
    assert recorded["status"] == "recorded"
    assert recorded["task_exceeded"] in (True, None)
    assert recorded["task_remaining_units"] in (0, None)
    assert job_when(client, job, used_units=15).exceeded


def test_a_new_job_needs_a_ceiling(client: AgentBillClient) -> None:
    with pytest.raises(TaskCeilingRequiredError):
        client.preflight("writer", task_ref=fresh("job"))


def test_another_unit_than_the_jobs_is_refused(client: AgentBillClient) -> None:
    job = fresh("job")
    client.preflight("writer", 1, task_ref=job, task_ceiling=50)
    with pytest.raises(requests.HTTPError, match="task_unit_mismatch"):
        client.preflight("writer", task_ref=job, unit="token")


def test_who_names_no_unit_means_the_jobs(client: AgentBillClient) -> None:
    job = fresh("job")
    client.preflight("writer", 100, task_ref=job, task_ceiling=5_000, unit="token")
    check = client.preflight("writer", 300, task_ref=job)
    assert check.task_remaining_units == 4_600
    client.record("writer", units=250, task_ref=job, reservation_id=check.reservation_id)
    job_when(client, job, used_units=250)


def test_the_same_key_is_the_same_decision_and_one_reservation(client: AgentBillClient) -> None:
    job, customer, key = fresh("job"), fresh("c"), fresh("key")
    kept = [
        client.preflight("a", 12, customer, job, task_ceiling=50, idempotency_key=key)
        for _ in range(3)
    ]
    assert len({check.reservation_id for check in kept}) == 1
    assert client.get_task(job).reserved_units == 12


def test_the_same_key_with_another_body_is_422(client: AgentBillClient) -> None:
    key, customer = fresh("key"), fresh("c")
    client.preflight("a", 12, customer, idempotency_key=key)
    with pytest.raises(requests.HTTPError) as refused:
        client.preflight("a", 13, customer, idempotency_key=key)
    assert answer_of(refused).status_code == 422
    assert answer_of(refused).json()["error"] == "conflict"


def test_a_failed_call_gives_its_reservation_back_uncharged(client: AgentBillClient) -> None:
    customer = fresh("c")
    check = client.preflight("a", 100, customer)
    released = check.record(units=100, success=False)
    assert released["status"] == "released"
    assert released["reservation_released_units"] == 100
    assert client.preflight("a", 0, customer).remaining_units == FREE_UNITS


def test_without_a_reservation_the_oldest_of_the_job_are_settled(client: AgentBillClient) -> None:
    job, customer = fresh("job"), fresh("c")
    for _ in range(2):
        client.preflight("a", 10, customer, job, task_ceiling=100)
    client.record("a", units=15, customer_id=customer, task_ref=job)
    job_when(client, job, used_units=15, reserved_units=5)
    client.record("a", units=0, success=False, customer_id=customer, task_ref=job)
    job_when(client, job, used_units=15, reserved_units=0)


def test_missing_usage_charges_the_reservation_and_is_counted(client: AgentBillClient) -> None:
    job = fresh("job")
    check = client.preflight("a", 30, fresh("c"), job, task_ceiling=100)
    check.record(units=0, usage_missing=True)
    job_when(client, job, used_units=30, reserved_units=0, usage_missing_calls=1)


def test_a_record_is_safe_to_retry(client: AgentBillClient) -> None:
    customer, key = fresh("c"), fresh("resp")
    first = client.record("a", 8, customer, idempotency_key=key)
    again = client.record("a", 8, customer, idempotency_key=key)
    other = client.record("a", 9, customer, idempotency_key=key, metadata={"step": "x"})
    assert first["status"] == "recorded"
    assert [again["status"], other["status"]] == ["duplicate_ignored"] * 2
    assert again["event_id"] is None
    assert client.preflight("a", 0, customer).remaining_units == FREE_UNITS - 8


def test_a_reservation_that_never_was_is_reported(client: AgentBillClient) -> None:
    gone = client.record("a", 0, success=False, reservation_id="nope", customer_id=fresh("c"))
    assert gone["status"] == "released"
    assert gone["reservation_status"] == "not_found"


def test_only_as_many_parallel_calls_are_approved_as_fit(client: AgentBillClient) -> None:
    job = fresh("job")
    client.preflight("a", 0, task_ref=job, task_ceiling=50)

    def ask(_: int) -> bool:
        try:
            return bool(client.preflight("a", 10, fresh("c"), job).approved)
        except TaskCeilingExceededError:
            return False

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(16)))
    assert sum(answers) == 5
    assert client.get_task(job).reserved_units == 50


def test_the_gate_settles_and_releases(client: AgentBillClient) -> None:
    job, customer = fresh("job"), fresh("c")

    @client.gate("researcher", 12, customer, job, task_ceiling=500)  # type: ignore[untyped-decorator]
    def run(topic: str) -> str:
        if topic == "fails":
            raise ValueError(topic)
        return topic

    assert run("rain") == "rain"
    with pytest.raises(ValueError, match="fails"):
        run("fails")
    job_when(client, job, used_units=12, reserved_units=0)


def test_a_job_in_dollars_counts_micro_dollars(client: AgentBillClient) -> None:
    job = fresh("job")
    check = client.preflight("a", task_ref=job, task_ceiling_usd=0.5, estimated_usd=0.02)
    assert (check.task_unit, check.estimated_units, check.estimated_usd) == ("usd", 20_000, 0.02)
    assert (check.task_remaining_units, check.task_remaining_usd) == (480_000, 0.48)
    assert check.estimate_source == "caller"
    usual = client.preflight("a", task_ref=job, unit="usd")
    assert (usual.estimated_usd, usual.estimate_source) == (0.1, "default")
    metadata = {
        "provider": "lab",
        "model": "small",
        "tokens": {"input": 1000, "cache_read": 0, "cache_write": 0, "output": 500, "reasoning": 0},
    }
    check.record(units=1500, metadata=metadata)
    status = job_when(client, job, used_units=10_500)
    assert (status.unit, status.ceiling_usd, status.used_usd) == ("usd", 0.5, 0.0105)
    assert status.unpriced_calls == 0
    assert (status.reserved_usd, status.remaining_usd) == (0.1, 0.3895)
    usual.record(units=1545)
    assert job_when(client, job, unpriced_calls=1).used_usd == pytest.approx(0.1105, abs=0)
    with pytest.raises(TaskCeilingExceededError, match=r"\$0\.1105 of \$0\.5 at list price"):
        client.preflight("a", task_ref=job, estimated_usd=0.4)


def test_the_jobs_own_calls_say_what_the_next_holds(client: AgentBillClient) -> None:
    job = fresh("job")
    metadata = {"provider": "lab", "model": "small", "tokens": {"input": 1000, "output": 0}}
    client.preflight("a", task_ref=job, task_ceiling_usd=1).record(1000, metadata=metadata)
    job_when(client, job, used_units=3_000)
    check = client.preflight("a", task_ref=job, unit="usd")
    assert (check.estimated_usd, check.estimate_source) == (0.003, "job_mean")


def test_a_ceiling_is_set_changed_and_kept_in_its_unit(target: Target) -> None:
    job = fresh("a/job")
    client = AgentBillClient(target.key, base_url=target.url)

    def put(**body: Any) -> requests.Response:
        return requests.put(
            f"{target.url}/tasks/{job}/ceiling",
            json=body,
            headers={"Authorization": f"Bearer {target.key}"},
            timeout=5,
        )

    opened = put(ceiling_units=100, unit="token")
    assert opened.status_code == 200
    assert (opened.json()["ceiling_units"], opened.json()["unit"]) == (100, "token")
    assert put(ceiling_units=200).json()["unit"] == "token"
    assert client.get_task(job).ceiling_units == 200
    mismatch = put(ceiling_usd=1.5)
    assert (mismatch.status_code, mismatch.json()["error"]) == (422, "task_unit_mismatch")
    assert put().status_code == 422
    assert client.preflight("a", 150, task_ref=job).task_remaining_units == 50


def test_an_unknown_job_is_not_found(target: Target) -> None:
    client = AgentBillClient(target.key, base_url=target.url)
    with pytest.raises(requests.HTTPError) as missing:
        client.get_task(fresh("job"))
    assert answer_of(missing).status_code == 404
    assert answer_of(missing).json()["error"] == "not_found"


def test_a_checkpoint_knows_ceiling_budget_and_the_runs_own_hold(client: AgentBillClient) -> None:
    customer = fresh("c")
    over = client.checkpoint("a", 30, ceiling=20, customer_id=customer)
    assert (over.approved, over.reason, over.units_so_far) == (False, "ceiling_exceeded", 30)
    client.preflight("a", FREE_UNITS, customer)
    held = client.checkpoint("a", FREE_UNITS, customer_id=customer)
    assert (held.approved, held.reason, held.remaining_units) == (True, None, 0)
    assert client.checkpoint("a", FREE_UNITS + 1, customer_id=customer).reason == "budget_exhausted"
    assert not client.checkpoint("b", 1, customer_id=customer).approved


def test_a_step_far_from_its_baseline_is_an_anomaly(client: AgentBillClient) -> None:
    customer = fresh("c")
    first = client.record_step("a", "search", 4, customer)
    assert (first.recorded, first.anomaly, first.baseline_units) == (True, False, None)
    for _ in range(4):
        client.record_step("a", "search", 4, customer)
    usual = client.record_step("a", "search", 5, customer)
    assert (usual.anomaly, usual.baseline_units, usual.deviation_pct) == (False, 4, 25)
    assert client.record_step("a", "search", 40, customer).anomaly
    assert client.preflight("a", 0, customer).remaining_units == FREE_UNITS


@pytest.mark.parametrize("state", ["unauthorized", "revoked", "expired"])
def test_a_key_that_does_not_count_raises_with_its_reason(whole: Whole, state: str) -> None:
    keys = {"revoked": whole.keys.revoked, "expired": whole.keys.expired}
    client = AgentBillClient(keys.get(state, "agb_unknown"), base_url=whole.inside.url)
    with pytest.raises(AuthenticationError) as refused:
        client.preflight("a")
    assert refused.value.error == (f"key_{state}" if state in keys else state)
    assert refused.value.message


def test_a_key_past_its_rate_is_told_when_to_come_back(whole: Whole) -> None:
    client = AgentBillClient(whole.keys.busy, base_url=whole.inside.url)
    with pytest.raises(requests.HTTPError) as refused:  # noqa: PT012 - the first may pass
        for _ in range(100):
            client.checkpoint("a", 0, customer_id="mine")
    answer = answer_of(refused)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert answer.json()["error"] == "rate_limited"


def test_a_key_bound_to_a_customer_reaches_no_other(whole: Whole) -> None:
    client = AgentBillClient(whole.keys.bound, base_url=whole.inside.url)
    assert client.preflight("a", customer_id="mine").approved
    with pytest.raises(requests.HTTPError) as refused:
        client.preflight("a", customer_id="yours")
    assert answer_of(refused).status_code == 403


def test_the_sellers_plan_refuses_without_raising(whole: Whole, client: AgentBillClient) -> None:
    customer, job = fresh("c"), fresh("job")
    much = {"task_ref": job, "task_ceiling": 2 * SELLER_TOKENS, "unit": "token"}
    assert client.preflight("a", SELLER_TOKENS, customer, **much).approved
    for code in ("plan_limit_exceeded", "free_tier_exceeded"):
        # The owner follows the catalog: what it says counts a moment later.
        whole.set_seller_plan(code)
        until(
            lambda code=code: client.preflight("a", 1, customer, **much).reason == code,  # type: ignore[misc]
            f"refused by {code}",
        )
    refused = client.preflight("a", 1, customer, **much)
    assert (refused.approved, refused.upgrade_url) == (False, UPGRADE_URL)
    assert client.get_task(job).reserved_units == SELLER_TOKENS


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"agent_id": "a", "estimated_units": -1}',
        b'{"agent_id": "a", "estimated_units": 1.5}',
        b'{"agent_id": "a", "estimated_usd": NaN}',
        b'{"agent_id": "a", "unit": "gold"}',
        b'{"agent_id": "a", "customer_id": "\\u0000task\\u0000x"}',
        b'{"estimated_units": 1}',
        b"[" * 100_000,
        b'{"agent_id": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    ],
)
def test_a_bad_body_is_told_in_agentbills_form(target: Target, body: bytes) -> None:
    answer = requests.post(
        f"{target.url}/preflight",
        data=body,
        headers={"Authorization": f"Bearer {target.key}", "Content-Type": "application/json"},
        timeout=5,
    )
    assert 400 <= answer.status_code < 500
    assert set(json.loads(answer.content)) == {"error", "message"}
