"""Whether Kafka lets this process in, said clearly, and what Faust is told about it.

aiokafka's clients say "unable to bootstrap" whatever the reason was; here one connection is made
before any of them, and a refusal for good becomes a SetupError with what to do. A broker that does
not answer is none: clients wait for it under their own deadlines.
"""

import asyncio
import importlib.util
import ssl
import threading
from functools import lru_cache
from typing import Any, Final

from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import (
    AuthenticationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest
from faust.auth import (
    Credentials,
    GSSAPICredentials,
    OAuthCredentials,
    SASLCredentials,
    SSLCredentials,
)

from schemas.client.kafka_access import Bootstrap, KafkaAccess, client_options
from streams.errors import SetupError

DOOR_SECONDS: Final = 10.0
"""For one connection with its handshakes; SCRAM takes some 20 ms, a far Kerberos a second."""

CLOSE_SECONDS: Final = 1.0
"""How long the other end may take to say goodbye; then the connection is left behind."""

KNOCKS: Final = 3
"""A server that hangs up at once may be one that stops or starts; one that does so every time does
not speak what we speak."""

KNOCK_PAUSE_SECONDS: Final = 1.0
"""Between them."""

REFUSALS: Final = (
    AuthenticationFailedError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
    IllegalSaslStateError,
)


@lru_cache(maxsize=8)
def check_door(access: KafkaAccess) -> None:
    """Connects once to the first server that answers. Raises SetupError where it refuses.

    May be called inside a running loop, which waits for it; a process does so once at its start.
    """
    found: list[BaseException] = []

    def knock() -> None:
        try:
            asyncio.run(_knock(access))
        except BaseException as error:  # noqa: BLE001  # handed to the caller's thread
            found.append(error)

    thread = threading.Thread(target=knock, name="kafka-door")
    thread.start()
    thread.join()
    if found:
        raise found[0]


async def _knock(access: KafkaAccess) -> None:
    try:
        options = client_options(access)
    except ValueError as error:
        raise SetupError(
            str(error), action="Correct the file or the TOLLGATE_KAFKA_TLS_ settings."
        ) from error
    if access.mechanism == "GSSAPI":
        _need_gssapi()
    servers = options.pop("bootstrap_servers").split(",")
    outcomes: list[SetupError | str | None] = []
    for attempt in range(KNOCKS):
        outcomes = []
        for server in servers:
            outcomes.append(await _outcome(server, access, options))
            if outcomes[-1] is None:
                return
        if not all(isinstance(outcome, SetupError) for outcome in outcomes):
            return  # one may be starting: its clients wait for it
        if attempt < KNOCKS - 1:
            await asyncio.sleep(KNOCK_PAUSE_SECONDS)
    raise next(outcome for outcome in outcomes if isinstance(outcome, SetupError))


async def _outcome(
    server: str, access: KafkaAccess, options: dict[str, Any]
) -> SetupError | str | None:
    """None where the server lets us in, why it refuses, or that it does not answer.

    Raises SetupError where asking again would not help.
    """
    host, _, port = server.rpartition(":")
    try:
        async with asyncio.timeout(DOOR_SECONDS):
            await _enter(AIOKafkaConnection(host.strip("[]"), int(port), **options))
    except ssl.SSLCertVerificationError as error:
        raise _untrusted(server, access, error) from error
    except ssl.SSLError as error:
        return _broken_off(server, access, str(error.reason or error))
    except ValueError as error:
        raise SetupError(
            f"Kafka's token cannot be read: {error}",
            action="Let TOLLGATE_KAFKA_SASL_TOKEN_FILE name a file that holds one.",
        ) from error
    except REFUSALS as error:
        raise _sasl_refusal(server, access, error) from error
    except KafkaConnectionError as error:
        return _broken_off(server, access, f"it hangs up ({error})")
    except (KafkaError, OSError) as error:
        return f"no answer: {error}"
    return None


async def _enter(connection: Any) -> None:
    """Connects and asks a question: a listener that wants SASL answers only whom it knows."""
    try:
        await connection.connect()
        await connection.send(MetadataRequest([]))
    finally:
        closed = connection.close()
        if connection._protocol is not None:
            await asyncio.wait([closed], timeout=CLOSE_SECONDS)


def _need_gssapi() -> None:
    if importlib.util.find_spec("gssapi") is None:
        raise SetupError(
            "GSSAPI needs the Python package gssapi, which is not installed",
            action="Install it (`pip install gssapi`, with Kerberos' libraries) and get a ticket "
            "with `kinit` before Tollgate starts.",
        )


def _untrusted(server: str, access: KafkaAccess, error: ssl.SSLCertVerificationError) -> SetupError:
    trusted = access.tls_ca or "the authorities of this machine"
    return SetupError(
        f"the certificate of Kafka at {server} is not trusted: {error.verify_message}",
        action=f"Trusted are {trusted}. Let TOLLGATE_KAFKA_TLS_CA name the file of the authority "
        "that signed the brokers' certificates, and TOLLGATE_KAFKA_BOOTSTRAP the hosts by the "
        "names in them.",
    )


def _broken_off(server: str, access: KafkaAccess, why: str) -> SetupError:
    return SetupError(
        f"Kafka at {server} does not talk {access.protocol} with this client: {why}",
        action="Check what this listener speaks (TOLLGATE_KAFKA_SECURITY_PROTOCOL) and, where it "
        "wants a certificate of the client, TOLLGATE_KAFKA_TLS_CERTIFICATE and _KEY.",
    )


def _sasl_refusal(server: str, access: KafkaAccess, error: KafkaError) -> SetupError:
    who = f"user {access.username!r}" if access.username else "this client"
    if isinstance(error, UnsupportedSaslMechanismError):
        return SetupError(
            f"Kafka at {server} does not offer {access.mechanism}",
            action="Set TOLLGATE_KAFKA_SASL_MECHANISM to one of the listener's "
            "sasl.enabled.mechanisms.",
        )
    return SetupError(
        f"Kafka at {server} does not let {who} in ({access.mechanism})",
        action="Check TOLLGATE_KAFKA_SASL_USERNAME and TOLLGATE_KAFKA_SASL_PASSWORD; a SCRAM user "
        "is made with kafka-configs.sh, for exactly this mechanism (docs/kafka-security.md).",
    )


def faust_credentials(bootstrap: Bootstrap) -> Credentials | None:
    """What Faust's `broker_credentials` takes; None is plain text."""
    if isinstance(bootstrap, str):
        return None
    options: dict[str, Any] = client_options(bootstrap)
    context = options.get("ssl_context")
    if not bootstrap.with_sasl:
        return SSLCredentials(context) if context is not None else None
    if bootstrap.mechanism == "OAUTHBEARER":
        return OAuthCredentials(oauth_cb=options["sasl_oauth_token_provider"], ssl_context=context)
    if bootstrap.mechanism == "GSSAPI":
        return GSSAPICredentials(ssl_context=context)
    return SASLCredentials(
        username=bootstrap.username,
        password=bootstrap.password,
        mechanism=bootstrap.mechanism,
        ssl_context=context,
    )
