"""docker-compose.yml is what Compose takes, confines every container, and speaks of commands,
settings, paths and ports that exist."""

import json
import re
import stat
import subprocess
from pathlib import Path
from typing import Any, Final

import click
import jsonschema_rs
import pytest
import yaml

from streams.app.gateway import DEFAULT_LISTEN
from streams.app.gateway import STOP_SECONDS_MAX as GATEWAY_STOP_SECONDS
from streams.app.worker import STOP_SECONDS_MAX as WORKER_STOP_SECONDS
from streams.cli.main import tollgate
from streams.settings import Settings, load_settings
from streams.settings.fields import is_secret
from streams.shipped import version
from tests.composed import (
    COMPOSE,
    OURS,
    PROBED,
    ROOT,
    SERVICES,
    Plain,
    image_variables,
    start_order,
)

SCHEMA: Final = Path(__file__).with_name("compose-spec.json")
"""The schema of the Compose specification, as check-jsonschema 0.39.0 ships it (Apache-2.0,
https://github.com/compose-spec/compose-spec, schema/compose-spec.json), unchanged."""
OPTIONAL: Final = {"tools", "observe"}
PLACES: Final = {"worker:8481": "worker:8481"}


def test_compose_knows_every_field() -> None:
    schema = json.loads(SCHEMA.read_text("utf-8"))
    validator = jsonschema_rs.validator_for(schema)
    assert not [f"{e.instance_path}: {e.message}" for e in validator.iter_errors(COMPOSE)]
    wrong = COMPOSE | {"services": {"kafka": {"image": "x", "health_check": {}}}}
    assert not validator.is_valid(wrong)


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"[1-9]\d*:\d+", service["user"])
    limits = service["deploy"]["resources"]["limits"]
    assert set(limits) == {"cpus", "memory", "pids"}
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert "privileged" not in service
    assert "network_mode" not in service


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_is_held_by_a_whole_version(name: str) -> None:
    repository, _, tag = SERVICES[name]["image"].partition(":")
    assert re.fullmatch(r"v?\d+\.\d+\.\d+(\.\d+)?", tag), f"{repository} floats"
    if name in OURS:
        assert (repository, tag) == ("tollgate", version())


@pytest.mark.parametrize("name", SERVICES)
def test_what_goes_on_has_a_health_check_and_the_time_to_stop(name: str) -> None:
    service = SERVICES[name]
    if service["restart"] != "always":
        assert service["healthcheck"] == {"disable": True}, "a command ends by itself"
        return
    check = service["healthcheck"]
    assert check["test"][0] == "CMD"
    assert {"interval", "timeout", "retries", "start_period"} <= set(check)
    needed = {"worker": WORKER_STOP_SECONDS, "gateway": GATEWAY_STOP_SECONDS, "sink": 20.0}
    if name in needed:
        assert float(service["stop_grace_period"].removesuffix("s")) >= 3 * needed[name]


def test_what_others_wait_for_is_there_and_nothing_waits_in_a_circle() -> None:
    order = start_order()
    assert set(order) == {name for name, one in SERVICES.items() if "profiles" not in one}
    for name in SERVICES:
        for needed, wish in SERVICES[name].get("depends_on", {}).items():
            going = SERVICES[needed]["restart"] == "always"
            assert wish == {
                "condition": "service_healthy" if going else "service_completed_successfully"
            }
    assert order.index("topics") < order.index("worker") < order.index("gateway")
    assert {profile for one in SERVICES.values() for profile in one.get("profiles", [])} == OPTIONAL


@pytest.mark.parametrize("name", OURS)
def test_a_service_runs_a_command_that_exists(name: str) -> None:
    command: click.Command = tollgate
    for word in OURS[name]["command"]:
        if word == "--help":
            return
        assert isinstance(command, click.Group), f"{word} is no command of {command.name}"
        found = command.get_command(click.Context(command), word)
        assert found is not None, f"there is no command {word}"
        command = found


def test_a_health_check_of_ours_is_a_command_that_exists() -> None:
    for name in PROBED:
        _, program, word, question = OURS[name]["healthcheck"]["test"]
        probe = tollgate.get_command(click.Context(tollgate), word)
        assert (program, question) == ("tollgate", "ready")
        assert probe is not None
        [argument] = [one for one in probe.params if isinstance(one, click.Argument)]
        assert isinstance(argument.type, click.Choice)
        assert question in argument.type.choices


@pytest.mark.parametrize("name", OURS)
def test_a_service_accepts_its_settings_and_mounts_its_secrets(name: str, tmp_path: Path) -> None:
    metrics = dict.fromkeys(PROBED, SERVICES["worker"]["environment"]["TOLLGATE_METRICS_LISTEN"])
    plain = Plain(tmp_path, PLACES, {}, metrics)
    plain.make_secrets()
    given = plain.environment(name)
    settings = load_settings(environment=given)
    # What a service does not name it does not need: the embedded servers are not in the image.
    assert settings.embedded_kafka == ("TOLLGATE_KAFKA_BOOTSTRAP" not in given)
    used = {
        value.removeprefix("/run/secrets/")
        for value in SERVICES[name]["environment"].values()
        if value.startswith("/run/secrets/")
    }
    assert used == set(SERVICES[name].get("secrets", []))


def test_no_password_stands_in_the_file() -> None:
    for name in SERVICES:
        for variable, value in SERVICES[name].get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|TOKEN", variable):
                assert variable.endswith("_FILE"), f"{name} is given {variable} in the clear"
                assert value.startswith("/run/secrets/")
    text = (ROOT / "docker-compose.yml").read_text("utf-8")
    assert "${" not in text, "nothing is taken from the shell of who starts it"
    assert any(is_secret(field) for field in Settings.model_fields)


def test_every_secret_is_made_by_the_script_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    plain = Plain(tmp_path, {}, {}, {})
    plain.make_secrets()
    files = {path.name: path.read_text("utf-8") for path in (tmp_path / "secrets").iterdir()}
    assert {plain.secret(name).name for name in COMPOSE["secrets"]} == set(files)
    assert len(set(files.values())) == len(files)
    assert all(re.fullmatch(r"[0-9a-f]{48}", text) for text in files.values())
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    plain.make_secrets()
    assert files == {
        path.name: path.read_text("utf-8") for path in (tmp_path / "secrets").iterdir()
    }


def test_the_files_of_secrets_never_get_into_the_repository_or_the_image() -> None:
    folder = {Path(one["file"]).parent.as_posix() for one in COMPOSE["secrets"].values()}
    assert folder == {"deploy/secrets"}
    [extra] = {one["env_file"][0]["path"] for one in OURS.values()}
    for path in (*folder, extra):
        assert f"/{path}" in (ROOT / ".gitignore").read_text("utf-8")
        assert path in (ROOT / ".dockerignore").read_text("utf-8").splitlines()


def test_every_volume_is_mounted_and_every_mounted_file_exists() -> None:
    named: set[str] = set()
    for name in SERVICES:
        for volume in SERVICES[name].get("volumes", []):
            source, _, target = volume.partition(":")
            if source.startswith("./"):
                assert (ROOT / source).exists(), f"{name} mounts {source}"
                assert target.endswith(":ro")
            else:
                named.add(source)
    assert named == set(COMPOSE["volumes"])


@pytest.mark.parametrize("name", OURS)
def test_a_service_can_write_to_its_home_and_nothing_else(name: str) -> None:
    service = OURS[name]
    mounts = [volume.split(":")[1] for volume in service.get("volumes", [])]
    mounts += [one.partition(":")[0] for one in service["tmpfs"]]
    assert sorted(mounts) == ["/tmp", image_variables()["TOLLGATE_HOME"]]


def test_published_ports_are_on_loopback_and_those_of_tollgate_up() -> None:
    published = {
        name: [port.rpartition(":")[0] for port in one["ports"]]
        for name, one in SERVICES.items()
        if "ports" in one
    }
    fields = ("kafka_port", "clickhouse_http_port", "clickhouse_tcp_port")
    defaults = [f"127.0.0.1:{Settings.model_fields[field].default}" for field in fields]
    assert published.pop("kafka") + published.pop("clickhouse") == defaults
    assert published.pop("gateway") == [DEFAULT_LISTEN]
    assert published == {"prometheus": ["127.0.0.1:9090"], "grafana": ["127.0.0.1:3000"]}


def test_prometheus_asks_every_service_that_shows_metrics() -> None:
    written = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yaml").read_text("utf-8"))
    groups = [g for job in written["scrape_configs"] for g in job["static_configs"]]
    asked = {target for group in groups for target in group["targets"]}
    shown = {
        f"{name}:{one['environment']['TOLLGATE_METRICS_LISTEN'].rpartition(':')[2]}"
        for name, one in OURS.items()
        if "TOLLGATE_METRICS_LISTEN" in one.get("environment", {})
    }
    assert asked == shown
    # A process says its role itself; a label of that name here would put it aside.
    assert not [group for group in groups if "labels" in group]
    for rules in written["rule_files"]:
        assert Path(rules).parent.as_posix() == "/etc/prometheus", "where the folder is mounted"
        alerts = (ROOT / "deploy/prometheus" / Path(rules).name).read_text("utf-8")
        jobs = set(re.findall(r'job="([^"]+)"', alerts))
        assert jobs == {job["job_name"] for job in written["scrape_configs"]}


def test_grafana_s_sources_are_the_services_and_its_reader_s_password_is_a_secret() -> None:
    written = yaml.safe_load((ROOT / "deploy/compose/datasources.yaml").read_text("utf-8"))
    database, prometheus = written["datasources"]
    assert (database["jsonData"]["host"], database["jsonData"]["port"]) == ("clickhouse", 8123)
    assert prometheus["url"] == "http://prometheus:9090"
    password = database["secureJsonData"]["password"]
    [secret] = re.findall(r"^\$__file\{/run/secrets/(\w+)\}$", password)
    assert secret in SERVICES["grafana"]["secrets"]
    elsewhere: Any = yaml.safe_load(
        (ROOT / "deploy/grafana/provisioning/datasources/tollgate.yaml").read_text("utf-8")
    )
    assert database["uid"] == elsewhere["datasources"][0]["uid"]


def test_the_script_of_secrets_is_plain_shell() -> None:
    script = ROOT / "deploy/compose/secrets.sh"
    subprocess.run(["sh", "-n", script], check=True, timeout=30)
