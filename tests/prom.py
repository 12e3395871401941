"""PromQL as Prometheus reads it: which metrics, labels and values an expression names."""

import re
from collections.abc import Iterator
from typing import Any, Final

import promql_parser as promql

from streams.metrics import METRICS, Metric

LISTED: Final = {metric.name: metric for metric in METRICS}
OF_PROMETHEUS: Final = frozenset({"up"})
"""What Prometheus says of a target by itself."""
OF_TARGETS: Final = frozenset({"job", "instance", "role"})
"""Labels that Prometheus gives every series of a target (deploy/prometheus/prometheus.yaml)."""
SUFFIXES: Final = ("_bucket", "_sum", "_count")

_DASHBOARD_VARIABLE: Final = re.compile(r"\$__rate_interval|\$__range|\$__interval")


def faults(expression: str) -> list[str]:
    """What is wrong with an expression: [] where it parses and names listed metrics, their labels
    and what their kind allows."""
    try:
        parsed = promql.parse(_DASHBOARD_VARIABLE.sub("5m", expression))
    except ValueError as error:
        return [f"does not parse: {error}"]
    return [fault for labels, node in _walk(parsed, frozenset()) for fault in _judge(node, labels)]


def metrics_in(expression: str) -> set[str]:
    """The listed metrics that an expression names."""
    parsed = promql.parse(_DASHBOARD_VARIABLE.sub("5m", expression))
    return {name for _, node in _walk(parsed, frozenset()) if (name := _listed(node.name or ""))}


def _walk(node: Any, wanted: frozenset[str]) -> Iterator[tuple[frozenset[str], Any]]:
    """Every selector, with the labels that what is around it groups by."""
    match node:
        case promql.VectorSelector():
            yield wanted, node
        case promql.MatrixSelector():
            yield wanted, node.vector_selector
        case promql.AggregateExpr():
            labels = frozenset(node.modifier.labels) if node.modifier else frozenset()
            yield from _walk(node.expr, wanted | labels)
        case promql.BinaryExpr():
            yield from _walk(node.lhs, wanted)
            yield from _walk(node.rhs, wanted)
        case promql.Call():
            for argument in node.args:
                yield from _walk(argument, wanted)
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            yield from _walk(node.expr, wanted)


def _listed(name: str) -> str:
    if name in LISTED:
        return name
    for suffix in SUFFIXES:
        metric = LISTED.get(name.removesuffix(suffix))
        if metric is not None and metric.kind == "histogram" and name.endswith(suffix):
            return metric.name
    return ""


def _judge(selector: Any, grouped_by: frozenset[str]) -> Iterator[str]:
    name = selector.name or ""
    if name in OF_PROMETHEUS:
        return
    listed = _listed(name)
    if not listed:
        yield f"{name or 'a selector without a name'} is no metric of the list"
        return
    metric: Metric = LISTED[listed]
    if metric.kind == "histogram" and name == listed:
        yield f"{name} is a histogram: name its _bucket, _sum or _count"
    known = OF_TARGETS | set(metric.labels) | ({"le"} if name.endswith("_bucket") else set())
    named = {matcher.name for matcher in selector.matchers.matchers} | grouped_by
    for label in sorted(named - known):
        yield f"{name} has no label {label}"
