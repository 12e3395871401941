"""How a client gets into a Kafka that asks who it is: TLS, SASL, certificates.

Owns the one function that makes the options of aiokafka's clients of it. Where the values come
from is for the caller: settings in Tollgate's own processes, arguments in a producer's. Needs
aiokafka for OAUTHBEARER alone.
"""

import asyncio
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "GSSAPI", "OAUTHBEARER")

WITH_PASSWORD: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
"""Mechanisms that want a user and a password. A Kerberos ticket (GSSAPI) and a token (OAUTHBEARER)
come from elsewhere."""

TOKEN_BYTES_MAX: Final = 64 * 1024
"""A token is a few kilobytes at most; a larger file is not one."""


@dataclass(frozen=True, slots=True)
class KafkaAccess:
    """Bootstrap servers and how to be let in. Printed, it is the servers alone: addresses are in
    messages, secrets are not.

    `mechanism` counts with SASL, the files with TLS. Without `tls_ca` the authorities of the
    machine are trusted. `tls_certificate` and `tls_key` are the client's own (mutual TLS).
    `token_file` holds a token for OAUTHBEARER and is read anew for every connection.
    """

    servers: str
    protocol: str = "PLAINTEXT"
    mechanism: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    tls_ca: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None

    def __str__(self) -> str:
        """The bootstrap servers."""
        return self.servers

    @property
    def with_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.protocol in ("SSL", "SASL_SSL")

    @property
    def with_sasl(self) -> bool:
        """Whether the client says who it is by SASL."""
        return self.protocol in ("SASL_PLAINTEXT", "SASL_SSL")


Bootstrap = str | KafkaAccess
"""What a client of Kafka is told: servers alone (plain text), or with the way in."""


def client_options(bootstrap: Bootstrap) -> dict[str, Any]:
    """What AIOKafkaConsumer, AIOKafkaProducer and AIOKafkaAdminClient take, servers included.

    Reads the certificates; what changes in their files counts for clients that are made later.
    Raises ValueError, whose text says what to do, where a file cannot be used.
    """
    if isinstance(bootstrap, str):
        return {"bootstrap_servers": bootstrap}
    options: dict[str, Any] = {
        "bootstrap_servers": bootstrap.servers,
        "security_protocol": bootstrap.protocol,
    }
    if bootstrap.with_tls:
        options["ssl_context"] = tls_context(bootstrap)
    if bootstrap.with_sasl:
        options["sasl_mechanism"] = bootstrap.mechanism
        if bootstrap.mechanism in WITH_PASSWORD:
            options["sasl_plain_username"] = bootstrap.username
            options["sasl_plain_password"] = bootstrap.password
        elif bootstrap.mechanism == "OAUTHBEARER":
            options["sasl_oauth_token_provider"] = token_provider(bootstrap)
    return options


def tls_context(access: KafkaAccess) -> ssl.SSLContext:
    """Certificates checked, names too. Raises ValueError where a file cannot be used."""
    try:
        context = ssl.create_default_context(cafile=access.tls_ca)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(
            f"{access.tls_ca} holds no certificates of authorities in PEM: {error}. Name the file "
            "with the certificate of the authority that signed the brokers' certificates."
        ) from error
    if access.tls_certificate is not None:
        try:
            context.load_cert_chain(access.tls_certificate, access.tls_key, password=_no_password)
        except (OSError, ssl.SSLError) as error:
            raise ValueError(
                f"{access.tls_certificate} and {access.tls_key} are not a certificate in PEM and "
                f"the key that belongs to it: {error}. The key must not have a password."
            ) from error
    return context


def _no_password() -> str:
    # Without this OpenSSL would ask at the terminal, where nobody sits.
    raise ssl.SSLError("the key has a password")


def token_provider(access: KafkaAccess) -> Any:
    """Gives aiokafka the token in the file, as it is then: whoever renews it writes the file."""
    from aiokafka.abc import AbstractTokenProvider

    path = access.token_file
    assert path is not None, "OAUTHBEARER comes with a file"

    def read() -> str:
        try:
            with path.open("rb") as file:
                content = file.read(TOKEN_BYTES_MAX + 1)
        except OSError as error:
            raise ValueError(f"{path}: {error.strerror}") from error
        token = content.decode("ascii").strip()
        if not token or len(content) > TOKEN_BYTES_MAX:
            raise ValueError(f"{path} holds no token")
        return token

    class FromFile(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka has no types
        async def token(self) -> str:
            return await asyncio.to_thread(read)

    return FromFile()
