"""Results of Autohive integrations as usage, without importing their SDK.

Takes what a handler returns (`ActionResult`, `ActionError`), what the SDK makes of it
(`IntegrationResult`), or the runner's serialised form of that; a result names neither customer nor
run, so these are arguments. Owns how a cost that is a float becomes an exact one. Pure: the program
or the gateway publishes.
"""

import json
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import Enum
from hashlib import blake2b
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import AfterValidator

from schemas.client.errors import NotAResultError
from schemas.client.events import checked, ready, validated
from schemas.envelope import Count, Id, Part, Time
from schemas.errors import RejectError
from schemas.limits import ID_BYTES_MAX
from schemas.money import amount_from_number_text, format_amount
from schemas.usage import Usage

SOURCE_PREFIX: Final = "autohive:"
"""Of the source of everything that an integration used."""

INTEGRATION_BYTES_MAX: Final = ID_BYTES_MAX - len(SOURCE_PREFIX)
"""An integration's name: the source that holds it is an id."""

SUCCEEDED: Final[dict[str, bool]] = {
    "action": True,
    "action_error": False,
    "validation_error": False,
    # What SDKs before 2.0 call an action_error.
    "error": False,
}
"""Types of results that an action can have, and whether it did what it should."""

_TINY: Final = re.compile(r"[0-9.]+[eE]-[0-9]{3,}\Z")
"""Numbers far below any amount, which floats can write and nobody can be charged."""


def _leaves_room(name: str) -> str:
    if len(name.encode()) > INTEGRATION_BYTES_MAX:
        raise ValueError(f"longer than {INTEGRATION_BYTES_MAX} bytes in UTF-8")
    return name


class Run(Part):
    """What a result does not say: for whom which action ran, and what else is known of it."""

    customer_id: Id
    integration: Annotated[Id, AfterValidator(_leaves_room)]
    """`name` in the integration's config.json."""
    action: Id
    run_id: Id
    """Names one execution of the action: sent again under the same one, it counts once."""
    call: Id | None = None
    """Tells executions of the same action within one run apart."""
    supports_billing: bool | None = None
    """As the integration's config.json says; None where nobody has looked."""
    occurred_at: Time | None = None
    agent_id: Id | None = None
    """Without it, the integration."""
    task_ref: Id | None = None
    trace_id: Id | None = None
    """Without it, the run: a signal with this trace id finds the cost."""
    reservation_id: Id | None = None
    usage_missing: bool = False
    """Where the result has no cost, charge at least what the named hold holds."""
    units: Count = 1
    """What the plan counts for an action that succeeded."""
    failed_units: Count = 0
    """And for one that failed. A cost counts either way."""


class Warned(NamedTuple):
    """Something to look at, that kept nothing from being recorded."""

    code: Literal["cost_missing", "billing_not_declared", "repeated"]
    text: str


class Taken(NamedTuple):
    """A result as usage. `rounded`: its cost had digits beyond the twelfth decimal (M2)."""

    usage: Usage
    warnings: tuple[Warned, ...] = ()
    rounded: bool = False


class TakenAll(NamedTuple):
    """Several results. `refused` holds the position of each that could not be read, and why."""

    usages: list[Usage]
    warnings: list[Warned]
    refused: list[tuple[int, NotAResultError | RejectError]]


class _Seen(NamedTuple):
    kind: str
    cost: object
    ran: bool
    sdk_version: str


def supports_billing(config: Mapping[str, Any]) -> bool:
    """What an integration's config.json says about billing; without a word, no."""
    return config.get("supports_billing") is True


def usage_of(
    result: object, *, customer_id: str, integration: str, action: str, run_id: str, **more: Any
) -> Taken:
    """The usage record of one result; `more` are the other fields of `Run`.

    A cost of null is not known: the record has none. 0.0 is a cost. A failed action keeps its cost.
    The record's id follows from run, action and call. Raises NotAResultError for what is no result
    of an action, RejectError for an argument that cannot be.
    """
    named = {"customer_id": customer_id, "integration": integration}
    run = checked(Run, {**more, **named, "action": action, "run_id": run_id})
    seen = _seen(result)
    success = SUCCEEDED[seen.kind]
    cost, rounded = (None, False) if seen.cost is None else _cost(seen.cost)
    metadata: dict[str, Any] = {"run_id": run.run_id, "result": seen.kind}
    if seen.sdk_version:
        metadata["sdk_version"] = seen.sdk_version
    if rounded:
        metadata["cost_rounded"] = True
    usage = validated(
        Usage,
        {
            "event_id": _event_id(run),
            "source": SOURCE_PREFIX + run.integration,
            "customer_id": run.customer_id,
            "occurred_at": run.occurred_at,
            "agent_id": run.agent_id or run.integration,
            "task_ref": run.task_ref,
            "trace_id": run.trace_id or run.run_id,
            "provider": run.integration,
            "model": run.action,
            "units": run.units if success else run.failed_units,
            "cost": cost,
            "success": success,
            "reservation_id": run.reservation_id,
            "usage_missing": run.usage_missing and cost is None,
            "metadata": metadata,
        },
    )
    ready(usage)
    return Taken(usage, tuple(_warnings(run, seen)), rounded)


def usages_of(items: Iterable[Mapping[str, Any]]) -> TakenAll:
    """The records of many results: each item holds `result` and the fields of `Run`.

    One that cannot be read keeps no other from being taken.
    """
    taken = TakenAll([], [], [])
    identities = set()
    for position, item in enumerate(items):
        try:
            usage, warnings, _ = usage_of_item(item)
        except (NotAResultError, RejectError) as error:
            taken.refused.append((position, error))
            continue
        identity = (usage.customer_id, usage.source, usage.event_id)
        if identity in identities:
            text = "the same run and action came before and counts once; tell them apart by `call`"
            taken.warnings.append(Warned("repeated", f"item {position}: {text}"))
        identities.add(identity)
        taken.usages.append(usage)
        taken.warnings.extend(warnings)
    return taken


def usage_of_item(item: Mapping[str, Any]) -> Taken:
    """One of these items. Raises as `usage_of`."""
    fields = dict(item)
    if "result" not in fields:
        raise NotAResultError("there is no result")
    result = fields.pop("result")
    named = {name: fields.pop(name, None) for name in _REQUIRED}
    return usage_of(result, **named, **fields)


_REQUIRED: Final = ("customer_id", "integration", "action", "run_id")


def _event_id(run: Run) -> str:
    """A function of run, action and call that no other three give."""
    content = json.dumps([run.run_id, run.action, run.call], ensure_ascii=True)
    return f"autohive-{blake2b(content.encode(), digest_size=16).hexdigest()}"


def _warnings(run: Run, seen: _Seen) -> Iterable[Warned]:
    # The customer is not named: warnings go to logs.
    where = f"{run.integration}.{run.action}, run {run.run_id}"
    if run.supports_billing and seen.cost is None and seen.ran:
        text = "the integration supports billing, but its result has no cost_usd"
        yield Warned("cost_missing", f"{where}: {text}")
    if run.supports_billing is False and seen.cost is not None:
        text = "a cost_usd, though the integration does not say that it supports billing"
        yield Warned("billing_not_declared", f"{where}: {text}; it counts")


# --- reading a result ---


def _seen(result: object) -> _Seen:
    kind, inner, version = _told(result, "type"), _told(result, "result"), ""
    if kind is None and inner is None:
        inner = result
        if _has(result, "data"):
            kind = "action"
        elif _has(result, "message"):
            kind = "action_error"
        else:
            raise NotAResultError("neither `data` nor `message`: no result of an action")
    else:
        told = _told(result, "version")
        version = told[:32] if isinstance(told, str) else ""
    if isinstance(kind, Enum):
        kind = kind.value
    if not isinstance(kind, str) or kind not in SUCCEEDED:
        raise NotAResultError("not the type of an action's result", "result.type")
    if inner is None:
        raise NotAResultError("the result is empty", "result.result")
    # Inputs that were refused never reached the action; an output that was refused cost something.
    ran = kind != "validation_error" or _told(inner, "source") == "output"
    return _Seen(kind, _told(inner, "cost_usd"), ran, version)


def _has(thing: object, name: str) -> bool:
    return name in thing if isinstance(thing, Mapping) else hasattr(thing, name)


def _told(thing: object, name: str) -> Any:
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)


def _cost(value: object) -> tuple[str, bool]:
    """The cost as a decimal text, and whether something was rounded away.

    A float is read from its own shortest text, which is what its program would print; the noise of
    its arithmetic lies beyond the twelfth decimal.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise NotAResultError("cost_usd is neither a number nor null", "cost_usd")
    try:
        # A subclass may print itself in another way.
        text = float.__repr__(value) if isinstance(value, float) else str(value)
        digits = text.removeprefix("-")
        if _TINY.match(digits):
            pico, rounded = 0, bool(re.search("[1-9]", re.split("[eE]", digits)[0]))
        else:
            pico, rounded = amount_from_number_text(digits)
    except ValueError:
        raise NotAResultError("cost_usd is no amount of dollars", "cost_usd") from None
    if pico and text.startswith("-"):
        raise NotAResultError("cost_usd is negative", "cost_usd")
    return format_amount(pico), rounded
