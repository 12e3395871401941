"""How long a partition gathers records before its next cycle."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.agents.pace import PAUSE_SECONDS_MIN, PERIOD_SECONDS, pause_seconds

durations = st.floats(min_value=0, max_value=60, allow_nan=False)
bounds = st.floats(min_value=0, max_value=1, allow_nan=False)


def pause(took: float, longest: float = 1.0) -> float:
    return pause_seconds(took, full_cycle_waits=False, pause_seconds_max=longest)


def test_quick_cycles_begin_one_period_apart() -> None:
    assert 0.02 + pause(0.02) == pytest.approx(PERIOD_SECONDS)
    assert pause(0.0) == PERIOD_SECONDS


def test_a_slow_cycle_is_followed_by_the_shortest_pause_however_slow_it_was() -> None:
    for took in (PERIOD_SECONDS, 0.5, 60.0):
        assert pause(took) == PAUSE_SECONDS_MIN


@given(took=durations, longest=bounds)
def test_nothing_is_gathered_where_a_full_cycle_waits(took: float, longest: float) -> None:
    assert pause_seconds(took, full_cycle_waits=True, pause_seconds_max=longest) == 0.0


@given(took=durations, longest=bounds)
def test_a_pause_is_never_negative_and_never_beyond_its_bound(took: float, longest: float) -> None:
    assert 0.0 <= pause(took, longest) <= longest


@given(took=durations)
def test_the_broker_gets_its_time_unless_the_bound_says_otherwise(took: float) -> None:
    assert pause(took) >= PAUSE_SECONDS_MIN


def test_a_bound_of_zero_means_no_pause() -> None:
    assert pause(0.02, longest=0.0) == 0.0
