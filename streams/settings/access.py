"""Whether the settings that say how to get into Kafka go together, and what they amount to."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from schemas.client.kafka_access import WITH_PASSWORD, KafkaAccess
from streams.settings.fields import Settings, environment_name

_PROTOCOL: Final = environment_name("kafka_security_protocol")


def kafka_access(settings: Settings, servers: str) -> KafkaAccess:
    """The way into the Kafka at these bootstrap servers, for every client of it."""
    password = settings.kafka_sasl_password
    return KafkaAccess(
        servers,
        protocol=settings.kafka_security_protocol.upper(),
        mechanism=settings.kafka_sasl_mechanism,
        username=settings.kafka_sasl_username,
        password=password.get_secret_value() if password else None,
        token_file=settings.kafka_sasl_token_file,
        tls_ca=settings.kafka_tls_ca,
        tls_certificate=settings.kafka_tls_certificate,
        tls_key=settings.kafka_tls_key,
    )


def access_faults(settings: Settings) -> list[tuple[str, str, str]]:
    """Every fault of these settings: the field, what is wrong, what to do."""
    access = kafka_access(settings, "")
    if settings.embedded_kafka and access.protocol != "PLAINTEXT":
        meant = "set TOLLGATE_KAFKA_BOOTSTRAP to the Kafka that is meant"
        wrong = "the embedded Kafka speaks plain text on loopback"
        return [("kafka_security_protocol", wrong, meant)]
    found = [*_sasl_faults(settings, access), *_tls_faults(access)]
    return [("kafka_" + field, wrong, todo) for field, wrong, todo in found]


def _sasl_faults(settings: Settings, access: KafkaAccess) -> Iterator[tuple[str, str, str]]:
    given = {
        field
        for field in ("mechanism", "username", "password", "token_file")
        if getattr(access, field) is not None
    }
    if not access.with_sasl:
        for field in sorted(given):
            yield (
                f"sasl_{field}",
                "counts for nothing without SASL",
                f"set {_PROTOCOL} to sasl_ssl, or leave it out",
            )
        return
    if access.mechanism is None:
        yield (
            "sasl_mechanism",
            f"needed with {settings.kafka_security_protocol}",
            "SCRAM-SHA-512 is a good choice where the brokers offer it",
        )
        return
    wanted = {"mechanism"}
    if access.mechanism in WITH_PASSWORD:
        wanted |= {"username", "password"}
    if access.mechanism == "OAUTHBEARER":
        wanted |= {"token_file"}
    for field in sorted(wanted - given):
        yield f"sasl_{field}", f"needed with {access.mechanism}", "set it"
    for field in sorted(given - wanted):
        yield f"sasl_{field}", f"not used with {access.mechanism}", "leave it out"


def _tls_faults(access: KafkaAccess) -> Iterator[tuple[str, str, str]]:
    files: dict[str, Path | None] = {
        "tls_ca": access.tls_ca,
        "tls_certificate": access.tls_certificate,
        "tls_key": access.tls_key,
    }
    given = {field: path for field, path in files.items() if path is not None}
    if not access.with_tls:
        for field in given:
            yield (
                field,
                "counts for nothing without TLS",
                f"set {_PROTOCOL} to ssl or sasl_ssl, or leave it out",
            )
        return
    if (access.tls_certificate is None) != (access.tls_key is None):
        lacking = "tls_key" if access.tls_key is None else "tls_certificate"
        yield lacking, "certificate and key belong together", "give both or neither"
    if access.mechanism == "OAUTHBEARER" and access.token_file is not None:
        given["sasl_token_file"] = access.token_file
    for field, path in given.items():
        if not path.is_file():
            yield field, f"there is no file {path}", "give the path of one that is there"
