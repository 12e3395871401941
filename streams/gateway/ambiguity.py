"""Requests that two readers could understand in two ways, refused before anything else is decided.

A proxy before the gateway looks at a request too: to check a key, to take a header away, to see
where a request ends. Where the two of them could read it differently, a client can have something
done that the proxy did not let through (request smuggling, RFC 9112 11.2). The parser refuses what
is no HTTP; this module refuses what is HTTP, and is understood in two ways.
"""

from collections.abc import Mapping, MutableMapping
from typing import Any, Final

from streams.gateway.problems import ProblemError

ONCE: Final = frozenset(
    {
        "authorization",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "idempotency-key",
        "internal-api-key",
        "internal_api_key",
        "transfer-encoding",
        "x-internal-api-key",
        "x-request-id",
    }
)
"""Header fields that say who asks, what is sent, where it ends or which request it is. One reader
takes the first of two, another the last."""

VERSIONS: Final = frozenset({"1.0", "1.1"})
"""What the parser takes besides (0.9, a request without headers; 2.0) is not spoken here."""


def check_unambiguous(scope: MutableMapping[str, Any], headers: Mapping[str, str]) -> None:
    """Raises ProblemError (ambiguous); the connection is closed then, because where the next
    request on it begins is not certain."""
    fields = scope["headers"]
    if len(headers) != len(fields):
        names = [name.decode("latin-1") for name, _ in fields]
        for name in sorted(ONCE & headers.keys()):
            if names.count(name) > 1:
                raise _ambiguous(f"{name} stands there twice")
    version = scope.get("http_version")
    if version == "1.1" and "host" not in headers:
        raise _ambiguous("HTTP/1.1 asks for a host")
    if version is not None and version not in VERSIONS:
        raise _ambiguous(f"HTTP/{version} is not spoken here")
    coding = headers.get("transfer-encoding")
    if coding is not None and (coding.strip().lower() != "chunked" or version == "1.0"):
        raise _ambiguous("transfer-encoding may be chunked, with HTTP/1.1")
    connection = headers.get("connection", "")
    if "upgrade" in headers and "upgrade" in connection.lower() and has_body(headers):
        raise _ambiguous(
            "a body and an offer to change to another protocol: which of the two the body belongs "
            "to is not certain; send HTTP/1.1 without `Upgrade`"
        )


def has_body(headers: Mapping[str, str]) -> bool:
    """Whether a request announces content."""
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def _ambiguous(detail: str) -> ProblemError:
    return ProblemError("ambiguous", detail, headers={"connection": "close"})
