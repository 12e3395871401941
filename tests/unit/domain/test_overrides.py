"""streams.domain.overrides: which of the seller's own prices applies, and what it comes to."""

from typing import Any

import pytest

from schemas.money import PICO, parse_signed_amount
from schemas.structs import PriceOverride, UsageEntry
from streams.domain import overrides as module
from streams.domain.context import CatalogView
from streams.domain.rating import Rating
from tests.builders import (
    NOON_US,
    book,
    catalog_record,
    catalog_view,
    cycle,
    fact,
    of_kind,
    state,
    usage,
)

BOOK = book(
    small={"input": "3", "output": "15"},
    tiered={"input": ("1", [(100, "2")]), "output": "10"},
)


def override(name: str = "o", version: str = "1", **fields: Any) -> PriceOverride:
    """An override for the model `small` unless it says otherwise."""
    given = {"match": {"equals": "small"}} | fields
    if not given.keys() & {"rates", "quantities", "multiplier", "withdrawn"}:
        given["multiplier"] = "2"
    found: PriceOverride = catalog_record("price_override", id=name, version=version, **given)
    return found


def view_of(*overrides: PriceOverride) -> CatalogView:
    view = catalog_view(prices=BOOK)
    for record in overrides:
        view.fold(view.next_offset, record)
    return view


def rating_of(view: CatalogView, customer: str = "acme", **fields: Any) -> Rating:
    """What a million tokens in cost a customer now, in the cycle of a worker."""
    given = {"provider": "lab", "model": "small", "tokens": {"input": 10**6}} | fields
    result = cycle(state(), fact(usage(customer, **given)), context=view.context())
    (entry,) = of_kind(UsageEntry, result.entries)
    return Rating(
        parse_signed_amount(entry.cost),
        entry.currency,
        entry.cost_basis,
        entry.price_version,
        entry.priced_as,
        parse_signed_amount(entry.provisional),
        entry.price_override,
    )


def dollars(view: CatalogView, customer: str = "acme", **fields: Any) -> float:
    return rating_of(view, customer, **fields).cost_pico / PICO


def test_without_an_override_the_book_prices_and_nothing_else_is_pinned() -> None:
    assert rating_of(view_of()) == Rating(3 * PICO, "USD", "priced", "test@1", "lab/small")


def test_an_override_takes_the_place_of_the_rates_that_it_names_and_is_pinned() -> None:
    view = view_of(override(rates={"input": {"base": "1"}}))
    assert rating_of(view) == Rating(PICO, "USD", "priced", "test@1", "lab/small", 0, "o@1")
    assert dollars(view, tokens={"output": 10**6}) == 15


def test_a_class_without_a_rate_of_its_own_follows_the_overridden_one() -> None:
    view = view_of(override(rates={"input": {"base": "1"}}))
    assert dollars(view, tokens={"cache_read": 10**6}) == 1


def test_beside_an_override_for_others_the_book_prices_as_if_there_were_none() -> None:
    view = view_of(override(customer_id="globex"), override("x", match={"equals": "other"}))
    assert rating_of(view) == rating_of(view_of())
    assert rating_of(view, model="tiered", tokens={"input": 101}).cost_pico == 202 * 10**6


def test_a_multiplier_multiplies_the_exact_cost_before_the_one_rounding() -> None:
    view = view_of(override(multiplier="0.333333333333"))
    # A token costs three million pico-dollars, and a third of them, less three millionths.
    assert rating_of(view, tokens={"input": 1}).cost_pico == 10**6
    assert dollars(view_of(override(multiplier="0")), tokens={"input": 5}) == 0


@pytest.mark.parametrize("first", ["for all", "for acme"])
def test_a_customers_own_override_comes_before_those_for_all(first: str) -> None:
    for_all = override("all", multiplier="2")
    own = override("own", multiplier="3", customer_id="acme")
    view = view_of(*((for_all, own) if first == "for all" else (own, for_all)))
    assert (dollars(view), dollars(view, "globex")) == (9, 6)


def test_of_several_the_one_appended_last_wins_and_alone_applies() -> None:
    view = view_of(
        override("a", rates={"input": {"base": "1"}}),
        override("b", rates={"output": {"base": "1"}}),
    )
    assert dollars(view) == 3
    assert dollars(view, tokens={"output": 10**6}) == 1


def test_a_new_version_comes_last_and_takes_the_place_of_the_old_one() -> None:
    view = view_of(
        override("a", multiplier="2"),
        override("b", multiplier="5"),
        override("a", "2", multiplier="7"),
    )
    assert rating_of(view).override == "a@2"
    assert dollars(view) == 21
    view.fold(view.next_offset, override("a", "3", withdrawn=True))
    assert dollars(view) == 15
    view.fold(view.next_offset, override("b", "2", withdrawn=True))
    assert rating_of(view).override == ""


def test_an_override_holds_for_events_inside_its_time() -> None:
    view = view_of(override(effective_from=NOON_US, effective_to=NOON_US + 1))
    for at_us, cost in ((NOON_US - 1, 3), (NOON_US, 6), (NOON_US + 1, 3)):
        found = module.Overrides(view.context().prices, view.overrides.all)
        hit = found.find("acme", "lab", "small", {}, at_us)
        assert (6 if hit else 3) == cost


def test_an_override_for_conditions_holds_for_calls_made_so() -> None:
    view = view_of(override(when={"processing": "batch"}, multiplier="0.5"))
    assert dollars(view) == 3
    assert dollars(view, conditions={"processing": "batch", "route": "x"}) == 1.5
    assert dollars(view, conditions={"processing": "Batch"}) == 3


@pytest.mark.parametrize(
    ("fields", "applies"),
    [
        ({"provider": "lab"}, True),
        ({"provider": "LAB"}, True),
        ({"provider": "other"}, False),
        ({"match": {"starts_with": "sm"}}, True),
        ({"match": {"equals": "SMALL"}}, True),
        ({"match": {"equals": "large"}}, False),
    ],
)
def test_an_override_is_found_by_provider_and_model(fields: dict[str, Any], applies: bool) -> None:
    assert dollars(view_of(override(**fields))) == (6 if applies else 3)


def test_an_override_for_a_model_of_the_book_holds_for_all_names_that_the_book_knows() -> None:
    models = [{"id": "small", "match": {"starts_with": "sm"}, "spans": [{"rates": {}}]}]
    provider = {"id": "lab", "match": {"contains": "lab"}, "models": models}
    view = catalog_view(prices=catalog_record("price_book", providers=[provider]))
    view.fold(view.next_offset, override(provider="lab", rates={"input": {"base": "4"}}))
    assert dollars(view, provider="my-lab", model="sm-2026") == 4


def test_an_override_prices_a_model_that_the_book_does_not_know() -> None:
    view = view_of(override(match={"equals": "own"}, rates={"input": {"base": "4"}}))
    found = rating_of(view, provider="house", model="own")
    assert found == Rating(4 * PICO, "USD", "priced", "test@1", "", 0, "o@1")
    assert rating_of(view, provider="house", model="own", tokens={"output": 1}).basis == "unpriced"
    assert rating_of(view, provider="house", model="own", cost="9").cost_pico == 9 * PICO


def test_a_multiplier_of_an_unknown_price_is_no_price() -> None:
    view = view_of(override(match={"equals": "own"}, multiplier="2"))
    assert rating_of(view, model="own").basis == "unpriced"


def test_tiers_of_an_override_go_by_the_input_of_the_event() -> None:
    view = view_of(
        override(match={"equals": "tiered"}, rates={"input": {"base": "5", "tiers": [[10, "7"]]}})
    )
    assert dollars(view, model="tiered", tokens={"input": 10}) == 50e-6
    assert dollars(view, model="tiered", tokens={"input": 11}) == 77e-6


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"multiplier": "2", "rates": {"input": {"base": "1"}}}, "not both"),
        ({"rates": {}}, "not both or neither"),
        ({"rates": {"dreams": {"base": "1"}}}, "unknown token classes"),
        ({"match": {"sounds": "x"}}, "unknown clause"),
        ({"effective_from": 5, "effective_to": 5}, "ends before it begins"),
        ({"quantities": {"input_image_tokens": {"price": "1", "per": 1}}}, "by the million"),
    ],
)
def test_what_could_not_be_used_is_refused_when_it_is_taken(
    fields: dict[str, Any], fault: str
) -> None:
    with pytest.raises(ValueError, match=fault):
        view_of(override(**fields))


def test_a_version_is_never_said_twice() -> None:
    with pytest.raises(ValueError, match="there already"):
        view_of(override(), override(multiplier="9"))


def test_overrides_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.domain.context.OVERRIDES_MAX", 2)
    view = view_of(override("a"), override("b"), override("b", "2"))
    with pytest.raises(ValueError, match="the most that there may be"):
        view.fold(view.next_offset, override("c"))
    view.fold(view.next_offset, override("a", "2", withdrawn=True))
    view.fold(view.next_offset, override("c", "2"))


def test_what_was_looked_up_is_remembered_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED_MAX", 10)
    found = view_of(override()).overrides
    for number in range(50):
        assert found.find("acme", "lab", f"m-{number}", {}, 0) is None
    assert len(found._found) <= 11
    hit = found.find("acme", "lab", "small", {}, 0)
    assert hit is not None
    assert found.find("acme", "lab", "small", {}, 0) is hit


def test_customers_without_a_price_of_their_own_are_not_remembered() -> None:
    found = view_of(override(customer_id="acme")).overrides
    for number in range(50):
        found.find(f"c{number}", "lab", "small", {}, 0)
    assert not found._found
