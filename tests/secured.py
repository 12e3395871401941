"""A broker that asks who its clients are: TLS, SCRAM, PLAIN, client certificates, ACLs.

The embedded broker of the product with other listeners. Nobody may do anything that no ACL allows,
but `broker` and `administrator`, which are super users.
"""

import contextlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from schemas.client.kafka_access import KafkaAccess, tls_context
from streams.embedded.jars import default_cache_dir
from streams.embedded.kafka import KafkaOptions, broker_answers, prepare_kafka
from streams.embedded.ports import LOOPBACK, pick_free_ports
from streams.embedded.supervisor import Supervisor
from tests.authority import LOOPBACK_HOSTS, Authority

ADMINISTRATOR: Final = "administrator"
PLAIN_USER: Final = "plain"
SCRAM: Final = ("SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass(slots=True)
class SecuredBroker:
    """Where it listens, and everybody's password. `authority` signs what clients may show."""

    port: int
    certificates_port: int
    authority: Authority
    passwords: dict[str, str] = field(repr=False)

    def access(self, user: str, mechanism: str = "SCRAM-SHA-512") -> KafkaAccess:
        """The way in of a user over SASL_SSL."""
        return KafkaAccess(
            f"localhost:{self.port}",
            protocol="SASL_SSL",
            mechanism=mechanism,
            username=user,
            password=self.passwords[user],
            tls_ca=self.authority.certificate,
        )

    def access_by_certificate(self, name: str) -> KafkaAccess:
        """The way in of whom a certificate of this common name is issued to."""
        certificate, key = self.authority.issue(name)
        return KafkaAccess(
            f"localhost:{self.certificates_port}",
            protocol="SSL",
            tls_ca=self.authority.certificate,
            tls_certificate=certificate,
            tls_key=key,
        )


@contextlib.contextmanager
def secured_broker(folder: Path, users: Sequence[str]) -> Iterator[SecuredBroker]:
    """Starts it with these SCRAM users, the administrator and one of PLAIN; stops it afterwards."""
    authority = Authority(folder)
    port, certificates_port, controller_port = pick_free_ports(3)
    passwords = {user: secrets.token_urlsafe(16) for user in (*users, ADMINISTRATOR, PLAIN_USER)}
    broker = SecuredBroker(port, certificates_port, authority, passwords)
    home = folder / "kafka"
    for part in (home, folder / "logs", folder / "run"):
        part.mkdir()
    certificate, key = authority.issue("broker", *LOOPBACK_HOSTS)
    (home / "broker.pem").write_text(key.read_text("ascii") + certificate.read_text("ascii"))
    (home / "authority.pem").write_text(authority.certificate.read_text("ascii"))
    context = tls_context(broker.access_by_certificate("probe"))
    options = KafkaOptions(
        home,
        port,
        controller_port,
        default_cache_dir(),
        instead=properties(broker, controller_port),
        format_words=tuple(_format_words(users, passwords)),
        ready=lambda: broker_answers("localhost", certificates_port, context),
    )
    supervisor = Supervisor(folder / "logs", folder / "run")
    try:
        supervisor.start(prepare_kafka(options, restart_limit=0))
        yield broker
    finally:
        supervisor.stop()


def properties(broker: SecuredBroker, controller_port: int) -> dict[str, str]:
    """What differs from the broker that trusts everybody on loopback."""
    listeners = {
        "SASL_SSL": f"localhost:{broker.port}",
        "CERTIFICATES": f"localhost:{broker.certificates_port}",
    }
    shown = ",".join(f"{name}://{place}" for name, place in listeners.items())
    login = "org.apache.kafka.common.security"
    return {
        "listeners": f"{shown},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": shown,
        "listener.security.protocol.map": "SASL_SSL:SASL_SSL,CERTIFICATES:SSL,CONTROLLER:SSL",
        "inter.broker.listener.name": "CERTIFICATES",
        "listener.name.certificates.ssl.client.auth": "required",
        "listener.name.controller.ssl.client.auth": "required",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": "broker.pem",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": "authority.pem",
        "ssl.principal.mapping.rules": r"RULE:^CN=([^,]+).*$/$1/",
        "sasl.enabled.mechanisms": ",".join((*SCRAM, "PLAIN")),
        "listener.name.sasl_ssl.plain.sasl.jaas.config": f"{login}.plain.PlainLoginModule required "
        f'user_{PLAIN_USER}="{broker.passwords[PLAIN_USER]}";',
        **{
            f"listener.name.sasl_ssl.{mechanism.lower()}.sasl.jaas.config": (
                f"{login}.scram.ScramLoginModule required;"
            )
            for mechanism in SCRAM
        },
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:broker;User:{ADMINISTRATOR}",
        "allow.everyone.if.no.acl.found": "false",
    }


def _format_words(users: Sequence[str], passwords: dict[str, str]) -> Iterator[str]:
    for user in (*users, ADMINISTRATOR):
        for mechanism in SCRAM if user == ADMINISTRATOR else SCRAM[1:]:
            yield from ("--add-scram", f"{mechanism}=[name={user},password={passwords[user]}]")
