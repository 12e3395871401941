"""A span as both forms of OTLP are read into it: its place, its times, and of its attributes only
those on the allow list.

What an attribute not on the list holds (prompts, completions, keys) is never looked at.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from streams.gateway.otlp.emitters import COUNTED_ATTRIBUTES
from streams.gateway.otlp.limits import KEY_CHARS_MAX

Value = str | int | float | bool
"""Of an attribute that is kept; lists are JSON text by now."""

API_KEY: Final = "api.key"
"""The resource attribute in which older SDKs of Paid send their key. It is read where the request
carries no key in a header, and never becomes part of a `Span`."""

CUSTOMERS: Final = ("external_customer_id", "tollgate.customer_id")
AGENTS: Final = ("external_agent_id", "external_product_id", "tollgate.agent_id")
SCOPE: Final = "paid_scope_id"
SIGNAL_NAME: Final = "event_name"
SIGNAL_CONTENT: Final = "data"
COST_TRACING: Final = "enable_cost_tracing"
WEIGHT: Final = "tollgate.weight"
UNITS: Final = "tollgate.units"
COST: Final = "tollgate.cost"
CURRENCY: Final = "tollgate.currency"
COUNT_OUTER: Final = "tollgate.count_outer"
COUNT_TOOLS: Final = "tollgate.count_tools"

METADATA: Final = "metadata."
QUANTITY: Final = "tollgate.quantity."
CONDITION: Final = "tollgate.condition."
OPEN_PREFIXES: Final = (METADATA, QUANTITY, CONDITION)
"""Beginnings of attributes whose names the user chooses."""

ALLOWED: Final = COUNTED_ATTRIBUTES.union(
    (*CUSTOMERS, *AGENTS, SCOPE, SIGNAL_NAME, SIGNAL_CONTENT, COST_TRACING),
    (WEIGHT, UNITS, COST, CURRENCY, COUNT_OUTER, COUNT_TOOLS),
)
"""The allow list. Everything else is dropped at the door."""

NEVER_IN_NAMES: Final = (
    *("token", "secret", "password", "authorization", "credential", "cookie", "apikey", "api_key"),
    *("api-key", "api.key", "access_key", "private_key", "prompt", "completion", "message"),
)
"""Metadata with one of these in its name is dropped: somebody has put there what it says."""


def is_kept(name: str) -> bool:
    """Whether an attribute is on the allow list."""
    if name in ALLOWED:
        return True
    if not name.startswith(OPEN_PREFIXES) or len(name) > KEY_CHARS_MAX:
        return False
    return not name.startswith(METADATA) or is_harmless(name)


def is_harmless(name: str) -> bool:
    """Whether a name that a user chose says nothing of secrets or of a conversation."""
    lowered = name.lower()
    return not any(word in lowered for word in NEVER_IN_NAMES)


@dataclass(slots=True)
class Span:
    """One span. Ids are lower-case hex; `parent_span_id` is None for a root. Times are nanoseconds
    since the epoch, 0 where the span has none. `fault` says why it cannot be read, "" for nothing.
    """

    trace_id: str
    span_id: str
    parent_span_id: str | None
    name: str
    started_ns: int
    ended_ns: int
    failed: bool
    scope: tuple[str, str]
    """Name and version of the instrumentation."""
    attributes: Mapping[str, Value]
    resource: Mapping[str, Value]
    fault: str = ""

    def customer(self) -> str | None:
        """Whom the span names: itself, else its resource."""
        for held in (self.attributes, self.resource):
            for name in CUSTOMERS:
                value = held.get(name)
                if value not in (None, ""):
                    return value if isinstance(value, str) else str(value)
        return None


NO_ATTRIBUTES: Final[Mapping[str, Value]] = {}
