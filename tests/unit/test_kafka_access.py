"""How clients are told to get into Kafka: from settings, into aiokafka and Faust."""

import asyncio
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from schemas.client.kafka_access import KafkaAccess, client_options
from streams.adapters.kafka_door import check_door, faust_credentials
from streams.app.addresses import kafka_bootstrap
from streams.errors import SetupError
from streams.settings import Settings, load_settings
from streams.settings.access import access_faults
from tests.authority import LOOPBACK_HOSTS, Authority
from tests.kafka_guide import blocks

SERVERS = "one:9092,two:9092"
SCRAM = {
    "kafka_security_protocol": "sasl_ssl",
    "kafka_sasl_mechanism": "SCRAM-SHA-512",
    "kafka_sasl_username": "tollgate-worker",
    "kafka_sasl_password": SecretStr("open-sesame"),
}


def settings(tmp_path: Path, **more: Any) -> Settings:
    return Settings(home=tmp_path, **({"kafka_bootstrap": SERVERS} | more))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.mark.parametrize(
    ("more", "at"),
    [
        ({}, []),
        (SCRAM, []),
        ({"kafka_security_protocol": "ssl"}, []),
        ({"kafka_security_protocol": "ssl", "kafka_bootstrap": None}, ["security_protocol"]),
        ({"kafka_security_protocol": "sasl_ssl"}, ["sasl_mechanism"]),
        (
            {"kafka_security_protocol": "sasl_ssl", "kafka_sasl_mechanism": "PLAIN"},
            ["sasl_password", "sasl_username"],
        ),
        (
            {"kafka_security_protocol": "sasl_ssl", "kafka_sasl_mechanism": "OAUTHBEARER"},
            ["sasl_token_file"],
        ),
        (SCRAM | {"kafka_sasl_mechanism": "GSSAPI"}, ["sasl_password", "sasl_username"]),
        (
            SCRAM | {"kafka_security_protocol": "ssl"},
            ["sasl_mechanism", "sasl_password", "sasl_username"],
        ),
        ({"kafka_tls_ca": "/nowhere/ca.pem"}, ["tls_ca"]),
        ({"kafka_security_protocol": "ssl", "kafka_tls_ca": "/nowhere/ca.pem"}, ["tls_ca"]),
        (
            {"kafka_security_protocol": "ssl", "kafka_tls_key": "/nowhere/k.pem"},
            ["tls_certificate", "tls_key"],
        ),
    ],
)
def test_settings_that_do_not_go_together_are_named_each_with_what_to_do(
    tmp_path: Path, more: dict[str, Any], at: list[str]
) -> None:
    found = access_faults(settings(tmp_path, **more))
    assert [field for field, *_ in found] == [f"kafka_{field}" for field in at]
    assert all(wrong and todo for _, wrong, todo in found)


def test_servers_alone_are_plain_text() -> None:
    assert client_options(SERVERS) == {"bootstrap_servers": SERVERS}
    assert faust_credentials(SERVERS) is None


def test_the_options_hold_what_aiokafka_wants(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("client", *LOOPBACK_HOSTS)
    access = KafkaAccess(
        SERVERS,
        "SASL_SSL",
        "SCRAM-SHA-256",
        "me",
        "open-sesame",
        tls_ca=authority.certificate,
        tls_certificate=certificate,
        tls_key=key,
    )
    options = client_options(access)
    context = options.pop("ssl_context")
    assert isinstance(context, ssl.SSLContext)
    assert context.check_hostname
    assert options == {
        "bootstrap_servers": SERVERS,
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-256",
        "sasl_plain_username": "me",
        "sasl_plain_password": "open-sesame",
    }


@pytest.mark.parametrize(
    ("protocol", "mechanism", "told"),
    [
        ("SASL_SSL", "SCRAM-SHA-512", ("SASL_SSL", "SCRAM-SHA-512")),
        ("SASL_PLAINTEXT", "PLAIN", ("SASL_PLAINTEXT", "PLAIN")),
        ("SASL_SSL", "OAUTHBEARER", ("SASL_SSL", "OAUTHBEARER")),
        ("SASL_SSL", "GSSAPI", ("SASL_SSL", "GSSAPI")),
        ("SSL", None, ("SSL", None)),
    ],
)
def test_faust_is_told_the_same(
    protocol: str, mechanism: str | None, told: tuple[str, str | None], tmp_path: Path
) -> None:
    access = KafkaAccess(SERVERS, protocol, mechanism, "me", "pw", token_file=tmp_path / "token")
    found: Any = faust_credentials(access)
    mechanism_told = getattr(found, "mechanism", None)
    assert (found.protocol.value, mechanism_told and mechanism_told.value) == told


def test_a_token_is_read_anew_each_time(tmp_path: Path) -> None:
    path = tmp_path / "token"
    access = KafkaAccess(SERVERS, "SASL_SSL", "OAUTHBEARER", token_file=path)
    provider = client_options(access)["sasl_oauth_token_provider"]
    for token in ("first", "second"):
        path.write_text(token + "\n")
        assert asyncio.run(provider.token()) == token
    for nothing in ("", "x" * 100_000):
        path.write_text(nothing)
        with pytest.raises(ValueError, match="holds no token"):
            asyncio.run(provider.token())


def test_a_file_that_is_no_certificate_is_said_so(authority: Authority, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    other.write_text("nothing of the kind")
    certificate, _ = authority.issue("one")
    _, key = authority.issue("two")
    plain = KafkaAccess("127.0.0.1:1", "SSL")
    for access in (
        replace(plain, tls_ca=other),
        replace(plain, tls_certificate=certificate, tls_key=key),
        replace(plain, tls_certificate=certificate, tls_key=other),
    ):
        with pytest.raises(SetupError, match="PEM"):
            check_door(access)


def test_a_broker_that_does_not_answer_is_waited_for_by_whoever_needs_it(tmp_path: Path) -> None:
    found = kafka_bootstrap(settings(tmp_path, **SCRAM, kafka_bootstrap="127.0.0.1:1"))
    assert str(found) == "127.0.0.1:1"
    assert "open-sesame" not in repr(found)


def test_the_settings_of_the_guide_are_good_ones(tmp_path: Path) -> None:
    (text,) = blocks("ini")
    password, ca = tmp_path / "password", tmp_path / "ca.pem"
    password.write_text("open-sesame\n")
    password.chmod(0o600)
    ca.write_text("")
    text = text.replace("/run/secrets/kafka-password", str(password))
    lines = text.replace("/etc/tollgate/kafka-ca.pem", str(ca)).splitlines()
    given = dict(line.split("=", 1) for line in lines)
    found = load_settings({"home": tmp_path}, given)
    assert found.kafka_sasl_password is not None
    assert found.kafka_sasl_password.get_secret_value() == "open-sesame"
    assert found.replication_factor == 3
