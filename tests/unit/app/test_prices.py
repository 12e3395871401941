"""streams.app.prices: what is shown of prices, what differs between books, and new overrides."""

from typing import Any

import pytest

from schemas.money import PICO
from schemas.structs import PriceOverride
from streams.app.prices import (
    INSTALLED,
    Shelf,
    compare_books,
    listed_models,
    plan_override,
    shown_model,
)
from streams.errors import SetupError
from tests.builders import NOON_US, book, catalog_record, span

RATES = {"match": {"equals": "small"}, "rates": {"input": {"base": "1"}}}


def shelf(*overrides: PriceOverride) -> Shelf:
    found = Shelf()
    found.fold(0, catalog_record("generation", generation=1, partitions=8, topic_ids={}))
    found.fold(1, catalog_record("rules", default_plan=[]))
    found.fold(2, book(small={"input": "3", "output": "15"}))
    for record in overrides:
        found.fold(found.next_offset, record)
    return found


def test_a_book_is_found_by_its_version_and_a_missing_one_is_named() -> None:
    assert shelf().book(None) is shelf().books["test@1"] or shelf().book("test@1").version == "1"
    assert shelf().book(INSTALLED).id == "genai-prices"
    with pytest.raises(SetupError, match="there are: test@1"):
        shelf().book("test@9")
    with pytest.raises(SetupError, match="none"):
        Shelf().book(None)


def test_models_are_listed_with_the_prices_of_a_time() -> None:
    dated = book(small=[span(input="1"), span(from_day="2026-02-01", input="2")])
    (now,) = listed_models(dated, NOON_US)
    (later,) = listed_models(dated, NOON_US + 30 * 86_400 * 10**6)
    assert now.reference == later.reference == "lab/small"
    assert (now.named.tokens["input"].base, later.named.tokens["input"].base) == (PICO, 2 * PICO)


def test_a_model_is_shown_as_a_worker_would_rate_it() -> None:
    view = shelf(catalog_record("price_override", **(RATES | {"customer_id": "acme"})))

    def shown(model: str = "small", customer: str = "") -> Any:
        return shown_model(view, "lab", model, customer, {}, NOON_US)

    assert (shown().reference, shown().override) == ("lab/small", None)
    assert shown().named.tokens["input"].base == 3 * PICO
    own = shown(customer="acme")
    assert (own.override.reference, own.named.tokens["input"].base) == ("test@1", PICO)
    assert own.named.tokens["output"].base == 15 * PICO
    assert shown("unheard-of") is None


def test_books_are_compared_by_the_prices_of_a_time() -> None:
    old = book(
        same={"input": "1"},
        gone={"input": "1"},
        dearer={"input": "1", "output": "2"},
        later=[span(input="1")],
    )
    new = book(
        same={"input": "1"},
        fresh={"input": "1"},
        dearer={"input": "1.5", "cache_read": "3", "output": "2"},
        later=[span(input="1"), span(from_day="2027-01-01", input="2")],
    )
    found = [
        (one.reference, one.kind, one.what, one.before, one.after)
        for one in compare_books(old, new, NOON_US)
    ]
    assert found == [
        ("lab/dearer", "changed", "cache_read", None, 3 * PICO),
        ("lab/dearer", "changed", "input", PICO, 3 * PICO // 2),
        ("lab/fresh", "added", "", None, None),
        ("lab/gone", "removed", "", None, None),
        ("lab/later", "other", "", None, None),
    ]
    assert compare_books(new, new, NOON_US) == []


def test_an_override_gets_the_first_version_that_is_free() -> None:
    first = plan_override(shelf(), "ours", RATES | {"reason": None})
    assert (first.id, first.version, first.reason) == ("ours", "1", "")
    second = plan_override(shelf(first), "ours", RATES)
    assert second.version == "2"


def test_a_withdrawal_repeats_what_it_withdraws() -> None:
    first = plan_override(shelf(), "ours", RATES | {"customer_id": "acme"})
    view = shelf(first)
    gone = plan_override(view, "ours", {"withdrawn": True})
    assert (gone.version, gone.customer_id, gone.match) == ("2", "acme", {"equals": "small"})
    view.fold(view.next_offset, gone)
    assert view.overrides.all == ()
    with pytest.raises(SetupError, match="in force"):
        plan_override(view, "ours", {"withdrawn": True})


@pytest.mark.parametrize(
    "fields",
    [
        {"match": {"equals": "small"}},
        RATES | {"multiplier": "2"},
        RATES | {"rates": {"input": {"base": "much"}}},
        RATES | {"rates": {"dreams": {"base": "1"}}},
        RATES | {"match": {"sounds": "x"}},
        RATES | {"when": {"a": ""}},
    ],
)
def test_what_no_worker_could_use_is_not_planned(fields: dict[str, Any]) -> None:
    with pytest.raises(SetupError, match="no price override"):
        plan_override(shelf(), "ours", fields)
