"""TLS as all our connections use it: whom a client believes, what a failed handshake means, and a
server's certificate that may be exchanged while it is served.

Knows no server and no setting by itself; who calls says which settings its user would change.
"""

import contextlib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from streams.errors import SetupError

OLDEST: Final = ssl.TLSVersion.TLSv1_2
"""The oldest version that is spoken, on either side: RFC 8996 has withdrawn what was before."""

# X509_V_ERR_… of OpenSSL's x509_vfy.h, as `SSLCertVerificationError.verify_code` gives them.
NOT_YET_VALID: Final = 9
EXPIRED: Final = 10
OTHER_NAME: Final = frozenset({62, 63, 64})
UNKNOWN_SIGNER: Final = frozenset({2, 18, 19, 20, 21})


@dataclass(frozen=True, slots=True)
class Blame:
    """What a failed handshake was about, and what an operator does."""

    wrong: str
    todo: str


def client_context(ca: Path | None, setting: str) -> ssl.SSLContext:
    """A context that believes the authorities of a PEM file, or those that the system trusts.

    Raises SetupError where the file cannot be used; `setting` names it.
    """
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    except OSError as error:
        missing = isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError)
        reason = str(error.strerror) if missing else "it holds no certificate in PEM"
        raise SetupError(
            f"{setting}: the file {ca} cannot be used ({reason})",
            action=f"Give {setting} a readable PEM file with the certificate of the authority that "
            "signed the server's.",
        ) from error
    context.minimum_version = OLDEST
    return context


def blame(error: BaseException, *, url_setting: str, ca_setting: str) -> Blame | None:
    """What a client's error says of TLS; None where it was about something else.

    Looks through what libraries wrap around the error of `ssl`.
    """
    for inner in _within(error):
        if isinstance(inner, ssl.SSLCertVerificationError):
            return _of_certificate(inner, url_setting, ca_setting)
        if isinstance(inner, ssl.SSLError):
            reason = inner.reason or str(inner)
            if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"):
                return Blame(
                    "what listens there speaks no TLS",
                    f"Give {url_setting} the port of TLS, or an http:// address on a network that "
                    "nobody else can read.",
                )
            return Blame(
                f"no TLS connection: {reason}",
                "Look into the server's log; both sides need TLS 1.2 or newer.",
            )
    return None


class ServedCertificate:
    """A server's certificate and its key, read from files and read again when they change.

    `context` is for the listening socket and stays the same: each new connection is given the
    newest pair that was good. A pair counts only as a whole, after a handshake with itself, so
    files that are half exchanged change nothing.
    """

    def __init__(self, certificate: Path, key: Path | None) -> None:
        """Read both. Raises SetupError where they cannot be used now."""
        self._files = tuple(path for path in (certificate, key) if path is not None)
        self._certificate = certificate
        self._key = key
        self._seen = self._state()
        self._newest, self._facts = self._load()
        self.context = _server_context()
        self.context.load_cert_chain(certificate, key, password="")
        # Called for every handshake, also of clients that name no host.
        self.context.sni_callback = self._give_newest

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts and addresses that the certificate is good for."""
        names: Any = self._facts.get("subjectAltName", ())
        return tuple(str(value) for _kind, value in names)

    @property
    def until(self) -> str:
        """When the certificate expires, as it says itself."""
        return str(self._facts.get("notAfter", "an unknown time"))

    @property
    def until_seconds(self) -> int:
        """The same in Unix time."""
        return ssl.cert_time_to_seconds(self.until)

    def look(self) -> bool:
        """Read the files again if they have changed; True where a new pair is served from now on.

        Raises SetupError where the new files cannot be used; the pair before goes on to be served,
        and these files are not tried again until they change.
        """
        state = self._state()
        if state == self._seen:
            return False
        self._seen = state
        self._newest, self._facts = self._load()
        return True

    def _give_newest(
        self, connection: ssl.SSLObject, _host: str | None, _context: ssl.SSLContext
    ) -> None:
        connection.context = self._newest

    def _state(self) -> tuple[object, ...]:
        """What changes when a file is written, renamed over, or reached by another link."""
        found: list[object] = []
        for path in self._files:
            try:
                told = path.stat()
            except OSError as error:
                found.append(error.errno)
            else:
                found.append((told.st_dev, told.st_ino, told.st_size, told.st_mtime_ns))
        return tuple(found)

    def _load(self) -> tuple[ssl.SSLContext, dict[str, Any]]:
        context = _server_context()
        try:
            # A password would be asked for on the terminal, and a server has none.
            context.load_cert_chain(self._certificate, self._key, password="")
            return context, _handshake(context, self._certificate)
        except ssl.SSLCertVerificationError as error:
            wrong, todo = error.verify_message, "Give one that clients can accept."
            if error.verify_code in (EXPIRED, NOT_YET_VALID):
                wrong, todo = f"not valid now: {wrong}", "Renew it, or set this machine's clock."
        except ssl.SSLError as error:
            wrong = error.reason or str(error)
            todo = "Give a PEM certificate with its chain and a key without a password."
            if error.reason == "KEY_VALUES_MISMATCH":
                wrong = "the key belongs to another certificate"
                todo = "Give the certificate and the key that were made for each other."
        except OSError as error:
            wrong = str(error.strerror)
            todo = "Give files that this user may read."
        where = " and ".join(map(str, self._files))
        raise SetupError(f"the certificate {where} cannot be used: {wrong}", action=todo)


def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = OLDEST
    return context


def _handshake(server: ssl.SSLContext, certificate: Path) -> dict[str, Any]:
    """Shake hands with oneself, in memory, and return what the certificate says. Raises SSLError
    for what a client could not accept: here all but who has signed it and for which host."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.load_verify_locations(certificate)
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server)
    serving = server.wrap_bio(to_server, to_client, server_side=True)
    waiting = [asking, serving]
    while waiting:
        for side in list(waiting):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
                waiting.remove(side)
    return dict(asking.getpeercert() or {})


def _of_certificate(
    error: ssl.SSLCertVerificationError, url_setting: str, ca_setting: str
) -> Blame:
    code = error.verify_code
    if code in OTHER_NAME:
        return Blame(
            f"the server's certificate is for another host: {error.verify_message}",
            f"Give {url_setting} a host name that is in the certificate, or the server a "
            "certificate with this name.",
        )
    if code in (EXPIRED, NOT_YET_VALID):
        return Blame(
            f"the server's certificate is not valid now: {error.verify_message}",
            "Give the server a certificate that is valid, or set this machine's clock.",
        )
    if code in UNKNOWN_SIGNER:
        return Blame(
            f"nobody trusted has signed the server's certificate: {error.verify_message}",
            f"Set {ca_setting} to the PEM file of the authority that signed it.",
        )
    return Blame(
        f"the server's certificate is refused: {error.verify_message}",
        "Give the server another certificate.",
    )


def _within(error: BaseException) -> Iterator[BaseException]:
    """The error and all that it was made of: causes, contexts, reasons and arguments, each once."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop(0)
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
