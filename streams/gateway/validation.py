"""From what a client sent to a validated body or record, or to the problem that says what is
wrong."""

import contextlib
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from schemas import codec
from schemas.envelope import SCHEMA_VERSION
from schemas.errors import RejectCode, RejectError
from schemas.limits import ID_BYTES_MAX
from schemas.topics import BUDGETS
from streams.domain.decoding import RESERVED, decode_content
from streams.domain.facts import EventFact, Rejected, SourceRecord
from streams.gateway.bodies import check_depth
from streams.gateway.problems import CODES, ProblemError

Model = TypeVar("Model", bound=BaseModel)

FIELD_CHARS_MAX = 128


def parse_body(model: type[Model], body: bytes) -> Model:
    """The body as this model. Raises ProblemError (empty, malformed, too_deep, unknown_field,
    invalid_field) with the path of the first bad field."""
    check_depth(body)
    if not body.strip():
        raise ProblemError("empty", "there is no body")
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise _problem_of(error) from None


def _problem_of(error: ValidationError) -> ProblemError:
    # Without the input: a problem says what is wrong with a field, never what it held.
    found = error.errors(include_url=False, include_context=False, include_input=False)
    first = found[0]
    field = ".".join(str(part) for part in first["loc"])[:FIELD_CHARS_MAX]
    if first["type"] == "json_invalid":
        return ProblemError("malformed", f"not JSON: {first['msg'].removeprefix('Invalid JSON: ')}")
    if not first["loc"]:
        return ProblemError("malformed", "not a JSON object")
    code = "unknown_field" if first["type"] == "extra_forbidden" else "invalid_field"
    return ProblemError(code, f"{field}: {first['msg']}", field=field)


def check_record(topic: str, value: bytes) -> EventFact:
    """The fact that a record of this topic would be: the worker's own decoder is asked, so that
    what it refuses whenever it comes is refused here. What depends on the state or the time of the
    append (a conflict, too old) only its cycle can say.

    Raises ProblemError.
    """
    try:
        found = decode_content(SourceRecord(topic, 0, 0, None, value))
    except RejectError as fault:
        raise rejected(fault) from None
    if isinstance(found, Rejected):
        raise rejected(found)
    check_account("customer_id", found.body.customer_id)
    return found


def rejected(fault: RejectError | Rejected) -> ProblemError:
    """The problem that a refusal of a record becomes."""
    code = fault.code.value if fault.code.value in CODES else "invalid_field"
    return ProblemError(code, fault.reason, field=fault.field)


def check_account(name: str, account_id: str) -> str:
    """An account's id from a path or a record. Raises ProblemError for one that cannot be."""
    if account_id.encode()[:1] == RESERVED:
        raise ProblemError(
            "invalid_field", f"{name}: ids that begin with NUL are reserved", field=name
        )
    if len(account_id.encode()) > ID_BYTES_MAX:
        raise ProblemError("invalid_field", f"{name}: longer than {ID_BYTES_MAX} bytes", field=name)
    return account_id


def budget_record(
    kind: str, customer_id: str, event_id: str | None, sent: dict[str, Any], source: str
) -> tuple[str, bytes]:
    """A record of `budgets` from the fields that a client sent: its event id and its bytes.

    `event_id` is for a client that sent none, None where it has to. Raises ProblemError.
    """
    for name in ("customer_id", "kind", "schema_version"):
        if name in sent:
            raise ProblemError("unknown_field", f"{name}: the path says it", field=name)
    if event_id is not None and sent.get("event_id") is None:
        sent = {**sent, "event_id": event_id}
    record = {
        "schema_version": SCHEMA_VERSION,
        "kind": kind,
        "source": source,
        **sent,
        "customer_id": customer_id,
    }
    value: bytes | None = None
    with contextlib.suppress(ValueError, OverflowError):
        value = codec.encode(record)
    if value is None:
        raise ProblemError("malformed", "a number or a text that no record can hold")
    return check_record(BUDGETS.name, value).body.event_id, value


def refused(code: str, reason: str, field: str) -> ProblemError:
    """The problem of a record that stands in the log and was refused by its cycle."""
    if code == RejectCode.CONFLICT:
        return ProblemError("conflict", reason, field=field)
    if code == RejectCode.UNIT_MISMATCH:
        return ProblemError("task_unit_mismatch", reason, field=field)
    return ProblemError("refused", reason, field=field, extra={"code_of_refusal": code})
