"""Where settings come from, which source counts, and what is said about faults."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from streams.errors import SetupError
from streams.settings import Settings, environment_name, is_secret, load_settings

PASSWORD = "correct-horse"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home directory without an environment file."""
    return tmp_path


def load(
    home: Path,
    *,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    env_file: Path | None = None,
) -> Settings:
    """Load with `home` as the home and nothing from this process's environment."""
    return load_settings({"home": home, **(flags or {})}, environment or {}, env_file)


def faults(home: Path, **sources: Any) -> str:
    """Return the message of the refusal."""
    with pytest.raises(SetupError) as caught:
        load(home, **sources)
    return caught.value.message


def test_without_any_source_everything_is_embedded_and_local(home: Path) -> None:
    settings = load(home)
    assert settings.embedded_kafka
    assert settings.embedded_clickhouse
    assert settings.metrics_listen is None
    assert settings.state_directory == home / "state"


def test_a_flag_counts_before_the_environment_before_the_file_before_the_default(
    home: Path,
) -> None:
    file = home / "any.env"
    file.write_text("TOLLGATE_PARTITIONS=2\nTOLLGATE_CYCLE_PAUSE_MS=2\nTOLLGATE_LOG_LEVEL=error\n")
    settings = load(
        home,
        flags={"partitions": "4"},
        environment={"TOLLGATE_PARTITIONS": "3", "TOLLGATE_CYCLE_PAUSE_MS": "3"},
        env_file=file,
    )
    assert settings.partitions == 4
    assert settings.cycle_pause_ms == 3
    assert settings.log_level == "error"
    assert settings.replication_factor == 1


def test_a_flag_that_was_not_given_counts_for_nothing(home: Path) -> None:
    settings = load(home, flags={"partitions": None}, environment={"TOLLGATE_PARTITIONS": "3"})
    assert settings.partitions == 3


def test_the_file_in_the_home_is_read_without_being_named(home: Path) -> None:
    (home / "tollgate.env").write_text("TOLLGATE_PARTITIONS=2\n")
    assert load(home).partitions == 2


def test_the_home_of_the_environment_is_where_the_file_is_looked_for(home: Path) -> None:
    (home / "tollgate.env").write_text("TOLLGATE_PARTITIONS=2\n")
    settings = load_settings(environment={"TOLLGATE_HOME": str(home)})
    assert settings.partitions == 2


def test_a_named_file_replaces_the_one_in_the_home(home: Path) -> None:
    (home / "tollgate.env").write_text("TOLLGATE_PARTITIONS=2\nTOLLGATE_CYCLE_PAUSE_MS=2\n")
    other = home / "other.env"
    other.write_text("TOLLGATE_PARTITIONS=3\n")
    for settings in (
        load(home, env_file=other),
        load(home, environment={"TOLLGATE_ENV_FILE": str(other)}),
    ):
        assert settings.partitions == 3
        assert settings.cycle_pause_ms == 100


def test_a_named_file_may_choose_the_home(tmp_path: Path) -> None:
    file = tmp_path / "any.env"
    file.write_text(f"TOLLGATE_HOME={tmp_path / 'chosen'}\n")
    assert load_settings({}, {}, file).home == tmp_path / "chosen"


def test_a_file_in_the_home_cannot_move_the_home(home: Path) -> None:
    (home / "tollgate.env").write_text("TOLLGATE_HOME=/elsewhere\n")
    assert "TOLLGATE_HOME" in faults(home)


def test_a_named_file_that_is_missing_is_a_fault(home: Path) -> None:
    assert "gone.env: cannot be read" in faults(home, env_file=home / "gone.env")


def test_comments_blanks_and_quotes_in_a_file_are_understood(home: Path) -> None:
    file = home / "any.env"
    file.write_text(
        "# a comment\n\n  TOLLGATE_APP_ID = \"billing\" \nTOLLGATE_TOPIC_PREFIX=''\n"
        "TOLLGATE_CLICKHOUSE_PASSWORD=a#b=c\n"
    )
    settings = load(home, env_file=file)
    assert settings.app_id == "billing"
    assert settings.topic_prefix == ""
    assert settings.clickhouse_password == SecretStr("a#b=c")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"TOLLGATE_PARTITIONS\n", "line 1: is not NAME=value"),
        (b"export TOLLGATE_PARTITIONS=1\n", "line 1: is not NAME=value"),
        (b"TOLLGATE_PARTITIONS=1\nTOLLGATE_PARTITIONS=1\n", "line 2: TOLLGATE_PARTITIONS is given"),
        (b"TOLGATE_PARTITIONS=1\n", "TOLGATE_PARTITIONS"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"#" * 70_000, "larger than 65536 bytes"),
    ],
)
def test_a_file_that_cannot_be_understood_is_a_fault(content: bytes, said: str, home: Path) -> None:
    file = home / "any.env"
    file.write_bytes(content)
    assert said in faults(home, env_file=file)


def test_an_unknown_name_is_refused_with_the_nearest_that_exists(home: Path) -> None:
    said = faults(home, environment={"TOLLGATE_KAFKA_BOOTSTRP": "kafka:9092"})
    assert "TOLLGATE_KAFKA_BOOTSTRP (environment): there is no such setting" in said
    assert "did you mean TOLLGATE_KAFKA_BOOTSTRAP?" in said


def test_an_unknown_name_that_resembles_nothing_gets_no_suggestion(home: Path) -> None:
    assert "did you mean" not in faults(home, environment={"TOLLGATE_XYZZY": "1"})


def test_names_of_others_are_passed_over(home: Path) -> None:
    assert load(home, environment={"KAFKA_BOOTSTRAP": "x", "PATH": "/bin"}).embedded_kafka


def test_all_faults_of_all_sources_are_reported_together(home: Path) -> None:
    file = home / "any.env"
    file.write_text("TOLLGATE_PARTITIONS=0\nnonsense\n")
    said = faults(
        home,
        flags={"kafka_port": "99999"},
        environment={"TOLLGATE_LOG_LEVEL": "loud", "TOLLGATE_NOPE": "1"},
        env_file=file,
    )
    for part in (
        f"TOLLGATE_PARTITIONS ({file}, line 1, got '0')",
        f"{file}, line 2",
        "TOLLGATE_KAFKA_PORT (flag --kafka-port, got '99999')",
        "TOLLGATE_LOG_LEVEL (environment, got 'loud')",
        "TOLLGATE_NOPE (environment)",
    ):
        assert part in said
    assert said.count("\n  - ") == 5


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("home", ""),
        ("state_dir", ""),
        ("kafka_bootstrap", "kafka"),
        ("kafka_bootstrap", "kafka:0"),
        ("kafka_bootstrap", "kafka:9092,"),
        ("kafka_bootstrap", "kafka:70000"),
        ("kafka_heap_mb", "64"),
        ("kafka_port", "-1"),
        ("kafka_port", "http"),
        ("clickhouse_url", "clickhouse:8123"),
        ("clickhouse_url", "ftp://clickhouse:8123"),
        ("clickhouse_url", "http://clickhouse:99999"),
        ("clickhouse_url", "http://clickhouse:8123/db"),
        ("clickhouse_database", "a-b"),
        ("clickhouse_database", "a; DROP DATABASE b"),
        ("topic_prefix", "a/b"),
        ("topic_prefix", "a" * 65),
        ("partitions", "257"),
        ("partitions", "1.5"),
        ("replication_factor", "0"),
        ("app_id", ""),
        ("session_timeout_seconds", "5.9"),
        ("session_timeout_seconds", "14.1"),
        ("session_timeout_seconds", "nan"),
        ("cycle_records_max", "0"),
        ("cycle_records_max", "50001"),
        ("sink_batch_rows_max", "0"),
        ("sink_batch_bytes_max", "134217729"),
        ("sink_linger_ms", "5001"),
        ("log_level", "trace"),
    ],
)
def test_a_value_beyond_its_bounds_is_refused_under_its_name(
    field: str, value: str, home: Path
) -> None:
    sources = {"TOLLGATE_HOME": str(home), environment_name(field): value}
    with pytest.raises(SetupError) as caught:
        load_settings({}, sources)
    assert environment_name(field) in caught.value.message


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kafka_bootstrap", "a.example:9092, [::1]:9092"),
        ("kafka_heap_mb", "256"),
        ("clickhouse_url", "https://clickhouse.example:8443/"),
        ("partitions", "256"),
        ("session_timeout_seconds", "14"),
        ("topic_prefix", "a" * 64),
        ("log_level", "WARNING"),
        ("kafka_port", "0"),
    ],
)
def test_a_value_at_its_bounds_is_taken(field: str, value: str, home: Path) -> None:
    settings = load(home, environment={environment_name(field): value})
    assert getattr(settings, field) != Settings.model_fields[field].default


def test_two_embedded_servers_cannot_want_the_same_port(home: Path) -> None:
    said = faults(home, flags={"kafka_port": 18123})
    assert (
        "TOLLGATE_CLICKHOUSE_HTTP_PORT (default): port 18123 is already taken by "
        "TOLLGATE_KAFKA_PORT"
    ) in said


@pytest.mark.parametrize(
    ("given", "blamed", "todo"),
    [
        (
            {"gateway_tls_certificate": "/c.pem"},
            "gateway_tls_certificate",
            "set TOLLGATE_GATEWAY_TLS_KEY",
        ),
        ({"gateway_tls_key": "/c.key"}, "gateway_tls_key", "set TOLLGATE_GATEWAY_TLS_CERTIFICATE"),
        ({"hop_listen": "0.0.0.0:7000"}, "hop_listen", "set TOLLGATE_HOP_SECRET_FILE"),
        ({"hop_listen": "worker-1:7000"}, "hop_listen", "set TOLLGATE_HOP_SECRET_FILE"),
        (
            {"clickhouse_tls_ca": "/ca.pem", "clickhouse_url": "http://c:8123"},
            "clickhouse_tls_ca",
            "give the https:// address",
        ),
        ({"clickhouse_tls_ca": "/ca.pem"}, "clickhouse_tls_ca", "give the https:// address"),
        ({"replication_factor": "3"}, "replication_factor", "set TOLLGATE_KAFKA_BOOTSTRAP"),
    ],
)
def test_what_needs_another_setting_is_a_fault_without_it(
    given: Mapping[str, str], blamed: str, todo: str, home: Path
) -> None:
    said = faults(home, flags=given)
    assert f"{environment_name(blamed)} (flag " in said
    assert todo in said
    assert said.count("\n  - ") == 1


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:7000", "localhost:7000"])
def test_a_hop_that_only_this_machine_reaches_needs_no_secret(listen: str, home: Path) -> None:
    assert load(home, flags={"hop_listen": listen}).hop_secret is None


def test_what_depends_on_a_value_that_is_refused_is_not_said(home: Path) -> None:
    said = faults(
        home,
        flags={"clickhouse_url": "https://", "clickhouse_tls_ca": "/ca.pem", "hop_listen": "h:1"},
        environment={"TOLLGATE_HOP_SECRET_FILE": str(home / "gone")},
    )
    assert "TOLLGATE_CLICKHOUSE_URL" in said
    assert "TOLLGATE_HOP_SECRET_FILE" in said
    assert said.count("\n  - ") == 2


def test_a_file_that_cannot_be_read_is_the_only_fault(home: Path) -> None:
    said = faults(home, flags={"hop_listen": "h:1"}, env_file=home / "gone.env")
    assert said.count("\n  - ") == 1


def test_ports_that_are_picked_or_not_used_do_not_clash(home: Path) -> None:
    load(home, flags={"kafka_port": 0, "kafka_controller_port": 0})
    load(home, flags={"kafka_port": 18123, "clickhouse_url": "http://elsewhere:8123"})


def test_a_password_inside_an_address_is_refused_and_not_repeated(home: Path) -> None:
    said = faults(
        home, environment={"TOLLGATE_CLICKHOUSE_URL": f"http://admin:{PASSWORD}@clickhouse:8123"}
    )
    assert "TOLLGATE_CLICKHOUSE_URL" in said
    assert PASSWORD not in said


def test_a_secret_never_prints(home: Path) -> None:
    settings = load(home, environment={"TOLLGATE_CLICKHOUSE_PASSWORD": PASSWORD})
    for text in (str(settings), repr(settings), f"{settings}", settings.model_dump_json()):
        assert PASSWORD not in text


def test_a_secret_that_is_refused_is_not_repeated(home: Path) -> None:
    said = faults(home, environment={"TOLLGATE_CLICKHOUSE_PASSWORD": PASSWORD * 20})
    assert "TOLLGATE_CLICKHOUSE_PASSWORD (environment)" in said
    assert PASSWORD not in said


def test_a_line_of_a_file_is_not_repeated_in_the_error(home: Path) -> None:
    file = home / "any.env"
    file.write_text(f"TOLLGATE CLICKHOUSE PASSWORD={PASSWORD}\n")
    assert PASSWORD not in faults(home, env_file=file)


def test_every_password_is_a_secret() -> None:
    named = {field for field in Settings.model_fields if "password" in field or "secret" in field}
    assert named
    assert named == {field for field in Settings.model_fields if is_secret(field)}


def test_settings_are_frozen(home: Path) -> None:
    settings = load(home)
    with pytest.raises(ValidationError):
        settings.partitions = 3


def test_a_child_process_gets_exactly_these_settings(home: Path) -> None:
    settings = load(
        home,
        environment={"TOLLGATE_CLICKHOUSE_PASSWORD": PASSWORD},
        flags={"partitions": 3, "kafka_bootstrap": "kafka:9092", "log_level": "debug"},
    )
    assert load_settings(environment=settings.environment()) == settings


def test_a_home_is_independent_of_the_working_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings({"home": "here"}, {})
    monkeypatch.chdir("/")
    assert settings.home == tmp_path / "here"
