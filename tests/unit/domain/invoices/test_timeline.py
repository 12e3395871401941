"""streams.domain.invoices.timeline: which card is in force, and where a period is cut."""

import pytest

from schemas.limits import INVOICE_SEGMENTS_MAX
from streams.domain.invoices.timeline import (
    CardAt,
    PlanAt,
    Segment,
    TermsAt,
    segments,
    terms_at,
)

PRO = [CardAt("pro", "1", 0)]


def names(found: list[Segment]) -> list[tuple[str, int, int]]:
    return [(segment.name, segment.from_us, segment.to_us) for segment in found]


def test_a_customer_without_terms_has_the_default_plan() -> None:
    plans = [PlanAt("default", 0, "pro")]
    assert names(segments(0, 10, [], plans, PRO)) == [("pro@1", 0, 10)]
    assert names(segments(0, 10, [], [], PRO)) == [("", 0, 10)]
    assert terms_at([], 5) == TermsAt(0, plan="default")


def test_terms_plans_and_cards_each_cut_the_period() -> None:
    terms = [TermsAt(0, plan="gold"), TermsAt(8, card="flat")]
    plans = [PlanAt("gold", 0, "pro"), PlanAt("gold", 2, "max")]
    cards = [*PRO, CardAt("max", "1", 0), CardAt("max", "2", 5), CardAt("flat", "1", 0)]
    assert names(segments(0, 10, terms, plans, cards)) == [
        ("pro@1", 0, 2),
        ("max@1", 2, 5),
        ("max@2", 5, 8),
        ("flat@1", 8, 10),
    ]


def test_a_change_at_a_bound_of_the_period_does_not_cut_it() -> None:
    cards = [CardAt("pro", "1", 0), CardAt("pro", "2", 10), CardAt("pro", "3", 20)]
    terms = [TermsAt(0, card="pro")]
    assert names(segments(10, 20, terms, [], cards)) == [("pro@2", 10, 20)]
    assert names(segments(9, 21, terms, [], cards)) == [
        ("pro@1", 9, 10),
        ("pro@2", 10, 20),
        ("pro@3", 20, 21),
    ]


def test_of_equal_times_what_was_appended_last_is_in_force() -> None:
    cards = [CardAt("pro", "1", 5), CardAt("pro", "2", 5), CardAt("pro", "3", 4)]
    terms = [TermsAt(0, card="gone"), TermsAt(0, card="pro")]
    assert names(segments(0, 10, terms, [], cards)) == [
        ("", 0, 4),
        ("pro@3", 4, 5),
        ("pro@2", 5, 10),
    ]


def test_changes_that_change_nothing_do_not_cut() -> None:
    terms = [TermsAt(0, card="pro"), TermsAt(3, card="pro", zone="Europe/Berlin")]
    cards = [*PRO, CardAt("other", "1", 4)]
    assert names(segments(0, 10, terms, [], cards)) == [("pro@1", 0, 10)]


def test_before_a_card_is_effective_nothing_is_charged() -> None:
    assert names(segments(0, 10, [TermsAt(0, card="pro")], [], [CardAt("pro", "1", 7)])) == [
        ("", 0, 7),
        ("pro@1", 7, 10),
    ]


def test_segments_are_bounded_and_the_bound_is_reached() -> None:
    terms = [TermsAt(0, card="pro")]
    cards = [CardAt("pro", str(at), at) for at in range(INVOICE_SEGMENTS_MAX + 1)]
    assert len(segments(0, 10**6, terms, [], cards[:-1])) == INVOICE_SEGMENTS_MAX
    with pytest.raises(ValueError, match="100 times in one period"):
        segments(0, 10**6, terms, [], cards)


def test_an_empty_period_is_refused() -> None:
    with pytest.raises(ValueError, match="ends after it begins"):
        segments(5, 5, [], [], PRO)
