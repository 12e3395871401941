"""Secrets: read from files of their own, and never in anything that anybody gets to see."""

import contextlib
import io
import logging
import os
import secrets
import string
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from streams import limits
from streams.app.warehouse import clickhouse_address
from streams.cli import main
from streams.errors import SetupError
from streams.settings import (
    Settings,
    environment_name,
    is_secret,
    load_settings,
    read_settings,
)
from streams.settings.access import kafka_access

FIELDS = [field for field in Settings.model_fields if is_secret(field)]
PASSWORD = "correct-horse"


def private(path: Path, content: str | bytes, mode: int = 0o400) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    return path


def load(home: Path, environment: Mapping[str, str], lines: str | None = None) -> Settings:
    file = None if lines is None else private(home / "any.env", lines)
    return load_settings({"home": home}, environment, file)


def faults(home: Path, environment: Mapping[str, str], lines: str | None = None) -> str:
    with pytest.raises(SetupError) as caught:
        load(home, environment, lines)
    return caught.value.message


@pytest.mark.parametrize("field", [field for field in FIELDS if not field.startswith("kafka_")])
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_every_secret_can_be_read_from_a_file_of_its_own(
    field: str, end: str, tmp_path: Path
) -> None:
    file = private(tmp_path / "secret", f" {PASSWORD} {end}")
    name = environment_name(field) + "_FILE"
    for settings in (load(tmp_path, {name: str(file)}), load(tmp_path, {}, f"{name}={file}\n")):
        assert getattr(settings, field) == SecretStr(f" {PASSWORD} ")


def test_a_secret_of_kafka_can_be_read_from_a_file_too(tmp_path: Path) -> None:
    file = private(tmp_path / "secret", PASSWORD)
    settings = load(
        tmp_path,
        {
            "TOLLGATE_KAFKA_BOOTSTRAP": "kafka:9093",
            "TOLLGATE_KAFKA_SECURITY_PROTOCOL": "sasl_ssl",
            "TOLLGATE_KAFKA_SASL_MECHANISM": "scram-sha-512",
            "TOLLGATE_KAFKA_SASL_USERNAME": "worker",
            "TOLLGATE_KAFKA_SASL_PASSWORD_FILE": str(file),
        },
    )
    assert settings.kafka_sasl_password == SecretStr(PASSWORD)


def test_only_one_line_end_is_taken_off(tmp_path: Path) -> None:
    file = private(tmp_path / "secret", f"{PASSWORD}\n\n")
    said = faults(tmp_path, {"TOLLGATE_HOP_SECRET_FILE": str(file)})
    assert "more than one line" in said


def test_both_forms_in_one_source_are_a_fault(tmp_path: Path) -> None:
    file = private(tmp_path / "secret", PASSWORD)
    both = {"TOLLGATE_HOP_SECRET": PASSWORD, "TOLLGATE_HOP_SECRET_FILE": str(file)}
    assert "keep one of the two" in faults(tmp_path, both)
    lines = "".join(f"{name}={value}\n" for name, value in both.items())
    assert "any.env, line 2): the secret is also given as TOLLGATE_HOP_SECRET" in faults(
        tmp_path, {}, lines
    )


def test_of_two_sources_the_stronger_counts_whatever_the_form(tmp_path: Path) -> None:
    file = private(tmp_path / "secret", PASSWORD)
    inline, held = "TOLLGATE_HOP_SECRET", "TOLLGATE_HOP_SECRET_FILE"
    assert load(tmp_path, {held: str(file)}, f"{inline}=other\n").hop_secret == SecretStr(PASSWORD)
    assert load(tmp_path, {inline: "other"}, f"{held}={file}\n").hop_secret == SecretStr("other")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("\n", "is empty"),
        ("one\ntwo", "more than one line"),
        ("one\0two", "control characters"),
        (b"\xff\xfe", "is not UTF-8 text"),
        ("x" * (limits.SECRET_FILE_BYTES_MAX + 1), "is larger than 4096 bytes"),
        ("x" * (limits.PASSWORD_CHARS_MAX + 1), "at most 256"),
    ],
)
def test_a_file_that_is_no_secret_is_a_fault_of_its_setting(
    content: str | bytes, said: str, tmp_path: Path
) -> None:
    file = private(tmp_path / "secret", content)
    message = faults(tmp_path, {"TOLLGATE_HOP_SECRET_FILE": str(file)})
    assert "TOLLGATE_HOP_SECRET_FILE (environment" in message
    assert said in message


def test_what_is_no_file_is_a_fault_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "gone", tmp_path, tmp_path / "pipe"):
        said = faults(tmp_path, {"TOLLGATE_HOP_SECRET_FILE": str(path)})
        assert f"the file {path} " in said
    assert "is empty" in faults(tmp_path, {"TOLLGATE_HOP_SECRET_FILE": ""})


def test_a_file_that_everybody_may_change_is_refused(tmp_path: Path) -> None:
    file = private(tmp_path / "secret", PASSWORD, 0o602)
    assert "may be changed by every user" in faults(
        tmp_path, {"TOLLGATE_HOP_SECRET_FILE": str(file)}
    )


@pytest.mark.parametrize(("mode", "warned"), [(0o400, False), (0o440, False), (0o444, True)])
def test_a_file_that_everybody_may_read_is_warned_of(
    mode: int, warned: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Containers mount secrets so that a group reads them, or everybody in the container."""
    file = private(tmp_path / "secret", PASSWORD, mode)
    load(tmp_path, {"TOLLGATE_HOP_SECRET_FILE": str(file)})
    assert (f"chmod o-rwx {file}" in caplog.text) is warned
    lines = private(tmp_path / "other.env", f"TOLLGATE_HOP_SECRET={PASSWORD}\n", mode)
    caplog.clear()
    load_settings({"home": tmp_path}, {}, lines)
    assert (f"chmod o-rwx {lines}" in caplog.text) is warned


def test_only_secrets_have_a_form_with_a_file(tmp_path: Path) -> None:
    said = faults(tmp_path, {"TOLLGATE_PARTITIONS_FILE": "4"})
    assert "only secrets are read from files of their own; give TOLLGATE_PARTITIONS itself" in said


def test_a_child_gets_the_secret_itself_whatever_gave_it(tmp_path: Path) -> None:
    file = private(tmp_path / "secret", PASSWORD)
    settings = load(tmp_path, {"TOLLGATE_HOP_SECRET_FILE": str(file)})
    assert load_settings(environment=settings.environment()) == settings


# --- nowhere to be seen -------------------------------------------------------------------------


def ways(secret: str, field: str, folder: Path) -> Iterator[tuple[str, dict[str, str], str]]:
    """Each way in which a secret can be given, or can go astray: its name, the variables and the
    lines of an environment file."""
    name = environment_name(field)
    held = private(folder / f"held-{field}", secret)
    lines = private(folder / f"lines-{field}", f"{secret}\n{secret}\n")
    long = private(folder / f"long-{field}", secret * 100)
    raw = private(folder / f"raw-{field}", secret.encode() + b"\xff")
    yield "variable", {name: secret}, ""
    yield "line", {}, f"{name}={secret}\n"
    yield "quoted line", {}, f'{name}="{secret}"\n'
    yield "file", {f"{name}_FILE": str(held)}, ""
    yield "file by a line", {}, f"{name}_FILE={held}\n"
    yield "both", {name: secret, f"{name}_FILE": str(held)}, ""
    yield "too long", {name: secret * 100}, ""
    yield "two lines", {f"{name}_FILE": str(lines)}, ""
    yield "file too long", {f"{name}_FILE": str(long)}, ""
    yield "file of bytes", {f"{name}_FILE": str(raw)}, ""
    yield "misspelt", {f"{name}X": secret}, ""
    yield "misspelt line", {}, f"{name}X={secret}\n"
    yield "no line", {}, f"{name} {secret}\n"
    yield "twice", {}, f"{name}={secret}\n{name}={secret}\n"
    yield "in an address", {"TOLLGATE_CLICKHOUSE_URL": f"http://u:{secret}@host:1"}, ""
    yield "in a page", {"TOLLGATE_OTEL_ENDPOINT": f"http://u:{secret}@host:1/v1"}, ""
    yield "in a place", {"TOLLGATE_GATEWAY_LISTEN": f"u:{secret}@host:1"}, ""
    yield "in servers", {"TOLLGATE_KAFKA_BOOTSTRAP": f"u:{secret}@host:1"}, ""
    yield "beside a fault", {name: secret, "TOLLGATE_PARTITIONS": "0"}, ""


def everything_said(environment: dict[str, str], env_file: Path, home: Path) -> str:
    """All that commands, logs, errors with their tracebacks, and representations show."""
    said = io.StringIO()
    collector = logging.StreamHandler(said)
    logging.getLogger().addHandler(collector)
    arguments = ["--home", str(home), "--env-file", str(env_file)]
    try:
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
        ):
            for name, value in environment.items():
                patch.setenv(name, value)
            for command in (["show"], ["check"], ["check", "--json"]):
                main.run(["config", *command, *arguments])
            reading = read_settings({"home": home}, env_file=env_file)
            print(repr(reading), str(reading))
            try:
                loaded = load_settings({"home": home}, env_file=env_file)
            except SetupError as error:
                print(error, repr(error))
                traceback.print_exception(error)
            else:
                print(loaded, repr(loaded), loaded.model_dump(), loaded.model_dump_json())
                print(repr(kafka_access(loaded, "kafka:9092")))
                external = loaded.model_copy(update={"clickhouse_url": "http://h:1"})
                print(repr(clickhouse_address(external)))
    finally:
        logging.getLogger().removeHandler(collector)
    return said.getvalue()


@pytest.mark.parametrize("sign", list(string.punctuation))
def test_no_sign_in_the_password_of_an_address_makes_it_shown(tmp_path: Path, sign: str) -> None:
    secret = f"hunter2{sign}hunter2"
    for name, address in {
        "TOLLGATE_CLICKHOUSE_URL": f"http://u:{secret}@host:1",
        "TOLLGATE_OTEL_ENDPOINT": f"http://u:{secret}@host:1/v1",
        "TOLLGATE_GATEWAY_LISTEN": f"u:{secret}@host:1",
        "TOLLGATE_KAFKA_BOOTSTRAP": f"u:{secret}@host:1",
    }.items():
        said = faults(tmp_path, {name: address})
        assert "leave user and password out of the address" in said
        assert "hunter2" not in said


@hypothesis.settings(max_examples=100)
@given(
    tail=st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF, categories=["L", "N", "P"])),
    field=st.sampled_from(FIELDS),
    chosen=st.integers(min_value=0),
)
def test_a_secret_is_in_nothing_that_is_said(tail: str, field: str, chosen: int) -> None:
    # Long and random enough that nothing contains it by chance; without what ends a line's value.
    secret = secrets.token_hex(8) + "".join(sign for sign in tail if sign not in "'\"#=")[:40]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = list(ways(secret, field, folder))
        way, environment, lines = found[chosen % len(found)]
        said = everything_said(environment, private(folder / "any.env", lines), folder / "home")
    assert said
    assert secret[:16] not in said, way
