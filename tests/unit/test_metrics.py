"""Metrics are listed once, documented, and bounded."""

import pytest

from streams import metrics
from streams.metrics import GATEWAY_PROBLEMS, GATEWAY_SECONDS, METRICS, Metrics
from tests.guard.repository import ROOT


def test_every_metric_is_in_the_guide_with_its_kind_and_labels() -> None:
    guide = (ROOT / "docs/http.md").read_text(encoding="utf-8").splitlines()
    for metric in METRICS:
        row = f"| `{metric.name}` | {metric.kind} | {', '.join(metric.labels)}"
        assert [line for line in guide if line.startswith(row.rstrip())], metric.name


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_name_says_what_it_counts_in_which_unit(metric: metrics.Metric) -> None:
    ending = {"counter": "_total", "histogram": "_seconds", "gauge": ""}[metric.kind]
    assert metric.name.startswith("tollgate_")
    assert metric.name.endswith(ending)


def test_a_histogram_counts_into_the_bucket_whose_bound_is_reached() -> None:
    counted = Metrics()
    for seconds in (0.001, 0.0011, 5.0):
        counted.observe(GATEWAY_SECONDS, seconds, "r")
    text = counted.text()
    assert 'tollgate_gateway_request_seconds_bucket{route="r",le="0.001"} 1\n' in text
    assert 'tollgate_gateway_request_seconds_bucket{route="r",le="0.0025"} 2\n' in text
    assert 'tollgate_gateway_request_seconds_bucket{route="r",le="+Inf"} 3\n' in text
    assert 'tollgate_gateway_request_seconds_sum{route="r"} 5.002100\n' in text


def test_labels_without_bound_are_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "SERIES_MAX", 3)
    counted = Metrics()
    for number in range(3):
        counted.add(GATEWAY_PROBLEMS, str(number))
    with pytest.raises(AssertionError, match="without bound"):
        counted.add(GATEWAY_PROBLEMS, "one more")
    with pytest.raises(AssertionError, match="labels"):
        counted.add(GATEWAY_PROBLEMS)
