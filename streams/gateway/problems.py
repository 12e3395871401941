"""Problem documents (RFC 9457): one table of codes, and the exception that carries one.

A client acts on `code`, never on the text: `retry` in the table says whether the same request,
with the same ids, is worth sending again.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

from streams.gateway.replies import Response, json_response

PROBLEM_JSON: Final = b"application/problem+json"
TYPE_PREFIX: Final = "urn:tollgate:problem:"
"""Begins the `type` of every problem; docs/http.md lists the codes that follow it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a code means. `retry_after_seconds` 0 means: not again as it is."""

    status: int
    title: str
    retry_after_seconds: int = 0


CODES: Final[dict[str, Kind]] = {
    # What is wrong with the request itself.
    "malformed": Kind(400, "The body is not JSON of the kind that is expected here"),
    "unknown_field": Kind(422, "A field that does not exist"),
    "invalid_field": Kind(422, "A field with a missing or impossible value"),
    "unknown_version": Kind(422, "A schema version that this release does not know"),
    "empty": Kind(400, "There is no body"),
    "oversized": Kind(413, "The body, or one record in it, is too large"),
    "too_many_items": Kind(413, "More items than one request may have"),
    "too_deep": Kind(400, "JSON nested deeper than anything that is accepted"),
    "bad_encoding": Kind(400, "The body does not decompress"),
    "unsupported_encoding": Kind(415, "A content encoding other than gzip, deflate and zstd"),
    "unsupported_media_type": Kind(415, "A content type that this path does not take"),
    "ambiguous": Kind(400, "A request that two readers could understand in two ways"),
    "headers_too_large": Kind(431, "More or longer header fields than are accepted"),
    "path_too_long": Kind(414, "The path or query is too long"),
    "bad_query": Kind(400, "A query parameter that does not exist or cannot be read"),
    "body_timeout": Kind(408, "The body did not arrive in time", 1),
    "not_found": Kind(404, "There is no such thing"),
    "method_not_allowed": Kind(405, "The path does not take this method"),
    # Who asks.
    "unauthorized": Kind(401, "There is no key, or it is not one of ours"),
    "key_revoked": Kind(401, "The key was revoked"),
    "key_expired": Kind(401, "The key has expired"),
    "scope_missing": Kind(403, "The key does not allow this"),
    "customer_not_allowed": Kind(403, "The key is bound to other customers"),
    "rate_limited": Kind(429, "More requests than the key may send", 1),
    # What contradicts what is there.
    "conflict": Kind(409, "The same id was used before with other content"),
    "too_many_holds": Kind(409, "The account has as many open holds as it may"),
    "task_ceiling_required": Kind(422, "The first call of a task has to name its ceiling"),
    "task_unit_mismatch": Kind(422, "The task is counted in another denomination"),
    "refused": Kind(422, "Refused; `code_of_refusal` or `items` say why"),
    # Nobody can decide now. The same request again, with the same ids, is safe.
    "not_mine": Kind(503, "The partition is moving to another owner", 1),
    "not_ready": Kind(503, "The new owner is not ready yet", 1),
    "lagging": Kind(503, "The owner is too far behind to decide", 2),
    "unknown_outcome": Kind(503, "Whether it was decided is not known", 1),
    "overloaded": Kind(503, "More requests than can be served", 1),
    "log_unavailable": Kind(503, "The log does not take records", 2),
    "unavailable": Kind(503, "The gateway is not ready", 2),
    "internal": Kind(500, "A fault of the gateway's own"),
}
"""Every code that a problem document can carry."""


class ProblemError(Exception):
    """A request that gets no answer of its own kind. `code` is one of CODES."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        field: str = "",
        retry_after_seconds: float = 0.0,
        extra: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.field = field
        self.kind = CODES[code]
        self.retry_after_seconds = max(
            math.ceil(retry_after_seconds), self.kind.retry_after_seconds
        )
        self.extra = extra or {}
        self.headers = headers or {}

    @property
    def status(self) -> int:
        """Of the HTTP answer."""
        return self.kind.status


def problem_document(problem: ProblemError) -> dict[str, Any]:
    """The members of the document."""
    document: dict[str, Any] = {
        "type": TYPE_PREFIX + problem.code,
        "title": problem.kind.title,
        "status": problem.status,
        "code": problem.code,
        "detail": problem.detail,
    }
    if problem.field:
        document["field"] = problem.field
    return document | problem.extra


def problem_headers(problem: ProblemError) -> dict[str, str]:
    """`Retry-After` where another try makes sense, `WWW-Authenticate` where a key is missing."""
    headers = dict(problem.headers)
    if problem.retry_after_seconds:
        headers["retry-after"] = str(problem.retry_after_seconds)
    if problem.status == 401:
        headers["www-authenticate"] = "Bearer"
    return headers


def problem_response(problem: ProblemError) -> Response:
    """The problem as `application/problem+json`."""
    return json_response(
        problem.status, problem_document(problem), problem_headers(problem), PROBLEM_JSON
    )
