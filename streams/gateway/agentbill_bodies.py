"""What AgentBill's clients send, and what they are answered, as `/openapi.json` shows it.

Bodies are read leniently where money does not depend on it: unknown fields are passed over, since a
newer client may send some, null is as good as missing, and numbers may be written as floats.
"""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema

from schemas.envelope import Id
from streams.gateway.decimals import DollarNumber, Whole, parse_numbers
from streams.gateway.problems import ProblemError

Unit = Literal["unit", "token", "usd"]

CUSTOMER_DEFAULT = "default"
"""Whom a call concerns that names nobody."""


def _not_reserved(text: str) -> str:
    if text.startswith("\0"):
        raise ValueError("ids that begin with NUL are reserved")
    return text


Account = Annotated[Id, AfterValidator(_not_reserved)]
Number = Annotated[Any, WithJsonSchema({"type": ["number", "null"]})]
"""A number in an answer, written exactly."""


class Read(BaseModel):
    """Base of what a client sends."""

    model_config = ConfigDict(
        strict=True,
        extra="ignore",
        frozen=True,
        arbitrary_types_allowed=True,
        use_attribute_docstrings=True,
    )


class PreflightBody(Read):
    """May this call be made? `unit` is that of the job; without it the job's own, else `unit`."""

    agent_id: Id
    customer_id: Account = CUSTOMER_DEFAULT
    estimated_units: Whole | None = None
    ceiling: Whole | None = None
    """The most that this one call may cost."""
    task_ref: Account | None = None
    task_ceiling: Whole | None = None
    """Opens the job; passed over once it exists."""
    idempotency_key: Id | None = None
    """The same key, the same decision."""
    unit: Unit | None = None
    task_ceiling_usd: DollarNumber | None = None
    estimated_usd: DollarNumber | None = None


class EventBody(Read):
    """What a call used. `event_type` is the agent. `success` false gives the reservation back."""

    customer_id: Account = CUSTOMER_DEFAULT
    event_type: Id
    idempotency_key: Id
    units: Whole = 1
    success: bool = True
    task_ref: Account | None = None
    reservation_id: Id | None = None
    metadata: dict[str, Any] | None = None
    usage_missing: bool = False


class CeilingBody(Read):
    """A job's ceiling: `ceiling_units` in the job's unit, or `ceiling_usd`."""

    ceiling_units: Whole | None = None
    ceiling_usd: DollarNumber | None = None
    unit: Unit | None = None


class CheckpointBody(Read):
    """May the run go on, having used this much?"""

    agent_id: Id
    units_so_far: Whole
    ceiling: Whole | None = None
    customer_id: Account = CUSTOMER_DEFAULT


class StepBody(Read):
    """What one step of a run used."""

    agent_id: Id
    step_name: Annotated[str, Field(min_length=1, max_length=128)]
    units: Whole
    customer_id: Account = CUSTOMER_DEFAULT


R = TypeVar("R", bound=Read)


def read(model: type[R], body: bytes) -> R:
    """The body as a model. Raises ProblemError (empty, malformed, too_deep, invalid_field)."""
    parsed = {name: value for name, value in parse_numbers(body).items() if value is not None}
    try:
        return model.model_validate(parsed)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = str(first["loc"][0]) if first["loc"] else ""
        raise ProblemError("invalid_field", f"{field}: {first['msg']}", field=field) from None


# --- answers ------------------------------------------------------------------------------------


class Answer(BaseModel):
    """Base of what a client is answered. Fields that do not concern a call are left out."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class PreflightTold(Answer):
    """A decision. `approved` is true or it is none. On a job in dollars `*_units` count
    micro-dollars."""

    approved: bool
    reason: str | None
    estimated_units: int | None = None
    remaining_units: int | None = None
    reservation_expires_at: str | None = None
    reservation_id: str | None = None
    ceiling: int | None = None
    upgrade_url: str | None = None
    task_ref: str | None = None
    task_ceiling: int | None = None
    task_used_units: int | None = None
    task_remaining_units: int | None = None
    task_unit: str | None = None
    estimated_usd: Number = None
    task_ceiling_usd: Number = None
    task_used_usd: Number = None
    task_remaining_usd: Number = None
    estimate_source: str | None = None
    estimate_rounded: bool = False


class EventTold(Answer):
    """What became of a record."""

    status: Literal["recorded", "released", "duplicate_ignored"]
    customer_created: bool
    event_id: str | None = None
    customer_remaining_units: int | None = None
    task_used_units: int | None = None
    task_remaining_units: int | None = None
    task_exceeded: bool | None = None
    reservation_status: Literal["settled", "already_closed", "not_found"] | None = None
    reservation_released_units: int | None = None
    decided: bool = True
    """False: it is in the log and will count; its figures are not known yet."""


class TaskTold(Answer):
    """How a job stands."""

    task_ref: str
    agent_id: str
    ceiling_units: int
    used_units: int
    reserved_units: int
    remaining_units: int
    exceeded: bool
    unit: Unit
    usage_missing_calls: int
    breakdown: dict[str, dict[str, int]]
    ceiling_usd: Number = None
    used_usd: Number = None
    reserved_usd: Number = None
    remaining_usd: Number = None
    unpriced_calls: int | None = None
    list_price_label: str | None = None


class CheckpointTold(Answer):
    """Advice; nothing is held."""

    approved: bool
    reason: str | None
    units_so_far: int
    remaining_units: int | None


class StepTold(Answer):
    """Whether a step used far more than it does as a rule."""

    recorded: bool
    anomaly: bool
    baseline_units: int | None
    deviation_pct: int | None


class BudgetTold(Answer):
    """What a customer has left in units. `limit` and `remaining` null: nothing bounds it."""

    customer_id: str
    customer_created: bool
    limit: int | None
    used: int
    remaining: int | None
    is_blocked: bool


class ErrorTold(Answer):
    """Why there is no answer."""

    error: str
    message: str
