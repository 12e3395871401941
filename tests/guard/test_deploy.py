"""The example of settings, and the servers of docker-compose.yml, are those that the code has and
the tests run against. The rest of that file: test_compose."""

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from streams.settings import Settings, environment_name, load_settings
from tests.guard.repository import ROOT

EXAMPLE: Final = ROOT / "deploy/tollgate.env.example"
COMPOSE: Final[dict[str, Any]] = yaml.safe_load(
    (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
)
BROKER_SETTINGS: Final = (
    "auto.create.topics.enable",
    "group.initial.rebalance.delay.ms",
    "log.retention.bytes",
    "log.retention.ms",
    "message.max.bytes",
    "replica.fetch.max.bytes",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms",
    "transaction.max.timeout.ms",
)
"""What Tollgate relies on at the broker, wherever the broker runs."""


def example_lines(*, commented: bool) -> dict[str, str]:
    """Return name to value of the example's lines, those in force or those commented out."""
    mark = "#" if commented else ""
    text = EXAMPLE.read_text(encoding="utf-8")
    return dict(re.findall(rf"^{mark}(TOLLGATE_\w+)=(.*)$", text, re.MULTILINE))


def test_the_example_names_every_setting_once() -> None:
    names = re.findall(r"^#?(TOLLGATE_\w+)=", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(names) == sorted(environment_name(field) for field in Settings.model_fields)


def test_the_example_can_be_used_as_it_is() -> None:
    settings = load_settings(environment={}, env_file=EXAMPLE)
    assert not settings.embedded_kafka
    assert not settings.embedded_clickhouse


def test_the_lines_commented_out_show_the_defaults() -> None:
    shown = example_lines(commented=True)
    assert shown
    defaults = {
        environment_name(field): str(info.default)
        for field, info in Settings.model_fields.items()
        if info.default is not None
    }
    differing = {name: value for name, value in shown.items() if defaults.get(name, value) != value}
    assert not differing


def test_the_example_reaches_the_servers_of_the_compose_file() -> None:
    lines = example_lines(commented=False)
    kafka, clickhouse = COMPOSE["services"]["kafka"], COMPOSE["services"]["clickhouse"]
    assert (
        f"INTERNAL://{lines['TOLLGATE_KAFKA_BOOTSTRAP']}"
        in (kafka["environment"]["KAFKA_ADVERTISED_LISTENERS"])
    )
    inside = {port.split(":")[-1] for port in clickhouse["ports"]}
    assert lines["TOLLGATE_CLICKHOUSE_URL"].rpartition(":")[2] in inside
    assert lines["TOLLGATE_CLICKHOUSE_URL"].startswith("http://clickhouse:")


def test_the_broker_is_of_the_version_that_the_tests_run() -> None:
    jars = (ROOT / "streams/embedded/kafka-jars.txt").read_text(encoding="utf-8")
    pinned = re.search(r"^kafka_2\.13-(\S+)\.jar ", jars, re.MULTILINE)
    assert pinned
    assert COMPOSE["services"]["kafka"]["image"] == f"apache/kafka:{pinned.group(1)}"


def test_the_server_is_of_the_version_that_the_tests_run() -> None:
    pins = (ROOT / "requirements/embedded.txt").read_text(encoding="utf-8")
    pinned = re.search(r"^chdb-core==(\d+\.\d+)\.", pins, re.MULTILINE)
    assert pinned
    image = COMPOSE["services"]["clickhouse"]["image"]
    assert image.startswith(f"clickhouse/clickhouse-server:{pinned.group(1)}.")


@pytest.mark.parametrize("name", BROKER_SETTINGS)
def test_the_broker_has_the_settings_that_the_embedded_one_has(name: str) -> None:
    embedded = re.search(
        rf"^{re.escape(name)}=(\S+)$",
        (ROOT / "streams/embedded/kafka.py").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert embedded
    variable = "KAFKA_" + name.upper().replace(".", "_")
    assert COMPOSE["services"]["kafka"]["environment"][variable] == embedded.group(1)


def test_the_migrations_are_found_in_this_checkout() -> None:
    from streams.shipped import clickhouse_migrations

    directory: Path = clickhouse_migrations()
    assert list(directory.glob("[0-9][0-9][0-9][0-9]_*.sql"))
