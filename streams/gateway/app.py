"""The ASGI application: from a request to the answer of its route, under limits.

In this order: size of path and headers, what could be read in two ways, route, key, body, endpoint,
answer. Whatever goes wrong on the way becomes the problem of the route's protocol; nothing of a key
or a body reaches a log, and no key of a body the endpoint.
"""

import logging
import re
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl

from schemas import codec
from streams.gateway.ambiguity import check_unambiguous
from streams.gateway.bodies import ClientGoneError, Receive, read_body
from streams.gateway.health import health_routes
from streams.gateway.keys import PREFIX, blank_keys
from streams.gateway.openapi import description
from streams.gateway.ports import AuthError, Caller, Keys
from streams.gateway.problems import ProblemError, problem_response
from streams.gateway.refused import RefusedLog
from streams.gateway.replies import Response
from streams.gateway.routes import Headers, Request, Route, Router
from streams.gateway.services import Services
from streams.metrics import (
    GATEWAY_IN_FLIGHT,
    GATEWAY_PROBLEMS,
    GATEWAY_REQUESTS,
    GATEWAY_SECONDS,
)

log = logging.getLogger(__name__)

PATH_BYTES_MAX: Final = 2_048
"""Path and query, each. The longest path holds an id of 128 bytes, every one percent-encoded."""

HEADERS_MAX: Final = 64
"""Header fields of one request; browsers behind proxies send about thirty."""

HEADER_BYTES_MAX: Final = 16 * 1024
"""All header fields together: what most proxies allow."""

QUERY_FIELDS_MAX: Final = 32
"""Parameters of a query; no route has more than a few."""

REFUSED_FROM: Final = 400
"""Statuses from here on are told to the log."""

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_WAIT: Final = re.compile(r"(?:^|,)\s*wait\s*=\s*([0-9]{1,4})\s*(?:$|[,;])")

KEY_PREFIX: Final = PREFIX.encode()
"""Without it in a body there is no key in it: looked for before anything dearer."""

_NOBODY: Final = Caller("", frozenset())
NO_ROUTE: Final = "none"
"""The route's name in metrics where there is none."""

Scope = MutableMapping[str, Any]
BODY_IS_HERE: Final = "tollgate.body_is_here"
"""In the scope of a request whose body has arrived whole."""

ROUTE_NAME: Final = "tollgate.route"
"""In the scope of a request that was answered: the name of its route."""

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Gateway:
    """An ASGI 3 application over a table of routes.

    `now` is a monotonic clock in seconds; `version` that of the release.
    """

    def __init__(
        self,
        services: Services,
        keys: Keys,
        routes: Iterable[Route],
        now: Callable[[], float],
        version: str,
    ) -> None:
        self._services = services
        self._keys = keys
        self._now = now
        self._version = version
        self._description: bytes | None = None
        self.routes: Sequence[Route] = (*routes, *health_routes(self.describe))
        self._router = Router(self.routes)
        self._refused = RefusedLog()

    def describe(self) -> bytes:
        """`/openapi.json`, made when it is first asked for."""
        if self._description is None:
            self._description = codec.encode(description(self.routes, self._version))
        return self._description

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection of the server: a request, or the server's start and end."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            metrics = self._services.metrics
            metrics.add(GATEWAY_IN_FLIGHT)
            try:
                await self._serve(scope, receive, send)
            finally:
                metrics.add(GATEWAY_IN_FLIGHT, by=-1)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = self._now()
        headers = {
            name.decode("latin-1"): text.decode("latin-1") for name, text in scope["headers"]
        }
        request_id = headers.get("x-request-id", "")
        if not _REQUEST_ID.match(request_id):
            request_id = self._services.new_id()
        route: Route | None = None
        code = ""
        try:
            _check_sizes(scope)
            check_unambiguous(scope, headers)
            route, params = self._find(scope)
            response = await self._answer(route, params, scope, headers, request_id, receive)
        except ClientGoneError:
            return
        except (ProblemError, AuthError) as error:
            code = error.code
            response = self._refusal(route, error, headers)
        except Exception as fault:  # noqa: BLE001 - one request's fault is not the server's
            _log_fault(fault, route, request_id)
            code = "internal"
            problem = ProblemError(code, f"the fault is logged under request {request_id}")
            response = self._refusal(route, problem, headers)
        metrics, name = self._services.metrics, NO_ROUTE if route is None else route.name
        scope[ROUTE_NAME] = name
        metrics.add(GATEWAY_REQUESTS, name, str(response.status))
        now = self._now()
        metrics.observe(GATEWAY_SECONDS, now - started, name)
        if response.status >= REFUSED_FROM:
            self._refused.tell(request_id, name, response.status, code, now - started, now)
        await _send(send, response, request_id)

    def _find(self, scope: Scope) -> tuple[Route, dict[str, str]]:
        found = self._router.find(scope["raw_path"])
        if found is None:
            raise ProblemError("not_found", "there is no such path")
        methods, params = found
        route = methods.get(scope["method"])
        if route is None:
            raise ProblemError(
                "method_not_allowed",
                f"the path takes {', '.join(methods)}",
                headers={"allow": ", ".join(methods)},
            )
        return route, params

    async def _answer(
        self,
        route: Route,
        params: Mapping[str, str],
        scope: Scope,
        headers: Headers,
        request_id: str,
        receive: Receive,
    ) -> Response:
        caller, inside, bytes_max = _NOBODY, None, route.body_bytes_max
        if route.scope is not None:
            presented = route.present(headers)
            if presented is None and route.key_in_body is not None:
                inside, bytes_max = route.key_in_body, route.key_in_body.bytes_max
            else:
                caller = self._keys.check(presented, route.scope, None)
        body = b""
        if route.accepts:
            _check_media_type(route, headers)
            is_here = BODY_IS_HERE in scope
            body = await read_body(receive, headers, bytes_max, is_here=is_here)
        if inside is not None and route.scope is not None:
            caller = self._keys.check(inside.find(headers, body), route.scope, None)
        if KEY_PREFIX in body:
            body = self._without_keys(route, body, request_id)
        query = scope["query_string"]
        request = Request(
            method=scope["method"],
            path=scope["path"],
            params=params,
            query=_query(query) if query else {},
            headers=headers,
            body=body,
            caller=caller,
            request_id=request_id,
            wait_seconds=_wait_seconds(headers),
        )
        return await route.endpoint(self._services, request)

    def _without_keys(self, route: Route, body: bytes, request_id: str) -> bytes:
        """What a client puts into an event stays in the log for good, and a key has no business
        there: its secret is blanked before anything reads the body."""
        blanked, ids = blank_keys(body)
        if ids:
            log.warning(
                "request %s to %s carried the secret of the key %s in its body; it was blanked. "
                "Find who sends it, and rotate the key.",
                request_id,
                route.name,
                ", ".join(ids),
            )
        return blanked

    def _refusal(
        self, route: Route | None, error: ProblemError | AuthError, headers: Headers
    ) -> Response:
        if isinstance(error, AuthError):
            error = ProblemError(
                error.code, error.message, retry_after_seconds=error.retry_after_seconds
            )
        self._services.metrics.add(GATEWAY_PROBLEMS, error.code)
        if route is None:
            return problem_response(error)
        if route.refuse_to is not None:
            return route.refuse_to(error, headers)
        return route.refuse(error)


def _check_sizes(scope: Scope) -> None:
    if len(scope["raw_path"]) > PATH_BYTES_MAX or len(scope["query_string"]) > PATH_BYTES_MAX:
        raise ProblemError("path_too_long", f"path and query may have {PATH_BYTES_MAX} bytes each")
    fields = scope["headers"]
    if (
        len(fields) > HEADERS_MAX
        or sum(len(name) + len(text) for name, text in fields) > HEADER_BYTES_MAX
    ):
        raise ProblemError(
            "headers_too_large",
            f"{HEADERS_MAX} header fields of {HEADER_BYTES_MAX} bytes in all are accepted",
        )


def _check_media_type(route: Route, headers: Headers) -> None:
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type and media_type not in route.accepts:
        raise ProblemError("unsupported_media_type", f"send {' or '.join(route.accepts)}")


def _query(query: bytes) -> dict[str, str]:
    try:
        return dict(
            parse_qsl(
                query.decode("ascii"),
                keep_blank_values=True,
                encoding="utf-8",
                errors="strict",
                max_num_fields=QUERY_FIELDS_MAX,
            )
        )
    except ValueError:
        raise ProblemError("bad_query", "the query cannot be read") from None


def _wait_seconds(headers: Headers) -> float | None:
    """N of `Prefer: wait=N` (RFC 7240)."""
    prefer = headers.get("prefer")
    match = _WAIT.search(prefer) if prefer else None
    return float(match[1]) if match else None


def _log_fault(fault: Exception, route: Route | None, request_id: str) -> None:
    # Without the exception's text: what failed may have been quoted in it.
    frames = traceback.extract_tb(fault.__traceback__)
    log.error(
        "request %s to %s: %s at %s",
        request_id,
        NO_ROUTE if route is None else route.name,
        type(fault).__name__,
        " < ".join(f"{frame.filename}:{frame.lineno}" for frame in reversed(frames[-8:])),
        extra={"request_id": request_id},
    )


async def _send(send: Send, response: Response, request_id: str) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": response.status,
            "headers": [
                (b"content-type", response.media_type),
                (b"content-length", b"%d" % len(response.body)),
                (b"x-request-id", request_id.encode()),
                (b"cache-control", b"no-store"),
                *response.headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": response.body})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return
