"""Paid's tracing of Python, unmodified, against the gateway: what its spans say is in the log and
the ledger, and nothing else of them is."""

import json
import os
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from schemas.structs import SignalEntry
from tests.clients.lossy import Lossy
from tests.clients.paid_runs import CHAT, EMBEDDING, MESSAGE, RESPONSE, Run
from tests.clients.providers import Providers
from tests.clients.serving import served
from tests.clients.whole import Target, Whole, fresh

PROGRAM = Path(__file__).parent / "paid_traced.py"
SECONDS_MAX = 90

COSTS: dict[str, list[Decimal]] = {
    "wrapped": [CHAT, RESPONSE, EMBEDDING, MESSAGE],
    "awaited": [CHAT, MESSAGE],
    "scoped": [CHAT, MESSAGE],
    "shared": [CHAT],
    "unclaimed": [MESSAGE],
    "by_hand": [Decimal("0.002")],
    "late": [CHAT],
    "nested": [CHAT],
    "automatic": [CHAT, CHAT],
}


@pytest.fixture(scope="session")
def run(whole: Whole, providers: Providers) -> Run:
    """All workflows in one process."""
    customer = fresh("traced")
    return Run(whole, customer, traced(whole.inside, providers, customer, *COSTS))


def traced(target: Target, providers: Providers, customer: str, *workflows: str) -> dict[str, str]:
    """Runs the program against a gateway; the traces of its workflows."""
    environment = os.environ | {
        "PAID_API_KEY": target.key,
        "TOLLGATE_URL": target.url,
        "PROVIDERS_URL": providers.url,
    }
    done = subprocess.run(
        [sys.executable, str(PROGRAM), customer, *workflows],
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("workflow", COSTS)
def test_every_call_is_charged_to_the_pico_dollar_and_once(run: Run, workflow: str) -> None:
    charged = [cost for cost in map(run.cost_of, run.usage_of(workflow)) if cost]
    assert Counter(charged) == Counter(COSTS[workflow])


@pytest.fixture(scope="session")
def settled(run: Run, delivered: Whole) -> Run:
    """The run when each outcome carries exactly the cost of its calls, and what nobody claims is
    nobody's."""
    delivered.wait_carried(
        run.customer,
        [
            ("email_sent", total("wrapped")),
            ("ticket_closed", CHAT + MESSAGE),
            ("meeting_booked", CHAT + MESSAGE),
            ("first_half", CHAT / 2),
            ("second_half", CHAT / 2),
            ("manual", Decimal("0.002")),
            ("too_early", CHAT),
            ("planned", CHAT),
            ("email_sent", 2 * CHAT),
        ],
    )
    delivered.wait_rows(
        "SELECT trace_id, toString(cost) FROM unattributed_costs "
        f"WHERE customer_id = '{run.customer}'",
        [(run.traces["unclaimed"], MESSAGE)],
    )
    return run


def total(workflow: str) -> Decimal:
    """What all calls of a workflow cost."""
    return sum(COSTS[workflow], Decimal())


@pytest.mark.parametrize("workflow", COSTS)
def test_an_outcome_carries_exactly_the_cost_of_its_calls(
    settled: Run, delivered: Whole, workflow: str
) -> None:
    trace = settled.traces[workflow]
    if workflow == "by_hand":
        [trace] = [one.trace_id for one in settled.signals_of(workflow)]
    done = delivered.command("trace", "show", settled.customer, trace, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["totals"]["USD"]
    nobody_s = total(workflow) if workflow == "unclaimed" else Decimal()
    assert {name: Decimal(amount) for name, amount in told.items()} == {
        "cost": total(workflow),
        "carried": total(workflow) - nobody_s,
        "unattributed": nobody_s,
        "open": 0,
    }


def test_spans_whose_answer_was_lost_are_counted_once(
    run: Run, delivered: Whole, providers: Providers
) -> None:
    customer, app = fresh("traced"), Lossy(delivered.inside.url)
    app.losing = 1
    with served(app) as url:
        traces = traced(Target(url, delivered.inside.key), providers, customer, "wrapped")
    assert len(app.arrived) > 1
    again = Run(delivered, customer, traces)
    assert len({one.event_id for one in again.usage}) < len(again.usage)
    delivered.wait_carried(customer, [("email_sent", total("wrapped"))])


def test_calls_have_their_place_in_the_trace(run: Run) -> None:
    for usage in run.usage_of("wrapped"):
        assert (usage.source, usage.trace_id) == ("otlp", run.traces["wrapped"])
        assert usage.event_id == f"{usage.trace_id}:{usage.span_id}"
        assert (usage.agent_id, usage.metadata["campaign_id"]) == ("sdr", "wrapped")
        assert usage.scope_id.isdecimal()
        assert usage.occurred_at
    assert len({usage.scope_id for usage in run.usage_of("wrapped")}) == 1
    failed = [usage for usage in run.usage_of("wrapped") if not usage.success]
    assert [usage.tokens for usage in failed] == [None]


def test_signals_claim_their_trace_where_they_ask_for_it(run: Run) -> None:
    opened, sent = sorted(run.signals_of("wrapped"), key=lambda one: str(one.name))
    assert (opened.name, opened.cost_tracing) == ("email_opened", False)
    assert (sent.name, sent.cost_tracing) == ("email_sent", True)
    assert sent.trace_id == run.traces["wrapped"]
    assert (sent.scope_id, sent.agent_id, sent.metadata["to"]) == (None, "sdr", "bob")
    assert [one.cost_tracing for one in run.signals_of("shared")] == [True, True]
    entries = [one for one in run.entries if isinstance(one, SignalEntry)]
    assert len(entries) == len(run.signals) - 1, "a signal that was sent twice counts once"


def test_an_outcome_over_rest_claims_the_scope_of_the_calls(run: Run) -> None:
    scopes = {usage.scope_id for usage in run.usage_of("scoped")}
    first, again = [one for one in run.signals if one.name == "meeting_booked"]
    assert scopes == {first.scope_id}
    assert (first.event_id, first.cost_tracing) == (f"{run.customer}-scoped", True)
    # Sent again under its key, with the scope that comes after the first: nothing but a conflict.
    assert again.event_id == first.event_id


def test_a_cost_by_hand_is_alone_with_its_signal(run: Run) -> None:
    [signal], [usage] = run.signals_of("by_hand"), run.usage_of("by_hand")
    assert signal.trace_id == usage.trace_id == f"signal:{signal.event_id}"
    assert signal.cost_tracing


def test_neither_prompts_nor_keys_come_into_the_log(run: Run, whole: Whole) -> None:
    assert len(run.raw) == len(run.usage) + len(run.signals) > 20
    log = b"".join(run.raw)
    for secret in (b"soup", b"Hello", b"sk-provider", whole.keys.good[-40:].encode()):
        assert secret not in log
