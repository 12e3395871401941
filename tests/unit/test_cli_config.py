"""`tollgate config`: where values come from, what is wrong with them, where they lead."""

import json
from pathlib import Path
from typing import Any

import pytest

from streams.cli import main
from streams.embedded.ports import LOOPBACK, pick_free_ports
from streams.settings import Settings, environment_name, is_secret


@pytest.fixture
def config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Any:
    """Runs `tollgate config …` and returns (exit code, stdout, stderr in one line)."""
    monkeypatch.setenv("TOLLGATE_HOME", str(tmp_path))

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main.run(["config", *arguments])
        out, err = capsys.readouterr()
        return code, out, " ".join(err.split())

    return run


def test_show_says_of_every_value_where_it_was_given(
    config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tollgate.env"
    file.write_text("\nTOLLGATE_PARTITIONS=3\n")
    secret = tmp_path / "secret"
    secret.write_text("hidden-away")
    monkeypatch.setenv("TOLLGATE_LOG_LEVEL", "debug")
    monkeypatch.setenv("TOLLGATE_HOP_SECRET_FILE", str(secret))
    code, out, _ = config("show", "--json", "--app-id", "billing")
    assert code == 0
    shown = json.loads(out)
    assert list(shown) == list(Settings.model_fields)
    assert shown["app_id"] == {"value": "billing", "source": "flag", "place": "flag --app-id"}
    assert shown["log_level"] == {"value": "debug", "source": "environment", "place": "environment"}
    assert shown["partitions"] == {"value": 3, "source": "file", "place": f"{file}, line 2"}
    assert shown["topic_prefix"]["source"] == shown["topic_prefix"]["place"] == "default"
    assert shown["hop_secret"] == {
        "value": "(hidden)",
        "source": "environment",
        "place": f"environment, from the file {secret}",
    }
    lines = config("show", "--app-id", "billing")[1].splitlines()
    assert len(lines) == len(Settings.model_fields)
    [line] = [line for line in lines if line.startswith("TOLLGATE_PARTITIONS ")]
    assert line.split(maxsplit=2)[1:] == ["3", f"{file}, line 2"]


def test_show_and_check_take_the_flag_of_every_setting_but_secrets(config: Any) -> None:
    for command in ("show", "check"):
        code, out, _ = config(command, "--help")
        assert code == 0
        for field in Settings.model_fields:
            assert (f"--{field.replace('_', '-')} VALUE" in out) is not is_secret(field)


def test_check_tells_faults_of_one_and_of_several_settings_together(config: Any) -> None:
    code, out, _ = config(
        "check", "--json", "--partitions", "0", "--hop-listen", "0.0.0.0:7", "--app-id", "a b"
    )
    assert code == 2
    told = json.loads(out)
    assert not told["usable"]
    named = {fault["name"] for fault in told["faults"]}
    assert named == {environment_name(name) for name in ("partitions", "hop_listen", "app_id")}
    assert all(fault["todo"] and fault["place"] for fault in told["faults"])


def test_check_without_a_fault_says_so_and_exits_0(config: Any) -> None:
    code, out, err = config("check")
    assert (code, out) == (0, "")
    assert err == "settings are valid: Kafka embedded, ClickHouse embedded"
    assert json.loads(config("check", "--json")[1]) == {
        "usable": True,
        "faults": [],
        "warnings": [],
        "tried": [],
    }


def test_check_warns_of_a_file_that_everybody_may_read(config: Any, tmp_path: Path) -> None:
    file = tmp_path / "tollgate.env"
    file.write_text("TOLLGATE_HOP_SECRET=hidden-away\n")
    file.chmod(0o644)
    code, _, err = config("check")
    assert code == 0
    assert f"chmod o-rwx {file}" in err


def test_check_tells_what_others_could_read_on_the_way(config: Any) -> None:
    code, out, _ = config(
        *("check", "--json", "--gateway-listen", "0.0.0.0:8480"),
        *("--clickhouse-url", "http://clickhouse:8123"),
    )
    assert code == 0
    told = [warning["name"] for warning in json.loads(out)["warnings"]]
    assert told == ["TOLLGATE_GATEWAY_LISTEN", "TOLLGATE_CLICKHOUSE_URL"]
    code, out, _ = config(
        *("check", "--json", "--gateway-listen", "127.0.0.1:8480"),
        *("--clickhouse-url", "https://clickhouse:8443"),
    )
    assert not json.loads(out)["warnings"]


def test_check_connect_says_of_each_server_what_fails_and_what_to_do(
    config: Any, tmp_path: Path
) -> None:
    (tmp_path / "c.pem").write_text("none")
    dead = [f"{LOOPBACK}:{port}" for port in pick_free_ports(2)]
    code, out, _ = config(
        *("check", "--connect", "--json"),
        *("--kafka-bootstrap", dead[0], "--clickhouse-url", f"http://{dead[1]}"),
        *("--gateway-tls-certificate", str(tmp_path / "c.pem")),
        *("--gateway-tls-key", str(tmp_path / "c.pem")),
    )
    assert code == 1
    kafka, clickhouse, certificate = json.loads(out)["tried"]
    assert dead[0] in kafka["found"]
    assert "TOLLGATE_KAFKA_BOOTSTRAP" in kafka["todo"]
    assert dead[1] in clickhouse["found"]
    assert "Connection refused" in clickhouse["found"]
    assert "TOLLGATE_CLICKHOUSE_URL" in clickhouse["todo"]
    assert "c.pem" in certificate["found"]


def test_check_connect_says_that_nothing_runs_on_the_home(config: Any) -> None:
    code, out, _ = config("check", "--connect")
    assert code == 1
    assert out.count("nothing runs on") == 2
    assert "-> Start it with `tollgate up`" in out
