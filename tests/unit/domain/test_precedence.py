"""Why a preflight is refused: by the first of the reasons that hold, each pair in its order."""

from itertools import combinations

import pytest

from schemas import codec
from schemas.budget import Denomination
from streams.domain.decisions import (
    BUDGET,
    CEILING,
    FREE_TIER,
    PLAN_LIMIT,
    REFUSALS,
    TASK_CEILING,
)
from tests.builders import DAY_US, context, grant, json_of, usage
from tests.owned_account import Owned

PLAIN = "approved"


def limit(event_id: str, **more: object) -> object:
    fields = {"kind": "limit", "denomination": "unit", "resets": "day"} | more
    return codec.decode_budget(json_of("acme", event_id, fields))


def reason(*held: str) -> str:
    """The reason of a preflight for ten units where these reasons hold, of the task first."""
    seller = next((one for one in (FREE_TIER, PLAN_LIMIT) if one in held), None)
    plan = None if seller is None else {"code": seller, "denomination": "unit", "amount": "9"}
    owned = Owned(context([("unit", "9" if BUDGET in held else "100")], seller_plan=plan))
    ceiling = "9" if CEILING in held else None
    task_ceiling = "9" if TASK_CEILING in held else "100"
    of_task = owned.ask(
        "t",
        account_kind="task",
        account_id="job",
        estimate="10",
        ceiling=ceiling,
        task_ceiling=task_ceiling,
    )
    if not of_task.approved:
        return of_task.reason
    return owned.ask("c", estimate="10", ceiling=ceiling).reason or PLAIN


@pytest.mark.parametrize("one", REFUSALS)
def test_each_reason_refuses_alone(one: str) -> None:
    assert reason(one) == one


@pytest.mark.parametrize(
    ("first", "second"),
    [pair for pair in combinations(REFUSALS, 2) if pair != (FREE_TIER, PLAN_LIMIT)],
)
def test_of_two_reasons_the_earlier_is_told(first: str, second: str) -> None:
    # A seller has one plan: its two reasons never hold together.
    assert reason(first, second) == first


def test_without_any_reason_it_is_approved() -> None:
    assert reason() == PLAIN


def test_a_denomination_that_nothing_bounds_is_tracked_and_never_refused() -> None:
    owned = Owned()
    told = owned.ask(estimate="999999999", denomination="token")
    assert (told.approved, told.remaining) == (True, None)


def test_a_denomination_that_was_granted_once_stays_bounded_when_it_is_spent() -> None:
    owned = Owned()
    owned.give(grant(denomination="token", amount="5"))
    owned.give(usage(units=0, tokens={"input": 5}))
    owned.fold()
    assert owned.account.grants[0].denomination == Denomination.UNIT
    assert owned.ask(denomination="token").reason == BUDGET


def test_a_limit_bounds_one_agent_and_leaves_the_others() -> None:
    owned = Owned()
    owned.give(limit("l1", agent_id="bot", amount="5"))
    owned.fold()
    assert owned.ask("k1", agent_id="bot", estimate="6").reason == BUDGET
    assert owned.ask("k2", agent_id="bot", estimate="5").approved
    assert owned.ask("k3", agent_id="bot").reason == BUDGET, "the hold counts too"
    assert owned.ask("k4", agent_id="other", estimate="6").approved


def test_a_limit_begins_anew_with_its_period_and_is_lifted_without_an_amount() -> None:
    owned = Owned()
    owned.give(limit("l1", amount="5"))
    owned.give(usage(units=5))
    owned.fold()
    assert owned.ask("k1").reason == BUDGET
    owned.now_us += DAY_US
    assert owned.ask("k2", estimate="5").approved
    owned.give(limit("l2"))
    owned.fold()
    assert owned.ask("k3", estimate="500").approved
