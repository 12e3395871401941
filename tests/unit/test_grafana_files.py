"""Dashboards and provisioning files of deploy/grafana fit together, and with Grafana's own form."""

import re
from itertools import pairwise
from typing import Any, Final

import pytest
import yaml

from streams.metrics import METRICS
from tests.grafana import (
    FOLDER,
    PLUGIN,
    PROMETHEUS,
    View,
    dashboards,
    every_dashboard,
    expand,
    names_in,
    queries,
)
from tests.guard.repository import ROOT
from tests.prom import faults, metrics_in

SOURCE: Final = {"type": PLUGIN, "uid": "${datasource}"}
KINDS: Final = {"stat", "timeseries", "table", "barchart", "piechart"}
COLUMNS: Final = 24
ASKED: Final = {
    "tollgate_claims_stored",
    "tollgate_cycle_seconds",
    "tollgate_dead_letters_total",
    "tollgate_decision_seconds",
    "tollgate_decisions_total",
    "tollgate_event_time_seconds",
    "tollgate_events_total",
    "tollgate_holds_open",
    "tollgate_lag_records",
    "tollgate_sink_insert_seconds",
    "tollgate_sink_lag_records",
    "tollgate_store_size_bytes",
    "tollgate_unpriced_total",
}
TITLES: Final = [one["title"] for one in dashboards()]
NOBODY: Final = View(0, 1, 1, {})


@pytest.fixture(params=dashboards(), ids=TITLES)
def dashboard(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=every_dashboard(), ids=lambda one: one["title"])
def any_dashboard(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_dashboards_are_told_apart_by_file_uid_and_title() -> None:
    files = sorted(path.stem for path in (FOLDER / "dashboards").glob("*.json"))
    assert files == sorted(one["uid"] for one in every_dashboard())
    titles = {one["title"] for one in every_dashboard()}
    assert len(titles) == len(files) >= 6
    assert len(dashboards()) + len(dashboards(PROMETHEUS)) == len(files)
    assert all(re.fullmatch(r"[a-z-]{1,40}", uid) for uid in files)


def test_a_dashboard_is_of_the_classic_model_and_belongs_to_no_installation(
    any_dashboard: Any,
) -> None:
    assert any_dashboard["schemaVersion"] >= 41
    assert any_dashboard["id"] is None
    assert any_dashboard["timezone"] == "utc"
    assert "tollgate" in any_dashboard["tags"]


def test_panels_have_ids_of_their_own_and_do_not_overlap(any_dashboard: Any) -> None:
    ids = [panel["id"] for panel in any_dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in any_dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= COLUMNS
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    rows = sorted({y for _, y in taken})
    assert all(after - before == 1 for before, after in pairwise(rows))


def test_the_system_is_shown_by_metrics_of_the_list_and_labels_that_they_have() -> None:
    (system,) = dashboards(PROMETHEUS)
    shown: set[str] = set()
    for panel in system["panels"]:
        assert panel["type"] in KINDS
        source = {"type": PROMETHEUS, "uid": "${datasource}"}
        assert panel["datasource"] == source
        assert panel["description"]
        for target in panel["targets"]:
            assert target["datasource"] == source
            expression = target["expr"].replace("$job", "tollgate")
            assert faults(expression) == [], panel["title"]
            # Of one installation, whatever else this Prometheus knows.
            names = metrics_in(expression)
            assert expression.count('job="tollgate"') >= len(names) > 0, panel["title"]
            shown |= names
            grouped = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert grouped <= {label for metric in METRICS for label in metric.labels} | {
                "instance"
            }
    # What an issue asks of a system's dashboard: rate, lag, times, holds, refusals, claims, marks.
    assert shown >= ASKED


def test_the_provisioned_prometheus_is_named_in_the_guide() -> None:
    text = (FOLDER / "provisioning/datasources/prometheus.yaml").read_text()
    (source,) = yaml.safe_load(text)["datasources"]
    assert source["type"] == PROMETHEUS
    guide = (ROOT / "docs/operations.md").read_text()
    variables = set(re.findall(r"\$\{(\w+)\}", text))
    assert variables
    assert all(name in guide for name in variables)


def test_every_panel_asks_the_source_that_is_chosen(dashboard: Any) -> None:
    for panel in dashboard["panels"]:
        assert panel["type"] in KINDS
        assert panel["datasource"] == SOURCE
        (target,) = panel["targets"]
        assert target["datasource"] == SOURCE
        assert target["editorType"] == "sql"
        assert target["format"] == (0 if panel["type"] == "timeseries" else 1)
        named = {one["matcher"]["options"] for one in panel["fieldConfig"]["overrides"]}
        assert all(name in target["rawSql"] for name in named)


def test_variables_are_those_that_queries_use(dashboard: Any) -> None:
    variables = {one["name"]: one for one in dashboard["templating"]["list"]}
    assert variables["datasource"]["query"] == PLUGIN
    used = set().union(*(names_in(sql) for _, sql in queries(dashboard)))
    assert used | {"datasource"} == set(variables)
    for one in variables.values():
        if one["type"] == "query":
            assert one["datasource"] == SOURCE
            assert not names_in(one["query"]["rawSql"])


def test_a_choice_of_several_is_a_condition_that_all_takes_away(dashboard: Any) -> None:
    several = {one["name"] for one in dashboard["templating"]["list"] if one["multi"]}
    for panel, sql in queries(dashboard):
        for name in several & names_in(sql):
            for match in re.finditer(rf"\$\{{{name}", sql):
                before = sql[: match.start()].rpartition("\n")[2]
                assert "$__conditionalAll(" in before, (panel["title"], name)


def test_money_is_never_added_up_over_currencies() -> None:
    for dashboard in dashboards():
        for panel, sql in queries(dashboard):
            if re.search(r"\b(cost|revenue|amount)\b", sql) and "budget" not in dashboard["uid"]:
                one = (
                    "currency = ${currency:singlequote}" in sql
                    or "currency" in sql.split("FROM")[0]
                )
                assert one, panel["title"]


def test_the_provisioned_source_and_folder_are_those_of_the_files() -> None:
    made = FOLDER / "provisioning"
    (source,) = yaml.safe_load((made / "datasources/tollgate.yaml").read_text())["datasources"]
    assert source["type"] == PLUGIN
    assert source["jsonData"]["defaultDatabase"] == "tollgate"
    variables = set(re.findall(r"\$\{(\w+)\}", (made / "datasources/tollgate.yaml").read_text()))
    guide = (ROOT / "docs/bi.md").read_text()
    assert all(name in guide for name in variables)
    (provider,) = yaml.safe_load((made / "dashboards/tollgate.yaml").read_text())["providers"]
    assert provider["options"]["path"] in guide


@pytest.mark.parametrize(
    "sql",
    [
        "$__unknown(a)",
        "${nobody}",
        "${nobody:singlequote}",
        "$__conditionalAll(a IN (1), ${x:raw})",
    ],
)
def test_what_grafana_would_not_know_is_refused(sql: str) -> None:
    with pytest.raises(ValueError, match=r"no macro|no variable|plain variable"):
        expand(sql, NOBODY)


def test_macros_and_variables_become_what_the_plugin_documents() -> None:
    view = View(1415792726, 1447328726, 20, {"c": ["a", "o'b"]})
    for sql, due in (
        ("$__timeFilter(t)", "t >= toDateTime(1415792726) AND t <= toDateTime(1447328726)"),
        ("$__timeInterval(f(t))", "toStartOfInterval(toDateTime(f(t)), INTERVAL 20 second)"),
        ("$__dateFilter(d)", "d >= toDate('2014-11-12') AND d <= toDate('2015-11-12')"),
        ("$__conditionalAll(x IN (${c:singlequote}), $c)", r"x IN ('a','o\'b')"),
        ("$c ${c}", "a,o'b a,o'b"),
    ):
        assert expand(sql, view) == due
    everything = View(0, 1, 1, {"c": ["a"]}, frozenset({"c"}))
    assert expand("$__conditionalAll(x IN (${c:singlequote}), $c)", everything) == "1=1"
