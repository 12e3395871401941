"""streams.app.rerating: what rating anew comes to, and the facts that state it."""

from typing import Any

import pytest

from schemas import codec
from schemas.limits import PAYERS_MAX
from schemas.money import PICO
from schemas.structs import Adjustment
from streams.app.rerating import adjustments, rerate_entries
from streams.domain.invoices.tallies import TOKEN_CLASSES
from streams.invoicing.rerating import Choice, Rated, Terms
from tests.builders import NOON_US, book, context

CONTEXT = context(prices=book(small={"input": "3", "output": "15"}, free={"input": "0"}))


def rated(model: str = "small", **more: Any) -> Rated:
    """An entry of a million input tokens that no price was known for."""
    fields: dict[str, Any] = {
        "entry_id": "1-usage-0-7-0",
        "customer_id": "acme",
        "agent_id": "",
        "task_ref": "job",
        "trace_id": "",
        "scope_id": "77",
        "provider": "lab",
        "model": model,
        "cost_basis": "unpriced",
        "usage_missing": False,
        **dict.fromkeys(TOKEN_CLASSES, 0),
        "input_tokens": 10**6,
        "quantities": {},
        "conditions": {},
    }
    known = {name: more.pop(name) for name in list(more) if name in fields}
    stated: dict[str, Any] = {
        "place": (1, 0, 7),
        "charged_at_us": NOON_US + 1,
        "used_at_us": NOON_US,
        "cost_pico": 0,
        "provisional_pico": 15 * PICO,
        "covered_pico": 0,
        "times": 0,
        "price_version": "",
        "price_override": "",
        "paid": {},
    }
    return Rated(**(stated | more), fields=fields | known)


def test_usage_without_a_price_that_has_one_now_is_corrected() -> None:
    found = rerate_entries([rated(), rated("unheard-of")], CONTEXT)
    (correction,) = found.corrections
    assert (correction.rating.cost_pico, correction.provisional_pico) == (3 * PICO, 0)
    assert correction.rise_pico == -12 * PICO
    assert [one.fields["model"] for one in found.unpriced] == ["unheard-of"]
    assert found.version == "test@1"


def test_that_a_model_is_free_is_a_price_too() -> None:
    (correction,) = rerate_entries([rated("free", provisional_pico=0)], CONTEXT).corrections
    assert correction.rise_pico == 0


def test_what_costs_what_it_cost_is_left_alone() -> None:
    same = rated(cost_basis="priced", cost_pico=3 * PICO, provisional_pico=0)
    adjusted = rated(times=1, cost_pico=3 * PICO, provisional_pico=0)
    found = rerate_entries([same, adjusted], CONTEXT)
    assert (found.corrections, found.unchanged) == ([], 2)
    dearer = rated(cost_basis="priced", cost_pico=2 * PICO, provisional_pico=0)
    (correction,) = rerate_entries([dearer], CONTEXT).corrections
    assert correction.rise_pico == PICO


def test_of_what_was_held_for_unknown_usage_nothing_is_given_back() -> None:
    (correction,) = rerate_entries([rated(usage_missing=True)], CONTEXT).corrections
    assert correction.provisional_pico == 12 * PICO
    assert correction.rise_pico == 0


def test_quantities_and_conditions_are_rated_as_they_were_recorded() -> None:
    found = rerate_entries([rated(quantities={"tool_calls": 1}, conditions={"a": "b"})], CONTEXT)
    assert found.corrections[0].rating.partial


def fact_of(entry: Rated, terms: dict[str, Terms] | None = None) -> Adjustment:
    (fact,) = adjustments(rerate_entries([entry], CONTEXT).corrections, terms or {})
    read = codec.decode_budget(codec.encode(fact))
    assert read == fact
    return fact


def test_an_adjustment_states_both_sides_and_counts_those_before_it() -> None:
    fact = fact_of(rated())
    assert (fact.event_id, fact.entry_id) == ("1-usage-0-7-0#1", "1-usage-0-7-0")
    assert (fact.old_cost, fact.old_provisional) == ("0", "15")
    assert (fact.new_cost, fact.new_provisional) == ("3", "0")
    assert (fact.charged_at, fact.used_at) == (NOON_US + 1, NOON_US)
    assert (fact.charged_generation, fact.charged_sequence) == (1, 7)
    assert (fact.task_ref, fact.agent_id, fact.was_unpriced) == ("job", None, True)
    assert (fact.trace_id, fact.scope_id) == (None, "77"), "its trace window finds it by these"
    assert (fact.price_version, fact.priced_as) == ("test@1", "lab/small")
    again = fact_of(rated(times=2, cost_pico=PICO))
    assert (again.event_id, again.was_unpriced) == ("1-usage-0-7-0#3", False)


def test_an_adjustment_names_the_last_grants_that_paid_with_their_terms() -> None:
    paid = {f"g{n}": n + 1 for n in range(PAYERS_MAX + 3)}
    terms = {name: Terms(5, 1, None) for name in paid} | {"g66": Terms(7, 2, 9)}
    payers = fact_of(rated(paid=paid, covered_pico=10), terms).payers
    assert [payer.grant_id for payer in payers] == [f"g{n}" for n in range(3, PAYERS_MAX + 3)]
    last = payers[-1]
    assert (last.amount, last.priority, last.effective_at, last.expires_at) == (
        "0.000000000067",
        7,
        2,
        9,
    )


@pytest.mark.parametrize(
    ("choice", "parts"),
    [
        (Choice(), ["cost_basis = 'unpriced'", "unpriced_quantity", "times = 0"]),
        (Choice("b@1"), ["version_now = {version:String}"]),
        (Choice(customer_id="x'"), ["customer_id = {of_customer_id:String}"]),
        (Choice(since_us=1, until_us=2), ["occurred_at >=", "occurred_at <"]),
    ],
)
def test_a_choice_is_a_condition_with_parameters(choice: Choice, parts: list[str]) -> None:
    condition, parameters = choice.where()
    assert all(part in condition for part in parts)
    assert "x'" not in condition
    assert len(parameters) == condition.count("{") - condition.count("{version") // 2
