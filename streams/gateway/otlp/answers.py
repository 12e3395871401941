"""What an exporter is answered, in the form in which it asked: the response of the trace service,
or the `google.rpc.Status` of a refusal.

Exporters send 429, 502, 503 and 504 again, with the spans as they were, and drop what gets any
other error. An answer of 200 is the end for all spans, those refused included.
"""

from typing import Final

from streams.gateway.otlp import json_form, protobuf
from streams.gateway.otlp.limits import REASON_CHARS_MAX, REASONS_MAX
from streams.gateway.otlp.reading import Taken
from streams.gateway.problems import ProblemError, problem_headers
from streams.gateway.replies import Response, json_response
from streams.gateway.routes import Headers

_STATUS_CODES: Final = {
    400: 3,  # INVALID_ARGUMENT
    401: 16,  # UNAUTHENTICATED
    403: 7,  # PERMISSION_DENIED
    404: 5,  # NOT_FOUND
    408: 4,  # DEADLINE_EXCEEDED
    413: 3,
    415: 3,
    422: 3,
    429: 8,  # RESOURCE_EXHAUSTED
    500: 13,  # INTERNAL
    503: 14,  # UNAVAILABLE
}
_UNKNOWN: Final = 2


def is_json(headers: Headers, body: bytes = b"") -> bool:
    """Whether a request is in JSON: what its header says, else what it begins with."""
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type:
        return media_type == json_form.MEDIA_TYPE
    # A message in protobuf begins with the byte of a line feed.
    return body[:1] in (b"{", b"[", b" ")


def success(taken: Taken, *, as_json: bool) -> Response:
    """The answer to a request whose spans are in the log, but for those that were refused."""
    rejected, message = len(taken.refused), _message(taken)
    if not as_json:
        content = protobuf.success(rejected, message)
        return Response(200, content, protobuf.MEDIA_TYPE.encode())
    if not message:
        return json_response(200, {})
    # A number of 64 bits is a text in the JSON of protobuf.
    partial = {"rejectedSpans": str(rejected), "errorMessage": message}
    return json_response(200, {"partialSuccess": partial})


def _message(taken: Taken) -> str:
    """The different reasons, with their counts."""
    counts: dict[str, int] = {}
    for reason in (*taken.refused, *taken.warnings):
        counts[reason] = counts.get(reason, 0) + 1
    told = [
        reason if times == 1 else f"{reason} ({times} spans)"
        for reason, times in list(counts.items())[:REASONS_MAX]
    ]
    if len(counts) > REASONS_MAX:
        told.append(f"and {len(counts) - REASONS_MAX} other reasons")
    text = "; ".join(told)
    return text if len(text) <= REASON_CHARS_MAX else text[: REASON_CHARS_MAX - 1] + "…"


def refuse(problem: ProblemError, headers: Headers) -> Response:
    """A problem as a `google.rpc.Status`, with `Retry-After` where another try makes sense."""
    code = _STATUS_CODES.get(problem.status, _UNKNOWN)
    text = f"{problem.code}: {problem.detail}"
    if is_json(headers):
        return json_response(
            problem.status, {"code": code, "message": text}, problem_headers(problem)
        )
    return Response(
        problem.status,
        protobuf.status(code, text),
        protobuf.MEDIA_TYPE.encode(),
        tuple((name.encode(), told.encode()) for name, told in problem_headers(problem).items()),
    )
