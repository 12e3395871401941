"""What files become in the catalog: versions, differences, what is backdated; previews."""

from pathlib import Path
from typing import Any

import pytest

from schemas.structs import RateCard, RatePlan
from schemas.times import parse_time_us
from streams.app.rate_files import RateDocument, read_rate_files
from streams.app.rate_preview import PREVIEW_VERSION, Previewed, shelf_with, sums
from streams.app.rates import PlannedVersion, differences, plan_versions
from streams.domain.context import CatalogView
from streams.domain.invoices.timeline import CardAt, PlanAt
from streams.domain.rate_cards import RateShelf, in_force
from streams.errors import SetupError
from tests.builders import catalog_record, catalog_view

NOW_US = parse_time_us("2026-11-15T00:00:00Z")
DAY = "2026-12-01"
DAY_US = parse_time_us(f"{DAY}T00:00:00Z")


def card(version: str = "1", card_id: str = "pro", **fields: Any) -> RateCard:
    record: RateCard = catalog_record("rate_card", id=card_id, version=version, **fields)
    return record


def plan(version: str = "1", plan_id: str = "team", **fields: Any) -> RatePlan:
    record: RatePlan = catalog_record("rate_plan", id=plan_id, version=version, **fields)
    return record


def shelf_of(*records: RateCard | RatePlan) -> RateShelf:
    shelf = RateShelf()
    for offset, record in enumerate(records):
        shelf.fold(offset, record)
    return shelf


@pytest.fixture
def documents(tmp_path: Path) -> Any:
    """Reads documents out of a text."""

    def read(text: str) -> list[RateDocument]:
        path = tmp_path / "cards.yaml"
        path.write_text(text, encoding="utf-8")
        found = read_rate_files([str(path)])
        assert not found.faults
        return found.documents

    return read


def pro(price: str = "1", begins: str = "", more: str = "") -> str:
    since = f"effective_from: {begins}\n" if begins else ""
    return (
        f"kind: rate_card\nid: pro\n{since}items:\n"
        f"  - {{id: calls, metric: calls, price: {price}}}\n{more}"
    )


def calls(price: str = "1") -> list[dict[str, Any]]:
    return [{"id": "calls", "metric": "calls", "price": price}]


def only(planned: list[PlannedVersion]) -> PlannedVersion:
    (one,) = planned
    return one


def test_new_content_becomes_the_next_version_and_the_same_content_stays(documents: Any) -> None:
    shelf = shelf_of(card(items=calls("1")), card("2", items=calls("2"), effective_from=DAY_US))
    same = only(plan_versions(shelf, documents(pro("2", DAY)), NOW_US))
    assert (same.is_new, same.record.version) == (False, "2")
    other = only(plan_versions(shelf, documents(pro("3", DAY)), NOW_US))
    assert (other.is_new, other.record.version, other.backdated) == (True, "3", False)


def test_content_that_was_replaced_at_its_own_time_becomes_a_version_again(documents: Any) -> None:
    shelf = shelf_of(
        card("1", items=calls("1"), effective_from=DAY_US),
        card("2", items=calls("2"), effective_from=DAY_US),
    )
    back = only(plan_versions(shelf, documents(pro("1", DAY)), NOW_US))
    assert (back.is_new, back.record.version) == (True, "3")


def test_a_file_of_several_versions_is_left_alone_when_it_is_applied_again(
    documents: Any,
) -> None:
    text = pro("1") + "---\n" + pro("2", DAY) + "---\n" + pro("3", "2027-06-01")
    first = plan_versions(RateShelf(), documents(text), NOW_US)
    assert [one.record.version for one in first if one.is_new] == ["1", "2", "3"]
    again = plan_versions(shelf_of(*(one.record for one in first)), documents(text), NOW_US)
    assert [one.record.version for one in again] == ["1", "2", "3"]
    assert not any(one.is_new for one in again)


def test_a_version_number_that_somebody_took_is_passed_over(documents: Any) -> None:
    shelf = shelf_of(card("3", items=calls("1")), card("1", items=calls("2")))
    planned = only(plan_versions(shelf, documents(pro("5", DAY)), NOW_US))
    assert planned.record.version == "4"


def test_what_changes_the_past_is_told(documents: Any) -> None:
    shelf = shelf_of(card(items=calls("1")))
    for begins, backdated in (("", True), ("2026-11-14", True), ("2026-11-15", False)):
        planned = only(plan_versions(shelf, documents(pro("2", begins)), NOW_US))
        assert planned.backdated is backdated
    assert not only(plan_versions(RateShelf(), documents(pro("2")), NOW_US)).backdated


def test_a_plan_must_point_to_a_card_of_the_catalog_or_of_the_same_files(documents: Any) -> None:
    text = "kind: rate_plan\nid: team\ncard: pro\n"
    with pytest.raises(SetupError, match=r"cards.yaml:1: plan team names the card pro"):
        plan_versions(RateShelf(), documents(text), NOW_US)
    assert plan_versions(shelf_of(card()), documents(text), NOW_US)[0].is_new
    assert len(plan_versions(RateShelf(), documents(text + "---\n" + pro()), NOW_US)) == 2


def test_a_difference_names_what_changed_by_the_ids_of_the_parts() -> None:
    before = card(
        items=[*calls("1"), {"id": "gone", "metric": "units", "price": "2"}], minimum="10"
    )
    after = card("2", items=calls("1.5"), fees=[{"id": "base", "amount": "9"}], title="Pro")
    assert {(one.path, one.before, one.after) for one in differences(before, after)} == {
        ("items.calls.price", "1", "1.5"),
        ("items.gone.metric", "units", None),
        ("items.gone.price", "2", None),
        ("minimum", "10", None),
        ("fees.base.amount", None, "9"),
        ("title", None, "Pro"),
    }


def test_another_order_alone_is_a_difference() -> None:
    other = {"id": "more", "metric": "units", "price": "2"}
    before, after = card(items=[*calls(), other]), card("2", items=[other, *calls()])
    assert [one.path for one in differences(before, after)] == ["the order of its parts"]


def test_the_version_in_force_is_the_latest_that_has_come_of_equal_ones_the_last() -> None:
    one, two, three = card("1"), card("2", effective_from=DAY_US), card("3", effective_from=DAY_US)
    assert in_force([one, two, three], DAY_US - 1) is one
    assert in_force([one, two, three], DAY_US) is three
    assert in_force([three, two, one], DAY_US) is two
    assert in_force([two], DAY_US - 1) is None


def test_the_shelf_says_what_is_in_force_from_when_on_in_the_order_of_appends() -> None:
    shelf = shelf_of(
        card("1"), plan("1", card="pro"), card("2", effective_from=7), card("1", "other")
    )
    assert shelf.card_versions == [
        CardAt("pro", "1", 0),
        CardAt("pro", "2", 7),
        CardAt("other", "1", 0),
    ]
    assert shelf.plan_versions == [PlanAt("team", 0, "pro")]
    assert list(shelf.cards) == ["pro@1", "pro@2", "other@1"]
    assert shelf.card("pro", "2") is shelf.cards["pro@2"]
    assert shelf.card("pro", "9") is None


def test_a_worker_folds_cards_and_plans_and_keeps_nothing_of_them() -> None:
    view = catalog_view([("unit", "1000")])
    before = view.context()
    view.fold(3, card(items=calls()))
    view.fold(4, plan(card="pro"))
    assert type(view) is CatalogView
    kept = [value for value in vars(view).values() if isinstance(value, dict | list)]
    assert not any(isinstance(one, RateCard | RatePlan) for value in kept for one in value)
    after = view.context()
    assert after.catalog_offset == 5
    assert after.plan == before.plan
    assert view.holds(card())


def test_a_card_that_contradicts_itself_is_not_folded_into_the_shelf() -> None:
    with pytest.raises(ValueError, match=r"rate card pro@1: items\[0\]: metric calls needs"):
        shelf_of(card(items=[{"id": "calls", "metric": "calls"}]))
    with pytest.raises(ValueError, match=r"fees\[0\].amount: not an amount"):
        shelf_of(card(fees=[{"id": "base", "amount": "1e3"}]))


def test_a_preview_puts_the_cards_of_files_in_place_of_all_versions(documents: Any) -> None:
    shelf = shelf_of(
        card("1", items=calls("1")),
        card("2", items=calls("2"), effective_from=DAY_US),
        card("1", "other", items=calls("3")),
        plan("1", card="other"),
    )
    text = pro("9", "2030-01-01") + "---\nkind: rate_plan\nid: team\ncard: pro\n"
    made = shelf_with(shelf, documents(text))
    assert made.card_versions == [CardAt("other", "1", 0), CardAt("pro", PREVIEW_VERSION, 0)]
    assert made.plan_versions == [PlanAt("team", 0, "pro")]
    assert len(shelf.card_records) == 3
    with pytest.raises(SetupError, match="is there already"):
        shelf_with(shelf, documents(pro("1") + "---\n" + pro("2", DAY)))


def test_currencies_of_a_preview_are_never_added_up() -> None:
    rows = [Previewed("a", "USD", 5, 7), Previewed("a", "EUR", 1, 0), Previewed("b", "USD", 2, 1)]
    assert sums(rows) == [Previewed("", "EUR", 1, 0), Previewed("", "USD", 7, 8)]
    assert [row.difference_pico for row in rows] == [2, -1, -1]
