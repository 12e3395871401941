"""The chargeTokens protocol: `POST /worker/charge-tokens`, one AI operation of a user's flow.

The answer is `{"success": …}` whatever happens: false where the tokens could not be recorded, the
body is wrong, or the user was over a limit before. Tokens of an operation that was made are
recorded in any case. A user without any limit is tracked and never refused (P12).
"""

from collections import OrderedDict
from hashlib import blake2b
from typing import Annotated, Any, Final
from weakref import WeakKeyDictionary

from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema

from schemas import codec
from schemas.envelope import SCHEMA_VERSION, Id, Name
from schemas.limits import ID_BYTES_MAX
from schemas.structs import Tokens, Usage
from schemas.topics import USAGE
from streams.gateway.agentbill_bodies import Account, Read, read
from streams.gateway.agentbill_usage import encoded, kept_metadata
from streams.gateway.asking import Asking
from streams.gateway.decimals import Whole, parse_numbers
from streams.gateway.exhausted import was_spent_before
from streams.gateway.ports import Scope
from streams.gateway.problems import ProblemError, problem_headers
from streams.gateway.replies import Response, json_response
from streams.gateway.routes import Described, Headers, Parameter, Request, Route, bearer
from streams.gateway.services import Services

SOURCE: Final = "charge-tokens"

KEY_HEADERS: Final = ("internal_api_key", "internal-api-key", "x-internal-api-key")
"""Spellings of the header, in the order in which they are looked for: proxies change underscores,
or drop a field that has one."""

ID_FIELDS: Final = ("idempotencyKey", "eventId", "requestId")
"""Fields of the body that name the operation, beside the header `Idempotency-Key`."""

UNSETTLED_MAX: Final = 10_000
"""Charges whose append was not acknowledged that a gateway remembers: about 2 MB. What is older is
charged anew if it is sent again."""


def _text(value: object) -> object:
    """Callers number their users and flows."""
    return str(value) if type(value) is int else value


_ID_SCHEMA: Final = WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 128})
UserId = Annotated[Account, BeforeValidator(_text), _ID_SCHEMA]
FlowId = Annotated[Id, BeforeValidator(_text), _ID_SCHEMA]


class ChargeBody(Read):
    """Tokens that one AI operation used. Further fields are kept beside the record."""

    flowId: FlowId  # noqa: N815 - the protocol's names
    userId: UserId  # noqa: N815
    inputTokens: Whole  # noqa: N815
    outputTokens: Whole  # noqa: N815
    model: Name | None = None
    aiSystem: Name | None = None  # noqa: N815


class ChargeTold(BaseModel):
    """Whether the charge was recorded and the user was within its limits before."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    success: bool
    code: str | None = None
    """Why not: `over_limit`, or the code of a problem."""
    message: str | None = None


class Unsettled:
    """Charges without an id of their own whose append was not acknowledged: the same content sent
    again is the same charge."""

    def __init__(self) -> None:
        self._ids: OrderedDict[bytes, str] = OrderedDict()

    def take(self, content: bytes) -> str | None:
        """The id under which this content was tried before, forgotten with that."""
        return self._ids.pop(content, None)

    def keep(self, content: bytes, event_id: str) -> None:
        """Remembers a try that may or may not have arrived."""
        self._ids[content] = event_id
        if len(self._ids) > UNSETTLED_MAX:
            self._ids.popitem(last=False)


_unsettled: Final[WeakKeyDictionary[Asking, Unsettled]] = WeakKeyDictionary()
"""Of each gateway of the process, found by the one thing that it alone has."""


def present(headers: Headers) -> str | None:
    """The key of a request, under whichever name it comes."""
    for name in KEY_HEADERS:
        if headers.get(name):
            return headers[name]
    return bearer(headers)


def refuse(problem: ProblemError) -> Response:
    """A problem in this protocol's form: success is false."""
    fields = {"success": False, "code": problem.code, "message": problem.detail}
    return json_response(problem.status, fields, problem_headers(problem))


async def charge(services: Services, request: Request) -> Response:
    """Records the tokens; success unless the user had used up a limit before."""
    body, sent = read(ChargeBody, request.body), parse_numbers(request.body)
    request.caller.require_customer(body.userId)
    content = blake2b(
        codec.encode([str(request.caller.key_id), request.body]), digest_size=16
    ).digest()
    unsettled = _unsettled.setdefault(services.asking, Unsettled())
    event_id = _named(request.headers, sent) or _of_execution(body, sent)
    anonymous = event_id is None
    if event_id is None:
        event_id = unsettled.take(content) or services.new_id()
    usage = _usage(body, sent, event_id)
    try:
        recorded = await services.asking.record(
            USAGE.name, body.userId, encoded(usage), services.record_seconds
        )
    except ProblemError as problem:
        if anonymous and problem.code == "log_unavailable":
            unsettled.keep(content, event_id)
        raise
    answer = recorded.decided
    if answer is not None and answer.status == "refused" and answer.code != "conflict":
        raise ProblemError("refused", f"{answer.code}: {answer.reason}", field=answer.field)
    if answer is not None and answer.status == "refused":
        raise ProblemError("conflict", "this id was charged before with other tokens")
    if answer is not None and was_spent_before(answer, usage):
        message = f"user {body.userId!r} was over its limit before; the tokens were recorded"
        return json_response(200, {"success": False, "code": "over_limit", "message": message})
    return json_response(200, {"success": True})


def _named(headers: Headers, sent: dict[str, Any]) -> str | None:
    """The id that the caller gives the operation, None where it gives none."""
    given = [headers.get("idempotency-key"), *(sent.get(name) for name in ID_FIELDS)]
    for text in given:
        if isinstance(text, str) and text:
            if len(text.encode("utf-8", "replace")) > ID_BYTES_MAX:
                raise ProblemError("invalid_field", f"an id may have {ID_BYTES_MAX} bytes")
            return text
    return None


def _of_execution(body: ChargeBody, sent: dict[str, Any]) -> str | None:
    """The id of an operation of a named execution: its content. None without an `execId`.

    Whoever sends it again, wherever, charges once; two operations of one execution that used the
    same model and exactly as many tokens are one to us, as nothing tells them apart.
    """
    execution = sent.get("execId")
    if not isinstance(execution, str | int) or isinstance(execution, bool) or execution == "":
        return None
    parts = [str(execution), body.flowId, body.userId, body.inputTokens, body.outputTokens]
    content = ascii([*parts, body.model, body.aiSystem])
    return f"exec-{blake2b(content.encode(), digest_size=16).hexdigest()}"


def _usage(body: ChargeBody, sent: dict[str, Any], event_id: str) -> Usage:
    extra = {name: value for name, value in sent.items() if name not in ChargeBody.model_fields}
    return Usage(
        schema_version=SCHEMA_VERSION,
        event_id=event_id,
        source=SOURCE,
        customer_id=body.userId,
        agent_id=body.flowId,
        provider=body.aiSystem,
        model=body.model,
        tokens=Tokens(input=body.inputTokens, output=body.outputTokens),
        metadata=kept_metadata(extra) or None,
    )


ROUTES: Final = (
    Route(
        "POST",
        "/worker/charge-tokens",
        charge,
        Scope.INGEST,
        name="chargeTokens",
        summary="Tokens that one AI operation used",
        group="chargeTokens",
        accepts={"application/json": ChargeBody},
        answers={200: Described("Recorded, unless success is false", ChargeTold)},
        problems=(
            *("malformed", "empty", "too_deep", "invalid_field", "customer_not_allowed"),
            *("conflict", "refused", "log_unavailable"),
        ),
        parameters=(
            Parameter("Idempotency-Key", "header", "The caller's own id of the operation"),
        ),
        present=present,
        refuse=refuse,
    ),
)
"""The protocol, for the application and the description of it."""
