"""Paid's Node client, unmodified, against the gateway."""

import json
import os
import subprocess
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from schemas.structs import SignalEntry, UsageEntry
from tests.clients.node import program
from tests.clients.paid_runs import MESSAGE, RESPONSE, Run
from tests.clients.providers import Providers
from tests.clients.whole import FREE_UNITS, Target, Whole, fresh

SECONDS_MAX = 60


def run(name: str, target: Target, project: Path, *words: str, **more: str) -> Any:
    """What a program prints beside what Paid's tracing says of itself."""
    environment = os.environ | {
        "PAID_API_KEY": target.key,
        "TOLLGATE_URL": target.url,
        "PAID_OTEL_COLLECTOR_ENDPOINT": f"{target.url}/v1/traces",
    }
    done = subprocess.run(
        [program("node"), name, *words],
        env=environment | more,
        cwd=project,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
    )
    assert done.returncode == 0, done.stderr
    [told] = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return json.loads(told)


def test_the_node_client_makes_a_customer_and_records_once(
    target: Target, whole: Whole, paid_project: Path
) -> None:
    customer = fresh("c")
    assert run("paid_rest.mjs", target, paid_project, customer) == {
        "customer": [True, "Acme 2", customer],
        "order": ["draft", 1],
        "first": {"ingested": 1, "duplicates": 0, "failed": 0},
        "again": {"ingested": 0, "duplicates": 1, "failed": 0},
        "costs": {"ingested": 1, "duplicates": 0, "failed": 0},
        "credits": [["unit", FREE_UNITS]],
        "missing": [True, 404, "NOT_FOUND"],
    }
    whole.installation.wait_consumed()
    found = [one for part in whole.installation.entries() for one in part]
    mine = [one for one in found if getattr(one, "customer_id", "") == customer]
    [signal] = [one for one in mine if isinstance(one, SignalEntry)]
    [usage] = [one for one in mine if isinstance(one, UsageEntry)]
    assert (signal.signal_name, signal.agent_id) == ("meeting_booked", f"{customer}-sdr")
    assert usage.cost == "0.3"


CHAT = Decimal("0.008775")
"""Without the cache, which this wrapper of Node does not report: 1,200 * 3 + 345 * 15."""

TRACED: dict[str, list[Decimal]] = {
    "wrapped": [CHAT, RESPONSE, MESSAGE],
    "unclaimed": [MESSAGE],
    "shared": [CHAT],
    "by_hand": [Decimal("0.3")],
}


@pytest.fixture(scope="session")
def traced(whole: Whole, providers: Providers, paid_project: Path) -> Run:
    """All workflows in one process."""
    customer = fresh("traced")
    more = {"PROVIDERS_URL": providers.url}
    return Run(
        whole, customer, run("paid_traced.mjs", whole.inside, paid_project, customer, **more)
    )


@pytest.mark.parametrize("workflow", TRACED)
def test_every_call_of_node_is_charged_to_the_pico_dollar_and_once(
    traced: Run, workflow: str
) -> None:
    charged = [cost for cost in map(traced.cost_of, traced.usage_of(workflow)) if cost]
    assert Counter(charged) == Counter(TRACED[workflow])


def test_outcomes_of_node_carry_exactly_the_cost_of_their_calls(
    traced: Run, delivered: Whole
) -> None:
    delivered.wait_carried(
        traced.customer,
        [
            ("email_sent", sum(TRACED["wrapped"], Decimal())),
            ("first_half", CHAT / 2),
            ("second_half", CHAT / 2),
            ("manual", Decimal("0.3")),
        ],
    )


def test_signals_of_node_claim_their_trace_where_they_ask_for_it(traced: Run) -> None:
    opened, sent = sorted(traced.signals_of("wrapped"), key=lambda one: str(one.name))
    assert [(one.name, one.cost_tracing) for one in (opened, sent)] == [
        ("email_opened", False),
        ("email_sent", True),
    ]
    assert (sent.trace_id, sent.agent_id) == (traced.traces["wrapped"], "sdr")
    assert [one.cost_tracing for one in traced.signals_of("shared")] == [True, True]
    [by_hand], [usage] = traced.signals_of("by_hand"), traced.usage_of("by_hand")
    assert by_hand.trace_id == usage.trace_id == f"signal:{by_hand.event_id}"


def test_nothing_of_node_s_prompts_and_keys_comes_into_the_log(traced: Run, whole: Whole) -> None:
    log = b"".join(traced.raw)
    assert len(traced.raw) == len(traced.usage) + len(traced.signals) >= 10
    for secret in (b"soup", b"Hello", b"sk-provider", whole.keys.good[-40:].encode()):
        assert secret not in log
