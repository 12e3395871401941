"""The doctor: says what is missing, how to get it, and ends with 1 only for what is needed."""

import json
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from streams.cli.doctor import doctor, row
from streams.embedded import doctor as checks
from streams.embedded.doctor import Finding
from streams.embedded.jars import jar_dir, read_pins
from streams.embedded.ports import LOOPBACK, pick_free_ports
from streams.settings import Settings


def settings(home: Path, **more: object) -> Settings:
    return Settings(home=home, **more)  # type: ignore[arg-type]  # names of fields of Settings


def run_doctor(home: Path, *arguments: str) -> tuple[int, list[dict[str, str]]]:
    ports = pick_free_ports(4)
    names = ("kafka-port", "kafka-controller-port", "clickhouse-http-port", "clickhouse-tcp-port")
    flags = [f"--{name}={port}" for name, port in zip(names, ports, strict=True)]
    result = CliRunner().invoke(
        doctor, [*flags, f"--home={home}", "--json", *arguments], standalone_mode=False
    )
    assert result.exception is None, result.output
    return result.return_value, [json.loads(line) for line in result.stdout.splitlines()]


def test_every_finding_that_is_not_ok_says_how_to_get_it(tmp_path: Path) -> None:
    _, findings = run_doctor(tmp_path / "home")
    assert {"platform", "python", "java", "clickhouse engine", "disk"} <= {
        finding["name"] for finding in findings
    }
    assert all(bool(finding["remedy"]) == (finding["status"] != "ok") for finding in findings)


def test_a_busy_port_is_missing_and_ends_with_one(tmp_path: Path) -> None:
    with socket.create_server((LOOPBACK, pick_free_ports(1)[0])) as busy:
        port = busy.getsockname()[1]
        code, findings = run_doctor(tmp_path / "home", f"--kafka-port={port}")
    (found,) = [finding for finding in findings if finding["name"] == f"port {port}"]
    assert found["status"] == "missing"
    assert "--kafka-port" in found["remedy"]
    assert code == 1


def test_jars_that_are_yet_to_be_fetched_are_a_warning_with_their_size(tmp_path: Path) -> None:
    found = checks.check_jars(tmp_path)
    assert found.status == "warning"
    assert "45 MB" in found.remedy


def test_a_wrong_jar_is_missing_and_named(tmp_path: Path) -> None:
    for jar in read_pins():
        path = jar_dir(tmp_path) / jar.name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"not the pinned one")
    found = checks.check_jars(tmp_path)
    assert found.status == "missing"
    assert read_pins()[0].name in found.found


def test_a_home_that_cannot_be_written_is_missing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert checks.check_home(tmp_path / "file" / "home").status == "missing"


def test_an_external_kafka_that_does_not_answer_is_missing() -> None:
    server = f"{LOOPBACK}:{pick_free_ports(1)[0]}"
    (found,) = checks.check_external_kafka(server)
    assert (found.status, found.name) == ("missing", f"kafka {server}")


def test_an_external_clickhouse_that_does_not_answer_is_missing(tmp_path: Path) -> None:
    url = f"http://{LOOPBACK}:{pick_free_ports(1)[0]}"
    found = checks.check_external_clickhouse(settings(tmp_path, clickhouse_url=url))
    assert found.status == "missing"
    assert "TOLLGATE_CLICKHOUSE_URL" in found.remedy


def test_nothing_of_an_embedded_server_is_asked_for_where_an_external_one_is_named(
    tmp_path: Path,
) -> None:
    free = pick_free_ports(2)
    chosen = settings(
        tmp_path,
        kafka_bootstrap=f"{LOOPBACK}:{free[0]}",
        clickhouse_url=f"http://{LOOPBACK}:{free[1]}",
    )
    names = {finding.name for finding in checks.examine(chosen)}
    assert not names & {"java", "kafka jars", "clickhouse engine", "confinement"}
    assert not any(name.startswith("port ") for name in names)


@pytest.mark.parametrize("status", ["ok", "warning", "missing"])
def test_rows_are_aligned_whatever_the_status(status: checks.Status) -> None:
    lines = row(Finding("java", status, "FOUND", "REMEDY")).splitlines()
    plain = lines[0].replace("\x1b[0m", "").split("m", 1)[1]
    assert plain.index("FOUND") == 29
    assert lines[1].index("->") == 29
