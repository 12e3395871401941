"""Alerts name metrics that exist, and a runbook that somebody can follow at night."""

import re
from typing import Any, Final

import click
import pytest
import yaml

from streams.cli.main import COMMANDS, tollgate
from streams.metrics import METRICS
from streams.settings import Settings, environment_name
from tests.guard.repository import ROOT
from tests.prom import faults, metrics_in

FILE: Final = ROOT / "deploy/prometheus/alerts.yaml"
GUIDE: Final = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
GROUPS: Final[list[dict[str, Any]]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))["groups"]
RULES: Final[list[dict[str, Any]]] = [rule for group in GROUPS for rule in group["rules"]]
NAMES: Final = [rule["alert"] for rule in RULES]
DURATION: Final = re.compile(r"\d+(s|m|h)")


def test_every_rule_is_an_alert_of_the_form_that_prometheus_reads() -> None:
    assert all(set(group) == {"name", "rules"} for group in GROUPS)
    assert len({group["name"] for group in GROUPS}) == len(GROUPS)
    assert len(set(NAMES)) == len(NAMES) >= 20
    for rule in RULES:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"Tollgate[A-Z][A-Za-z]+", rule["alert"])
        assert DURATION.fullmatch(rule.get("for", "0s"))
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"]


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_an_alert_names_metrics_of_the_list_and_labels_that_they_have(rule: Any) -> None:
    assert faults(rule["expr"]) == []


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_what_an_alert_says_uses_labels_that_its_series_have(rule: Any) -> None:
    labels = {label for metric in METRICS for label in metric.labels} | {"instance", "job"}
    used = re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])
    assert set(used) <= labels
    grouped = re.search(r"\bby \(([^)]*)\) \(", rule["expr"])
    if grouped is not None and rule["expr"].lstrip().startswith(("sum", "max", "histogram")):
        assert set(used) <= set(grouped[1].replace(" ", "").split(","))


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_an_alert_has_a_runbook_that_says_what_to_look_at_and_what_to_do(rule: Any) -> None:
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert (ROOT / page) == ROOT / "docs/operations.md"
    assert anchor == rule["alert"].lower()
    part = re.split(rf"^### {rule['alert']}$", GUIDE, flags=re.MULTILINE)
    assert len(part) == 2, "no such heading, or two"
    text = re.split(r"^##", part[1], flags=re.MULTILINE)[0]
    assert all(f"**{word}.**" in text for word in ("Means", "Look", "Do"))


def test_a_runbook_belongs_to_an_alert() -> None:
    assert re.findall(r"^### (\w+)$", GUIDE, re.MULTILINE) == NAMES


def test_the_guide_names_metrics_settings_and_commands_that_exist() -> None:
    listed = {metric.name for metric in METRICS}
    assert set(re.findall(r"`(tollgate_\w+)`", GUIDE)) <= listed
    settings = {environment_name(field) for field in Settings.model_fields}
    assert set(re.findall(r"TOLLGATE_(?!GRAFANA)\w+", GUIDE)) <= settings
    commands = re.findall(r"`tollgate ([^`]+)`", GUIDE)
    assert len(commands) > 20
    for words in commands:
        _check_command(words.split())


def _check_command(words: list[str]) -> None:
    command: click.Command = tollgate
    while isinstance(command, click.Group) and words and re.fullmatch(r"[a-z-]+", words[0]):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, words
        command, words = found, words[1:]
    assert command is not tollgate, words
    flags = {flag for parameter in command.params for flag in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= flags, words
    assert set(COMMANDS)


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("tollgate_no_such_total > 1", "is no metric of the list"),
        ("sum by (customer) (tollgate_lag_records)", "has no label customer"),
        ('tollgate_lag_records{tpoic="usage"}', "has no label tpoic"),
        ("rate(tollgate_cycle_seconds[5m])", "is a histogram"),
        ("rate(tollgate_lag_records_bucket[5m])", "is no metric of the list"),
        ("sum(tollgate_lag_records", "does not parse"),
    ],
)
def test_a_planted_fault_of_an_expression_is_found(expression: str, fault: str) -> None:
    assert any(fault in found for found in faults(expression))


def test_metrics_of_an_expression_are_found_wherever_they_stand() -> None:
    expression = (
        "histogram_quantile(0.9, sum by (le) (rate(tollgate_cycle_seconds_bucket[5m])))"
        " > (max(tollgate_partitions) or vector(0))"
    )
    assert metrics_in(expression) == {"tollgate_cycle_seconds", "tollgate_partitions"}
