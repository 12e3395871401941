"""streams.gateway.rates: how often, in which memory."""

import itertools

import pytest

from streams.gateway.rates import Rates
from tests.key_making import StandingClock


@pytest.fixture
def clock() -> StandingClock:
    # Whole seconds from zero, so that sums of fractions stay exact.
    return StandingClock(at_us=0)


@pytest.mark.parametrize("per_second", [1, 2, 4, 1000, 100_000])
def test_a_bucket_holds_one_second_of_requests(clock: StandingClock, per_second: int) -> None:
    rates = Rates(clock.seconds)
    assert all(rates.wait_seconds("a", per_second) == 0.0 for _ in range(per_second))
    assert rates.wait_seconds("a", per_second) == 1 / per_second


def test_the_wait_that_is_told_suffices_and_a_shorter_one_does_not(clock: StandingClock) -> None:
    rates = Rates(clock.seconds)
    for _ in range(4):
        rates.wait_seconds("a", 4)
    clock.move(0.125)
    assert rates.wait_seconds("a", 4) == 0.125
    clock.move(0.125)
    assert rates.wait_seconds("a", 4) == 0.0
    assert rates.wait_seconds("a", 4) == 0.25


def test_asking_in_vain_costs_nothing(clock: StandingClock) -> None:
    rates = Rates(clock.seconds)
    rates.wait_seconds("a", 1)
    assert all(rates.wait_seconds("a", 1) == 1.0 for _ in range(1000))
    clock.move(1)
    assert rates.wait_seconds("a", 1) == 0.0


def test_a_client_that_never_pauses_is_served_at_its_rate(clock: StandingClock) -> None:
    rates, served = Rates(clock.seconds), 0
    for _ in range(16 * 64):
        served += rates.wait_seconds("a", 8) == 0.0
        clock.move(1 / 64)
    # The burst, and eight in each of the sixteen seconds after it (the last ends beyond the loop).
    assert served == 8 + 16 * 8 - 1


def test_a_pause_saves_up_one_burst_and_no_more(clock: StandingClock) -> None:
    rates = Rates(clock.seconds)
    for _ in range(5):
        rates.wait_seconds("a", 5)
    clock.move(3600)
    served = sum(
        1 for _ in itertools.takewhile(lambda _: rates.wait_seconds("a", 5) == 0.0, [0] * 99)
    )
    assert served == 5


def test_keys_have_buckets_of_their_own(clock: StandingClock) -> None:
    rates = Rates(clock.seconds)
    assert rates.wait_seconds("a", 1) == 0.0
    assert rates.wait_seconds("a", 1) > 0
    assert rates.wait_seconds("b", 1) == 0.0


def test_a_lower_rate_counts_at_once(clock: StandingClock) -> None:
    rates = Rates(clock.seconds)
    rates.wait_seconds("a", 1000)
    assert rates.wait_seconds("a", 1) == 0.0
    assert rates.wait_seconds("a", 1) == 1.0


def test_a_clock_that_goes_back_gives_nothing_away(clock: StandingClock) -> None:
    rates = Rates(clock.seconds)
    clock.move(100)
    rates.wait_seconds("a", 1)
    clock.move(-50)
    assert rates.wait_seconds("a", 1) == 1.0


def test_memory_is_bounded_and_what_is_forgotten_was_used_longest_ago(clock: StandingClock) -> None:
    rates = Rates(clock.seconds, buckets_max=3)
    for name in ("a", "b", "c", "a", "d"):
        rates.wait_seconds(name, 1)
    assert len(rates) == 3
    assert rates.wait_seconds("a", 1) > 0  # refreshed by its second request
    assert rates.wait_seconds("b", 1) == 0.0  # forgotten: one burst is forgiven
    assert len(rates) == 3
