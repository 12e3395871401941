"""Metrics are listed once and bounded, and cost nothing until somebody asks."""

import re
from typing import Final

import pytest

from streams.metrics import (
    GATEWAY_PROBLEMS,
    GATEWAY_SECONDS,
    METRICS,
    Metric,
    Metrics,
    metrics_of,
    registry,
)
from streams.metrics.registry import LONG_BUCKETS, SCRAPE_FAULTS, SECONDS_BUCKETS
from streams.metrics.worker import LAG, REBALANCES, TAKE_SECONDS

LABELS: Final = {
    "code",
    "kind",
    "level",
    "outcome",
    "partition",
    "role",
    "route",
    "status",
    "table",
    "topic",
    "version",
}
"""Their values are closed sets. A customer, an id or a model would be one that grows."""


def every() -> Metrics:
    return metrics_of("worker", with_gateway=True)


def test_no_two_metrics_have_one_name() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names) >= 40


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_name_says_what_it_counts_in_which_unit(metric: Metric) -> None:
    ending = {"counter": "_total", "histogram": "_seconds", "gauge": ""}[metric.kind]
    assert re.fullmatch(r"tollgate_[a-z]+(_[a-z]+)*", metric.name)
    assert metric.name.endswith(ending)
    assert metric.help.endswith(".")
    assert (metric.kind == "gauge") is not metric.name.endswith(("_total", "_seconds")) or (
        metric.kind == "gauge" and metric.name.endswith("_seconds")
    )


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_label_has_values_from_a_closed_set(metric: Metric) -> None:
    assert set(metric.labels) <= LABELS


def test_a_histogram_counts_into_the_bucket_whose_bound_is_reached() -> None:
    counted = every()
    for seconds in (0.001, 0.0011, 5.0):
        counted.observe(GATEWAY_SECONDS, seconds, "r")
    text = counted.text()
    assert 'tollgate_gateway_request_seconds_bucket{route="r",le="0.001"} 1\n' in text
    assert 'tollgate_gateway_request_seconds_bucket{route="r",le="0.0025"} 2\n' in text
    assert 'tollgate_gateway_request_seconds_bucket{route="r",le="+Inf"} 3\n' in text
    assert 'tollgate_gateway_request_seconds_sum{route="r"} 5.002100\n' in text


def test_what_takes_long_has_buckets_that_tell_it_apart() -> None:
    counted = every()
    counted.observe(TAKE_SECONDS, 9.0)
    text = counted.text()
    assert 'tollgate_take_over_seconds_bucket{le="3.0"} 0\n' in text
    assert 'tollgate_take_over_seconds_bucket{le="10.0"} 1\n' in text
    for buckets in (SECONDS_BUCKETS, LONG_BUCKETS):
        assert list(buckets) == sorted(set(buckets))


def test_labels_without_bound_are_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "SERIES_MAX", 3)
    counted = every()
    for number in range(3):
        counted.add(GATEWAY_PROBLEMS, str(number))
    with pytest.raises(AssertionError, match="without bound"):
        counted.add(GATEWAY_PROBLEMS, "one more")
    with pytest.raises(AssertionError, match="labels"):
        counted.add(GATEWAY_PROBLEMS)


def test_a_counter_without_labels_is_there_before_its_first_step() -> None:
    assert "\ntollgate_rebalances_total 0\n" in every().text()


def test_what_is_asked_for_is_gathered_when_it_is_asked_for() -> None:
    counted, calls = every(), []

    def gather() -> None:
        calls.append(1)
        counted.replace(LAG, {("usage", str(len(calls))): 7})

    counted.gather(gather)
    assert not calls
    assert 'tollgate_lag_records{topic="usage",partition="1"} 7\n' in counted.text()
    # A partition that is somebody else's by now is not shown any more.
    assert 'partition="1"' not in counted.text()
    assert len(calls) == 2


def test_values_that_cannot_be_gathered_leave_the_others_and_are_counted() -> None:
    counted = every()

    def gather() -> None:
        raise OSError("no such disk")

    counted.gather(gather)
    counted.add(REBALANCES)
    assert "\ntollgate_rebalances_total 1\n" in counted.text()
    assert counted.value(SCRAPE_FAULTS) == 1


def test_a_label_cannot_end_its_line() -> None:
    counted = every()
    counted.add(GATEWAY_PROBLEMS, 'a"} 1\nb{c="\\')
    assert r'tollgate_gateway_problems_total{code="a\"} 1\nb{c=\"\\"} 1' in counted.text()


def test_a_program_shows_what_it_has_and_nothing_of_others() -> None:
    assert "tollgate_partitions" not in metrics_of("sink").text()
    assert "tollgate_sink_" not in every().text()
    assert "tollgate_gateway_" not in metrics_of("worker").text()
