"""streams.domain.invariants: a cycle that breaks a promise is stopped by the promise's number."""

from typing import Any

import msgspec
import pytest

from streams.domain.folding import CycleResult
from streams.domain.invariants import check_cycle
from tests.builders import context, cycle, fact, grant, state, usage


def result() -> CycleResult:
    given = [fact(grant(amount="3")), fact(usage(units=5, cost="2")), fact(usage(), 1)]
    return cycle(state(), *given, context=context([("usd", "1")]))


def changed(entry: Any, **fields: Any) -> Any:
    return msgspec.structs.replace(entry, **fields)


def test_a_sound_cycle_passes() -> None:
    sound = result()
    assert len(sound.entries) == 4
    check_cycle(sound, first_sequence=0, fact_count=3)


def test_a_cycle_without_its_own_entry_breaks_inv_1() -> None:
    broken = CycleResult(result().entries[1:])
    with pytest.raises(AssertionError, match="INV-1"):
        check_cycle(broken, first_sequence=1, fact_count=3)


@pytest.mark.parametrize("first_sequence", [1, -1])
def test_a_sequence_that_does_not_follow_on_breaks_inv_1(first_sequence: int) -> None:
    with pytest.raises(AssertionError, match="INV-1"):
        check_cycle(result(), first_sequence, fact_count=3)


def test_a_gap_in_the_sequence_breaks_inv_1() -> None:
    broken = result()
    del broken.entries[2]
    with pytest.raises(AssertionError, match="INV-1"):
        check_cycle(broken, first_sequence=0, fact_count=3)


@pytest.mark.parametrize("facts", [2, 4])
def test_a_fact_that_went_missing_or_appeared_breaks_inv_2(facts: int) -> None:
    with pytest.raises(AssertionError, match="INV-2"):
        check_cycle(result(), first_sequence=0, fact_count=facts)


@pytest.mark.parametrize(
    "fields",
    [
        {"covered_units": 6},  # more than the five used
        {"covered_tokens": 1},  # none were used
        {"covered_usd": "2.000000000001"},
        {"covered_units": 2},  # not what was burnt
        {"covered_usd": "0.5"},
    ],
)
def test_an_entry_that_covers_what_it_did_not_use_or_burn_breaks_inv_3(
    fields: dict[str, Any],
) -> None:
    broken = result()
    broken.entries[3] = changed(broken.entries[3], **fields)
    with pytest.raises(AssertionError, match="INV-3"):
        check_cycle(broken, first_sequence=0, fact_count=3)
