"""Requests, responses and routes: what a protocol's module writes, and what the application serves.

A protocol is a list of `Route`s. The application finds the route, checks the key and the limits,
reads and decompresses the body, and calls the endpoint with a `Request`; what a endpoint raises
(`ProblemError`, `AuthError`) becomes the route's own form of an error. The same table makes
`/openapi.json`.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import unquote_to_bytes

from pydantic import BaseModel

from schemas.limits import EVENT_BYTES_MAX
from streams.gateway.ports import Caller, Scope
from streams.gateway.problems import ProblemError, problem_response
from streams.gateway.replies import Response

if TYPE_CHECKING:
    from streams.gateway.services import Services

__all__ = [
    "Described",
    "Endpoint",
    "Headers",
    "KeyInBody",
    "Parameter",
    "Request",
    "Response",
    "Route",
    "Router",
]

Headers = Mapping[str, str]
"""Names in lower case; of a repeated header the last counts."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request whose route, key and limits have been checked.

    `path` and `params` are percent-decoded, `query` holds the last value of each name, `body` is
    whole and decompressed. `request_id` is the client's `X-Request-Id` or one of our own.
    `wait_seconds` is what the client said by `Prefer: wait=N`, None where it said nothing.
    """

    method: str
    path: str
    params: Mapping[str, str]
    query: Mapping[str, str]
    headers: Headers
    body: bytes
    caller: Caller
    request_id: str
    wait_seconds: float | None = None


Endpoint = Callable[["Services", Request], Awaitable[Response]]


def bearer(headers: Headers) -> str | None:
    """The key in `Authorization: Bearer …`."""
    kind, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() or None if kind.lower() == "bearer" else None


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter or header, for the description (path parameters follow from the path)."""

    name: str
    where: Literal["query", "header"]
    description: str
    required: bool = False
    chars_max: int = 128


@dataclass(frozen=True, slots=True)
class Described:
    """An answer, for the description: a model of its body, None for one without a described
    body."""

    description: str
    model: type[BaseModel] | None = None
    media_type: str = "application/json"
    also: tuple[str, ...] = ()
    """Other media types, of a form that is not described."""


@dataclass(frozen=True, slots=True)
class KeyInBody:
    """How a key is found in the body of a request whose headers carry none.

    Such a body is read before anybody is known, hence within bounds of its own.
    """

    find: Callable[[Headers, bytes], str | None]
    bytes_max: int


@dataclass(frozen=True, slots=True)
class Route:
    """One method on one path.

    `path` holds `{name}` for one segment and `{name*}` for one or more (at the end, or followed by
    fixed segments). `scope` None serves anybody. `accepts` maps media types of the body to the
    models of it; empty for a route without a body. `present` finds the key; `refuse` writes a
    problem in the protocol's own form.
    """

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    endpoint: Endpoint
    scope: Scope | None
    name: str
    """The operation's id, unique over all protocols."""
    summary: str
    group: str = "native"
    """The protocol."""
    accepts: Mapping[str, object] = field(default_factory=dict)
    """Media type to a model or a JSON schema (a dict)."""
    answers: Mapping[int, Described] = field(default_factory=dict)
    problems: Sequence[str] = ()
    """Codes of this route beside those that every route can answer."""
    parameters: Sequence[Parameter] = ()
    body_bytes_max: int = EVENT_BYTES_MAX
    """After decompression."""
    present: Callable[[Headers], str | None] = bearer
    refuse: Callable[[ProblemError], Response] = problem_response
    refuse_to: Callable[[ProblemError, Headers], Response] | None = None
    """Where the form of an error depends on the request: takes the place of `refuse`."""
    key_in_body: KeyInBody | None = None


_PLACE: Final = re.compile(r"\{([a-z_]+)(\*?)\}")


class Router:
    """Finds routes: fixed paths by one look-up, the others by pattern in the order of the table."""

    def __init__(self, routes: Sequence[Route]) -> None:
        """Raises ValueError where two routes share a method and path or a name."""
        self.routes = tuple(routes)
        self._fixed: dict[str, dict[str, Route]] = {}
        self._patterns: list[tuple[re.Pattern[bytes], dict[str, Route]]] = []
        by_path: dict[str, dict[str, Route]] = {}
        names = set()
        for route in routes:
            methods = by_path.setdefault(route.path, {})
            if route.method in methods or route.name in names:
                raise ValueError(f"two routes for {route.method} {route.path} or {route.name}")
            methods[route.method] = route
            names.add(route.name)
        for path, methods in by_path.items():
            if "{" in path:
                self._patterns.append((_pattern(path), methods))
            else:
                self._fixed[path] = methods

    def find(self, raw_path: bytes) -> tuple[Mapping[str, Route], dict[str, str]] | None:
        """The routes of a path by method, and the values of its places, percent-decoded.

        None where there is no such path, or where a value is not UTF-8.
        """
        try:
            methods = self._fixed.get(raw_path.decode("ascii"))
        except UnicodeDecodeError:
            return None
        if methods is not None:
            return methods, {}
        for pattern, methods in self._patterns:
            match = pattern.fullmatch(raw_path)
            if match:
                try:
                    params = {
                        name: unquote_to_bytes(value).decode()
                        for name, value in match.groupdict().items()
                    }
                except UnicodeDecodeError:
                    return None
                return methods, params
        return None


def _pattern(path: str) -> re.Pattern[bytes]:
    parts, last = [], 0
    for place in _PLACE.finditer(path):
        parts.append(re.escape(path[last : place.start()]))
        parts.append(f"(?P<{place[1]}>{'.+' if place[2] else '[^/]+'})")
        last = place.end()
    parts.append(re.escape(path[last:]))
    return re.compile("".join(parts).encode())
