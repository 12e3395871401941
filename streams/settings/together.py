"""Faults that no setting has alone: two that want the same port, one that needs another.

Nothing here opens a connection.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from streams.settings.access import access_faults
from streams.settings.fields import Settings, environment_name
from streams.settings.given import DEFAULT, Fault, Origin

_Found = tuple[str, list[str], str, str]
"""The field to blame, the others that it is about, what is wrong, what to do."""


@dataclass(frozen=True, slots=True)
class Together:
    """A fault, and all settings that it is about: where one of them is unknown, it says nothing."""

    about: frozenset[str]
    fault: Fault


def faults_together(settings: Settings, origins: Mapping[str, Origin]) -> list[Together]:
    """What is wrong with the settings as a whole; `origins` says where they were given."""
    every_of_kafka = [field for field in Settings.model_fields if field.startswith("kafka_")]
    found = [*_clashing_ports(settings), *_lacking(settings)]
    found += [
        (field, every_of_kafka, wrong, todo) for field, wrong, todo in access_faults(settings)
    ]
    return [
        Together(
            frozenset((field, *others)),
            Fault(environment_name(field), str(origins.get(field, DEFAULT)), wrong, todo),
        )
        for field, others, wrong, todo in found
    ]


def remarks(settings: Settings, origins: Mapping[str, Origin]) -> list[Fault]:
    """What may be meant so, and yet lets others read what crosses the network."""
    found: list[tuple[str, str, str]] = []
    listen, url = settings.gateway_listen, urlsplit(settings.clickhouse_url or "")
    if listen and settings.gateway_tls_certificate is None and not is_loopback(listen):
        found.append(
            (
                "gateway_listen",
                f"API keys and amounts come to {listen} in plain HTTP",
                "set TOLLGATE_GATEWAY_TLS_CERTIFICATE, or put a proxy before it that speaks TLS",
            )
        )
    if url.scheme == "http" and not is_loopback(f"{url.hostname}:0"):
        found.append(
            (
                "clickhouse_url",
                f"password and rows go to {url.hostname} in plain HTTP",
                "give an https:// address, or keep the network between them to yourself",
            )
        )
    if settings.kafka_security_protocol == "sasl_plaintext":
        found.append(
            (
                "kafka_security_protocol",
                "records go to Kafka in plain text, and with PLAIN the password does",
                "set it to sasl_ssl",
            )
        )
    return [
        Fault(environment_name(field), str(origins.get(field, DEFAULT)), wrong, todo)
        for field, wrong, todo in found
    ]


def is_loopback(listen: str) -> bool:
    """Whether host:port is one that only this machine reaches; a name is one only as localhost."""
    host = listen.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


def _lacking(settings: Settings) -> Iterator[_Found]:
    """Settings that mean nothing, or no good, without another."""
    certificate, key = settings.gateway_tls_certificate, settings.gateway_tls_key
    if certificate is not None and key is None:
        yield (
            "gateway_tls_certificate",
            ["gateway_tls_key"],
            "there is no private key to it",
            "set TOLLGATE_GATEWAY_TLS_KEY; where one file holds both, name it in both",
        )
    if key is not None and certificate is None:
        yield (
            "gateway_tls_key",
            ["gateway_tls_certificate"],
            "there is no certificate to it, so the gateway would speak plain HTTP",
            "set TOLLGATE_GATEWAY_TLS_CERTIFICATE, or take the key out",
        )
    if settings.hop_secret is None and not is_loopback(settings.hop_listen):
        yield (
            "hop_listen",
            ["hop_secret"],
            f"{settings.hop_listen} is open to other machines, where anybody could spend",
            "set TOLLGATE_HOP_SECRET_FILE, the same for all workers and gateways",
        )
    url = settings.clickhouse_url or ""
    if settings.clickhouse_tls_ca is not None and not url.startswith("https://"):
        yield (
            "clickhouse_tls_ca",
            ["clickhouse_url"],
            "TOLLGATE_CLICKHOUSE_URL does not begin with https://, so nothing would be encrypted",
            "give the https:// address, or take the file out",
        )
    if settings.embedded_kafka and settings.replication_factor > 1:
        yield (
            "replication_factor",
            ["kafka_bootstrap"],
            "the embedded Kafka is one broker and keeps one copy",
            "set TOLLGATE_KAFKA_BOOTSTRAP to a cluster, or the factor to 1",
        )


def _port(listen: str) -> int:
    return int(listen.rpartition(":")[2])


def _clashing_ports(settings: Settings) -> Iterator[_Found]:
    """Two settings that want the same port of this machine."""
    wanted: list[tuple[str, int]] = []
    if settings.embedded_kafka:
        wanted += [("kafka_port", settings.kafka_port)]
        wanted += [("kafka_controller_port", settings.kafka_controller_port)]
    if settings.embedded_clickhouse:
        wanted += [("clickhouse_http_port", settings.clickhouse_http_port)]
        wanted += [("clickhouse_tcp_port", settings.clickhouse_tcp_port)]
    if settings.metrics_listen is not None:
        wanted += [("metrics_listen", _port(settings.metrics_listen))]
    if settings.gateway_listen is not None:
        wanted += [("gateway_listen", _port(settings.gateway_listen))]
    wanted += [("hop_listen", _port(settings.hop_listen))]
    owners: dict[int, str] = {}
    for field, port in wanted:
        if port and port in owners:
            yield (
                field,
                [owners[port], "kafka_bootstrap", "clickhouse_url"],
                f"port {port} is already taken by {environment_name(owners[port])}",
                "give one of the two another port",
            )
        owners.setdefault(port, field)
