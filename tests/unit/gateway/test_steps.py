"""What a step uses as a rule."""

from streams.gateway.steps import SAMPLES_MAX, SAMPLES_MIN, Baselines, Judgement


def fill(baselines: Baselines, units: int, times: int = SAMPLES_MIN) -> None:
    for _ in range(times):
        baselines.judge("c", "a", "s", units)


def test_too_few_steps_say_nothing() -> None:
    baselines = Baselines()
    fill(baselines, 10, SAMPLES_MIN - 1)
    assert baselines.judge("c", "a", "s", 10_000) == Judgement(anomaly=False)


def test_twice_the_baseline_is_an_anomaly_and_less_is_not() -> None:
    baselines = Baselines()
    fill(baselines, 10)
    assert baselines.judge("c", "a", "s", 19) == Judgement(False, 10, 90)
    fresh = Baselines()
    fill(fresh, 10)
    assert fresh.judge("c", "a", "s", 20) == Judgement(True, 10, 100)


def test_a_step_that_never_used_anything_has_no_deviation() -> None:
    baselines = Baselines()
    fill(baselines, 0)
    assert baselines.judge("c", "a", "s", 5) == Judgement(False, 0, None)


def test_steps_of_others_are_not_compared() -> None:
    baselines = Baselines()
    fill(baselines, 10)
    for customer, agent, step in (("d", "a", "s"), ("c", "b", "s"), ("c", "a", "t")):
        assert baselines.judge(customer, agent, step, 99).baseline is None


def test_old_habits_fade() -> None:
    baselines = Baselines()
    fill(baselines, 10, SAMPLES_MAX)
    fill(baselines, 100, SAMPLES_MAX)
    assert (baselines.judge("c", "a", "s", 1).baseline or 0) > 70


def test_the_step_not_seen_for_longest_is_forgotten_first() -> None:
    baselines = Baselines(baselines_max=2)
    fill(baselines, 10)
    baselines.judge("c", "a", "two", 1)
    fill(baselines, 10, 1)
    baselines.judge("c", "a", "three", 1)
    assert baselines.judge("c", "a", "s", 10).baseline == 10
    fill_two = baselines.judge("c", "a", "two", 1)
    assert fill_two.baseline is None
