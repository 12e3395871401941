"""streams.bench.preflight_plan and agents: the load asks what it says, and remembers what it was
told."""

import json

import pytest

from schemas import codec
from schemas.partitioner import partition_of
from streams.bench.agents import ESTIMATE_UNITS, LEFT_TO_EXPIRE_ONE_IN, Agents
from streams.bench.preflight_books import Told
from streams.bench.preflight_plan import (
    IN_WORKER,
    KILLED,
    OVER_HOP,
    PLAN_UNITS,
    PLANNED,
    PLENTY_UNITS,
    TWO_WORKERS,
    USUAL,
    granted_units,
    targets,
)
from streams.bench.preflight_stack import probes
from streams.gateway.messages import PreflightBody

CUSTOMERS = ["bench-00-00", "bench-00-01"]


def agents() -> Agents:
    return Agents("07", CUSTOMERS, partitions=4)


def answer(approved: bool, reservation: str) -> bytes:
    return json.dumps(
        {"approved": approved, "reason": None, "reservation_id": reservation}, separators=(",", ":")
    ).encode()


def test_a_request_is_whole_and_the_gateway_accepts_its_body() -> None:
    asking = agents()
    for number in (0, 1, 999_999):
        head, _, body = asking.preflight(number).partition(b"\r\n\r\n")
        assert head.startswith(b"POST /v1/preflights HTTP/1.1\r\n")
        assert b"content-length: %d" % len(body) in head
        asked = PreflightBody.model_validate_json(body)
        assert asked.customer_id == CUSTOMERS[number % 2]
        assert asked.estimate == str(ESTIMATE_UNITS)
    assert asking.preflight(5) == asking.preflight(5) != asking.preflight(6)


def test_what_agents_are_told_is_kept_and_what_they_are_not_told_is_asked_again() -> None:
    asking = agents()
    asking.take(0, 200, answer(True, "1-0-7"))
    asking.take(1, 200, answer(False, "1-0-8"))
    asking.take(2, 503, b"{}")
    asking.take(3, 0, b"")
    assert asking.told == {
        (CUSTOMERS[0], "07-000000000"): Told(True, "1-0-7"),
        (CUSTOMERS[1], "07-000000001"): Told(False, "1-0-8"),
    }
    assert asking.unanswered(5) == [2, 3, 4]


def test_approvals_are_settled_by_usage_that_names_them_but_for_one_in_ten() -> None:
    asking = agents()
    for number in range(2 * LEFT_TO_EXPIRE_ONE_IN):
        asking.take(number, 200, answer(number != 3, f"1-0-{number}"))
    records = asking.settlements()
    facts = [codec.decode_usage(record.value) for record in records]
    left = {0, LEFT_TO_EXPIRE_ONE_IN, 3}
    due = [f"1-0-{n}" for n in range(2 * LEFT_TO_EXPIRE_ONE_IN) if n not in left]
    assert [fact.reservation_id for fact in facts] == due
    assert {fact.units for fact in facts} == {ESTIMATE_UNITS}
    assert len({fact.event_id for fact in facts}) == len(facts)
    for record, fact in zip(records, facts, strict=True):
        assert record.key == fact.customer_id.encode()
        assert record.partition == partition_of(record.key, 4)
    assert asking.settlements() == []


def test_budgets_at_a_known_rate_run_out_and_others_do_not() -> None:
    asks = 20_000.0
    for budgets in (1, 50):
        granted = budgets * (granted_units(asks, budgets) + PLAN_UNITS)
        assert granted == asks * ESTIMATE_UNITS * 0.9
    assert granted_units(None, 1) == PLENTY_UNITS
    assert granted_units(1, 50) == 1


@pytest.mark.parametrize("partitions", [1, 8])
def test_every_partition_is_probed(partitions: int) -> None:
    found = [partition_of(customer.encode(), partitions) for customer in probes(partitions)]
    assert found == list(range(partitions))


def test_the_targets_are_those_that_were_promised() -> None:
    usual = {scenario.name: scenario for scenario in USUAL}
    due = {
        (topology.name, name): {label: str(target) for label, target in found.items()}
        for topology in (IN_WORKER, OVER_HOP)
        for name, scenario in usual.items()
        for found in [targets(topology, scenario)]
    }
    assert due["in the worker", "one budget"] == {"p99": "≤ 10"}
    assert due["over a hop", "one budget"] == {"p99": "≤ 20"}
    for topology in ("in the worker", "over a hop"):
        assert due[topology, "sequential"] == {"p50": "≤ 4"}
        assert due[topology, "at most"] == {"per second": "≥ 3,000"}
        assert due[topology, "one budget, ingesting"] == {"p99": "≤ 25"}
        assert due[topology, "lookups"] == {"p99": "≤ 5"}
    assert targets(TWO_WORKERS, KILLED[0]) == {}


def test_scenarios_are_told_apart_by_their_names() -> None:
    for _, scenarios in PLANNED:
        assert len({scenario.name for scenario in scenarios}) == len(scenarios)
