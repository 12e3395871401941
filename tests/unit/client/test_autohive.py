"""Results of Autohive integrations as usage: whoever made one, its cost is exact and kept."""

import json
from dataclasses import asdict, dataclass, make_dataclass
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from schemas.client.autohive import Run, supports_billing, usage_of, usages_of
from schemas.client.errors import NotAResultError
from schemas.client.events import ready
from schemas.errors import RejectError

RUN: dict[str, Any] = {
    "customer_id": "acme",
    "integration": "exa",
    "action": "search",
    "run_id": "run-77",
}
RECORDED = Path(__file__).with_name("autohive_results.jsonl")


# The classes of the SDK, as far as their attributes go.
COST = ("cost_usd", float | None, None)
ActionResult: Any = make_dataclass("ActionResult", [("data", Any), COST])
ActionError: Any = make_dataclass("ActionError", [("message", str), COST])


class ResultType(Enum):
    ACTION = "action"
    ACTION_ERROR = "action_error"
    CONNECTED_ACCOUNT = "connected_account"


@dataclass
class IntegrationResult:
    version: str
    type: ResultType
    result: Any


def cost_of(value: Any) -> str | None:
    return usage_of(ActionResult({}, value), **RUN).usage.cost


def test_a_result_says_what_an_action_cost_and_the_arguments_the_rest() -> None:
    usage, warnings, rounded = usage_of(
        ActionResult({"hits": ["private"]}, 0.005), **RUN, occurred_at="2026-01-15T12:00:00Z"
    )
    assert usage.model_dump(exclude_defaults=True) == {
        "schema_version": 1,
        "event_id": usage.event_id,
        "source": "autohive:exa",
        "customer_id": "acme",
        "occurred_at": "2026-01-15T12:00:00Z",
        "agent_id": "exa",
        "trace_id": "run-77",
        "provider": "exa",
        "model": "search",
        "units": 1,
        "cost": "0.005",
        "metadata": {"run_id": "run-77", "result": "action"},
    }
    assert (warnings, rounded) == ((), False)
    assert b"private" not in ready(usage).value


def test_every_form_of_a_result_says_the_same() -> None:
    result = ActionResult({"a": 1}, 0.25)
    whole = IntegrationResult("2.0.1", ResultType.ACTION, result)
    serialised = {"version": "2.0.1", "type": "action", "result": asdict(result)}
    usages = [usage_of(one, **RUN).usage for one in (result, asdict(result), whole, serialised)]
    assert {usage.cost for usage in usages} == {"0.25"}
    assert len({usage.event_id for usage in usages}) == 1
    assert [(usage.metadata or {}).get("sdk_version") for usage in usages] == [
        *(None, None),
        *("2.0.1", "2.0.1"),
    ]


def test_a_failed_action_keeps_its_cost_and_counts_no_unit() -> None:
    for result in (
        ActionError("boom", 0.01),
        asdict(ActionError("boom", 0.01)),
        IntegrationResult("2.0.1", ResultType.ACTION_ERROR, ActionError("boom", 0.01)),
        {"version": "1.1.0", "type": "error", "result": {"message": "boom", "cost_usd": 0.01}},
    ):
        usage = usage_of(result, **RUN).usage
        assert (usage.success, usage.cost, usage.units) == (False, "0.01", 0)
        assert usage_of(result, **RUN, units=5, failed_units=2).usage.units == 2
    assert usage_of(ActionResult({}, 0.01), **RUN, units=5, failed_units=2).usage.units == 5


def test_null_is_not_known_and_zero_is_a_cost() -> None:
    assert cost_of(None) is None
    assert usage_of({"data": {}}, **RUN).usage.cost is None
    for zero in (0.0, -0.0, 0, Decimal("0.000")):
        usage, _, rounded = usage_of(ActionResult({}, zero), **RUN, supports_billing=True)
        assert (usage.cost, rounded) == ("0", False)
        assert b'"cost":"0"' in ready(usage).value


@pytest.mark.parametrize(
    ("value", "cost", "rounded"),
    [
        (0.015450000000000002, "0.01545", True),
        (0.1 + 0.2, "0.3", True),
        (1e-05, "0.00001", False),
        (5e-13, "0", True),
        (1.5e-12, "0.000000000002", True),
        (2.5e-12, "0.000000000002", True),
        (5e-324, "0", True),
        (0.3 - 0.1 - 0.2, "0", True),
        (12, "12", False),
        (123456789.125, "123456789.125", False),
        (Decimal("0.015450000000000002"), "0.01545", True),
        (Decimal("1E-500"), "0", True),
        (Decimal("0E-500"), "0", False),
    ],
)
def test_a_float_is_read_as_the_decimal_that_it_prints(
    value: Any, cost: str, rounded: bool
) -> None:
    usage, _, was_rounded = usage_of(ActionResult({}, value), **RUN)
    assert (usage.cost, was_rounded) == (cost, rounded)
    assert ((usage.metadata or {}).get("cost_rounded") is True) == rounded


@pytest.mark.parametrize(
    "value",
    [
        *(-0.01, float("nan"), float("inf"), 1e18, True, "0.01", [0.01], 10**18, 10**5000),
        *(Decimal("NaN"), Decimal("1E+999"), Decimal("-1")),
    ],
    # Python does not print every one of them.
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_cost_is_refused_and_not_repeated(value: Any) -> None:
    with pytest.raises(NotAResultError) as caught:
        usage_of(ActionResult({}, value), **RUN)
    assert caught.value.field == "cost_usd"
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize(
    "result",
    [
        *(None, 7, "text", {}, {"result": {}}, {"type": "action"}, {"cost_usd": 1.0}),
        {"type": "action", "result": None},
        {"type": ["action"], "result": {}},
        {"version": "2.0.0", "type": "connected_account", "result": {"email": "a@example.org"}},
        IntegrationResult("2.0.0", ResultType.CONNECTED_ACCOUNT, {}),
    ],
)
def test_what_is_no_result_of_an_action_is_refused(result: Any) -> None:
    with pytest.raises(NotAResultError):
        usage_of(result, **RUN)


def codes(result: Any, **more: Any) -> list[str]:
    return [warning.code for warning in usage_of(result, **RUN, **more).warnings]


def test_supports_billing_decides_what_is_worth_a_warning() -> None:
    free, unknown, failed = ActionResult({}, 0.0), ActionResult({}), ActionError("boom")
    assert codes(unknown, supports_billing=True) == ["cost_missing"]
    assert codes(failed, supports_billing=True) == ["cost_missing"]
    assert codes(free, supports_billing=True) == []
    assert codes(unknown, supports_billing=False) == codes(unknown) == []
    assert codes(free, supports_billing=False) == ["billing_not_declared"]
    assert codes(free) == []
    # The cost counts all the same.
    taken = usage_of(ActionResult({}, 0.5), **RUN, supports_billing=False)
    assert taken.usage.cost == "0.5"
    assert "acme" not in taken.warnings[0].text


def test_inputs_that_were_refused_cost_nothing_and_an_output_that_was_did() -> None:
    def refused(source: str) -> dict[str, Any]:
        inner = {"message": "…", "property": None, "value": None, "source": source}
        return {"version": "2.0.1", "type": "validation_error", "result": inner}

    assert codes(refused("input"), supports_billing=True) == []
    assert codes(refused("output"), supports_billing=True) == ["cost_missing"]
    usage = usage_of(refused("input"), **RUN).usage
    assert (usage.success, usage.cost, usage.units) == (False, None, 0)


def test_config_json_says_whether_billing_is_supported() -> None:
    assert supports_billing({"name": "exa", "supports_billing": True})
    assert not supports_billing({"name": "exa", "supports_billing": False})
    assert not supports_billing({"name": "exa"})


def test_the_id_follows_from_run_action_and_call_and_from_nothing_else() -> None:
    def event_id(**changes: Any) -> str:
        return usage_of(ActionResult({}, 1.0), **{**RUN, **changes}).usage.event_id

    assert event_id() == event_id(units=3, customer_id="other", trace_id="t")
    several = [
        event_id(),
        event_id(run_id="run-78"),
        event_id(action="find"),
        event_id(call="1"),
        event_id(call="2"),
        # Joined texts would be the same.
        event_id(run_id="a", action="bc"),
        event_id(run_id="ab", action="c"),
        event_id(run_id='a","b', action="c"),
        event_id(run_id="a", action='b","c'),
    ]
    assert len(set(several)) == len(several)


def test_a_hold_whose_cost_is_not_known_may_be_charged_whole() -> None:
    more: dict[str, Any] = {"reservation_id": "1-2-3", "usage_missing": True}
    assert usage_of(ActionResult({}), **RUN, **more).usage.usage_missing
    assert not usage_of(ActionResult({}, 0.1), **RUN, **more).usage.usage_missing


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"customer_id": ""}, "customer_id"),
        ({"customer_id": None}, "customer_id"),
        ({"customer_id": "\0x"}, "customer_id"),
        ({"integration": "x" * 120}, "integration"),
        ({"integration": "é" * 60}, "integration"),
        ({"run_id": ""}, "run_id"),
        ({"action": 7}, "action"),
        ({"units": -1}, "units"),
        ({"occurred_at": "yesterday"}, "occurred_at"),
        ({"runid": "x"}, "runid"),
    ],
)
def test_an_argument_that_cannot_be_is_named(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(RejectError) as caught:
        usage_of(ActionResult({}), **{**RUN, **changes})
    assert caught.value.field == field


def test_the_longest_names_fit() -> None:
    names = {"integration": "x" * 119, "action": "y" * 128, "run_id": "z" * 128}
    usage = usage_of(ActionResult({}), **{**RUN, **names}).usage
    assert len(usage.source) == 128


def test_several_results_are_taken_and_none_keeps_another() -> None:
    items = [
        {**RUN, "result": ActionResult({}, 0.1)},
        {**RUN, "run_id": "other", "result": {"data": {}}, "supports_billing": True},
        {**RUN, "result": {"nothing": 1}},
        {**RUN, "run_id": "", "result": ActionResult({})},
        {"result": ActionResult({})},
        RUN,
        {**RUN, "result": ActionResult({}, 0.2)},
    ]
    taken = usages_of(iter(items))
    assert [usage.cost for usage in taken.usages] == ["0.1", None, "0.2"]
    assert [position for position, _ in taken.refused] == [2, 3, 4, 5]
    assert [warning.code for warning in taken.warnings] == ["cost_missing", "repeated"]
    assert taken.warnings[1].text.startswith("item 6: ")


def test_required_are_customer_integration_action_and_run() -> None:
    required = {name for name, field in Run.model_fields.items() if field.is_required()}
    assert required == set(RUN)


def test_what_the_sdk_itself_serialised_is_read() -> None:
    lines = [json.loads(line) for line in RECORDED.read_text("utf-8").splitlines()]
    assert len(lines) >= 6
    for line in lines:
        taken = usage_of(line["result"], **RUN, supports_billing=True)
        told = {
            "cost": taken.usage.cost,
            "success": taken.usage.success,
            "rounded": taken.rounded,
            "warnings": [warning.code for warning in taken.warnings],
        }
        assert told == line["expected"], line["what"]
