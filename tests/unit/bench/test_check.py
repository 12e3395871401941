"""A figure exists only where the result is right: every kind of wrong result is noticed."""

from dataclasses import replace

import pytest

from streams.bench.check import DIFFERENCES_SHOWN, Found, check
from streams.bench.events import Expected
from streams.errors import FaultError

EXPECTED = Expected(
    records=5,
    distinct=4,
    events={"ada": 3, "bob": 1},
    tokens={"ada": 30, "bob": 7},
    cost_pico={"ada": 10**12, "bob": 0},
    rated_pico={"ada": 10**12 + 5, "bob": 9},
)
RIGHT = Found("ours", 4, EXPECTED.events, EXPECTED.tokens, EXPECTED.cost_pico, EXPECTED.rated_pico)


def test_the_right_result_passes() -> None:
    check(EXPECTED, RIGHT)


def test_sums_that_a_contender_does_not_make_are_not_asked_of_it() -> None:
    check(EXPECTED, Found("the anchor", 4))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (replace(RIGHT, distinct=5), "5 distinct events instead of 4"),
        (replace(RIGHT, events={"ada": 3}), "events of bob: none instead of 1"),
        (replace(RIGHT, tokens={"ada": 30, "bob": 8}), "tokens of bob: 8 instead of 7"),
        (
            replace(RIGHT, cost_pico={"ada": 10**12 + 1, "bob": 0}),
            "cost_pico of ada: 1000000000001 instead of 1000000000000",
        ),
        (
            replace(RIGHT, rated_pico=EXPECTED.rated_pico | {"eve": 0}),
            "rated_pico of eve: 0 instead of none",
        ),
        (replace(RIGHT, faults=["the ledger is torn"]), "the ledger is torn"),
    ],
)
def test_a_wrong_result_is_named_and_gives_no_figure(wrong: Found, said: str) -> None:
    with pytest.raises(FaultError, match="the result of ours is wrong") as caught:
        check(EXPECTED, wrong)
    assert said in caught.value.message


def test_many_differences_are_counted_and_the_first_ones_shown() -> None:
    with pytest.raises(FaultError) as caught:
        check(EXPECTED, replace(RIGHT, events={}, tokens={}, cost_pico={}, rated_pico={}))
    lines = caught.value.message.splitlines()
    assert len(lines) == 1 + DIFFERENCES_SHOWN + 1
    assert lines[-1] == "- and 3 more"
