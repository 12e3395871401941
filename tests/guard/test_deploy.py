"""The files in deploy/ and docker-compose.yml speak of commands, settings and ports that exist."""

import re
from pathlib import Path
from typing import Any, Final

import click
import pytest
import yaml

from streams.cli.main import COMMANDS, tollgate
from streams.settings import Settings, environment_name, load_settings
from tests.guard.repository import ROOT

EXAMPLE: Final = ROOT / "deploy/tollgate.env.example"
DOCKERFILE: Final = (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8")
COMPOSE: Final[dict[str, Any]] = yaml.safe_load(
    (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
)
OURS: Final = {name: service for name, service in COMPOSE["services"].items() if "build" in service}
BROKER_SETTINGS: Final = (
    "auto.create.topics.enable",
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


@pytest.mark.parametrize("service", OURS)
def test_a_service_runs_a_command_that_exists(service: str) -> None:
    words = list(OURS[service]["command"])
    assert words[0] in COMMANDS
    command: click.Command = tollgate
    for word in words:
        assert isinstance(command, click.Group), f"{word} is no command of {command.name}"
        found = command.get_command(click.Context(command), word)
        assert found is not None, f"there is no command {' '.join(words)}"
        command = found


@pytest.mark.parametrize("service", OURS)
def test_a_service_takes_its_settings_from_the_one_file(service: str) -> None:
    assert OURS[service]["env_file"] == ["deploy/tollgate.env"]
    assert "environment" not in OURS[service]


def test_every_variable_in_the_compose_file_is_a_setting() -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    used = set(re.findall(r"\$\{(\w+)", text))
    assert used
    assert used <= {environment_name(field) for field in Settings.model_fields}


def test_published_ports_are_on_loopback_and_those_of_the_embedded_servers() -> None:
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    published = {tuple(port.split(":")[:2]) for port in ports}
    fields = ("kafka_port", "clickhouse_http_port", "clickhouse_tcp_port")
    assert published == {
        ("127.0.0.1", str(Settings.model_fields[field].default)) for field in fields
    }


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
    assert image == f"clickhouse/clickhouse-server:{pinned.group(1)}"


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


def test_the_image_copies_only_what_exists() -> None:
    copied = [
        word
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
        for word in line.split()[:-1]
    ]
    assert copied
    assert not [name for name in copied if not (ROOT / name).exists()]


def test_the_image_runs_the_console_command_on_settings_that_exist() -> None:
    assert 'ENTRYPOINT ["tollgate"]' in DOCKERFILE
    names = set(re.findall(r"TOLLGATE_\w+", DOCKERFILE))
    assert names <= {environment_name(field) for field in Settings.model_fields}


def test_the_image_does_not_run_as_root() -> None:
    assert re.search(r"^USER [1-9]\d*$", DOCKERFILE, re.MULTILINE)


def test_the_migrations_are_found_in_this_checkout() -> None:
    from streams.shipped import clickhouse_migrations

    directory: Path = clickhouse_migrations()
    assert list(directory.glob("[0-9][0-9][0-9][0-9]_*.sql"))
