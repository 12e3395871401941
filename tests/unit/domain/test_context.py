"""streams.domain.context: what of the catalog a decision sees."""

from typing import Any

import pytest

from schemas.budget import Denomination
from schemas.topics import CLAIMS_MARGIN_DAYS, CLAIMS_RETENTION_DAYS
from streams.domain.context import CatalogView, IncompleteCatalogError, PlannedGrant
from tests.builders import DAY_US, SECOND_US, book, catalog_record, catalog_view, context


def rules(version: str = "1", **fields: Any) -> Any:
    return catalog_record("rules", version=version, **{"default_plan": []} | fields)


GENERATION = catalog_record("generation", generation=3, partitions=4, topic_ids={"usage": "x"})


def test_an_empty_catalog_decides_nothing() -> None:
    with pytest.raises(IncompleteCatalogError, match="topics create"):
        CatalogView().context()


@pytest.mark.parametrize("record", [GENERATION, rules(), book()])
def test_half_a_catalog_decides_nothing(record: Any) -> None:
    view = CatalogView()
    view.fold(0, record)
    with pytest.raises(IncompleteCatalogError):
        view.context()


def test_a_catalog_needs_no_price_book() -> None:
    view = CatalogView()
    view.fold(0, GENERATION)
    view.fold(1, rules())
    assert view.context().prices.version == ""
    assert view.generation == GENERATION
    assert (view.context().generation, view.context().partitions) == (3, 4)


def test_the_rules_become_exact_integers() -> None:
    found = context(
        [("unit", "1000"), ("usd", "2.5", 7, "welcome"), ("token", "3")],
        horizon_days=10,
        lateness_days=9,
        future_seconds=86_400,
        grants_max=5,
        provisional_usd_per_million_tokens="1.5",
    )
    assert (found.horizon_us, found.lateness_us) == (10 * DAY_US, 9 * DAY_US)
    assert (found.future_us, found.grants_max) == (86_400 * SECOND_US, 5)
    assert found.provisional_pico_per_million == 15 * 10**11
    assert found.plan == (
        PlannedGrant(Denomination.UNIT, 1000, 0, "default plan"),
        PlannedGrant(Denomination.USD, 25 * 10**11, 7, "welcome"),
        PlannedGrant(Denomination.TOKEN, 3, 0, "default plan"),
    )


def test_the_defaults_of_the_rules_protect_against_repeats() -> None:
    found = context()
    assert found.lateness_us + found.future_us <= found.horizon_us


def test_the_latest_record_of_a_kind_is_in_force() -> None:
    view = catalog_view(prices=book(small={"input": "1"}))
    before = view.context()
    view.fold(3, rules("2", grants_max=9))
    after = view.context()
    assert (before.grants_max, after.grants_max) == (1_000, 9)
    assert (before.catalog_offset, after.catalog_offset) == (3, 4)
    assert after.prices is before.prices


def test_a_context_is_made_once_per_change() -> None:
    view = catalog_view()
    assert view.context() is view.context()


def test_offsets_without_records_are_passed() -> None:
    view = catalog_view()
    assert view.next_offset == 2
    view.passed(5)
    assert view.context().catalog_offset == view.next_offset == 5
    view.passed(4)
    assert view.next_offset == 5


@pytest.mark.parametrize(
    ("horizon", "lateness", "future", "fits"),
    [
        (35, 34, 86_400, True),  # to the second
        (35, 35, 0, True),
        (35, 35, 1, False),
        (1, 2, 0, False),
    ],
)
def test_lateness_and_future_must_fit_into_the_horizon(
    horizon: int, lateness: int, future: int, fits: bool
) -> None:
    given = rules(horizon_days=horizon, lateness_days=lateness, future_seconds=future)
    view = CatalogView()
    if fits:
        view.fold(0, given)
    else:
        with pytest.raises(ValueError, match="horizon"):
            view.fold(0, given)


@pytest.mark.parametrize("horizon", [CLAIMS_RETENTION_DAYS - CLAIMS_MARGIN_DAYS, 1])
def test_a_horizon_that_claims_are_kept_for_is_taken(horizon: int) -> None:
    CatalogView().fold(0, rules(horizon_days=horizon, lateness_days=1, future_seconds=0))


@pytest.mark.parametrize(
    "horizon", [CLAIMS_RETENTION_DAYS - CLAIMS_MARGIN_DAYS + 1, CLAIMS_RETENTION_DAYS, 3650]
)
def test_a_horizon_beyond_what_claims_are_kept_for_is_refused(horizon: int) -> None:
    with pytest.raises(ValueError, match="claims are kept for 70 days, 35 of them as margin"):
        CatalogView().fold(0, rules(horizon_days=horizon))


def test_a_refused_record_changes_nothing() -> None:
    view = catalog_view()
    before = view.context()
    with pytest.raises(ValueError, match="horizon"):
        view.fold(2, rules("2", horizon_days=1, lateness_days=2))
    with pytest.raises(ValueError, match="amount"):
        view.fold(2, book(small={"input": "x"}))
    assert view.context() is before
    assert view.next_offset == 2


@pytest.mark.parametrize(
    "plan",
    [
        [{"denomination": "unit", "amount": "1.5"}],
        [{"denomination": "token", "amount": "0.1"}],
        [{"denomination": "unit", "amount": "0"}],
        [{"denomination": "usd", "amount": "NaN"}],
    ],
)
def test_a_plan_that_cannot_be_granted_is_refused_when_the_rules_are_taken(plan: Any) -> None:
    with pytest.raises(ValueError, match="amount"):
        CatalogView().fold(0, rules(default_plan=plan))


def test_a_record_of_the_catalog_is_never_changed_nor_repeated() -> None:
    view = catalog_view()
    view.fold(5, rules("2"))
    with pytest.raises(ValueError, match="is there already"):
        view.fold(6, rules("2", horizon_days=40))
    with pytest.raises(ValueError, match="is there already"):
        view.fold(6, rules("2"))
    assert view.next_offset == 6
