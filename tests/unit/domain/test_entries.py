"""streams.domain.entries: every field of an entry says what the record that it comes from says."""

from typing import Any

from schemas import entry as entry_models
from schemas.structs import UsageEntry
from tests.builders import NOON_US, book, context, cycle, fact, of_kind, state, usage

SAID: dict[str, Any] = {
    "agent_id": "planner",
    "task_ref": "job-7",
    "trace_id": "trace-9",
    "provider": "lab",
    "model": "small",
    "units": 11,
    "success": False,
    "scope_id": "scope 1",
    "span_id": "span 1",
    "parent_span_id": "span 0",
}
TOKENS = {
    "input": 21,
    "cache_read": 22,
    "cache_write": 23,
    "output": 24,
    "reasoning": 25,
    "input_audio": 26,
    "output_audio": 27,
}


def test_no_two_fields_of_a_usage_entry_change_places() -> None:
    # The entry is built by position: every field has another value here.
    said = usage("acme", "e-5", tokens=TOKENS, occurred_at="2026-01-15T11:59:58Z", **SAID)
    known = context(
        [("unit", "4"), ("token", "100")], prices=book(small={"input": "3", "output": "15"})
    )
    result = cycle(state(), fact(said, offset=31), context=known, at_us=NOON_US + 5)
    (entry,) = of_kind(UsageEntry, result.entries)
    names = [name for name in entry_models.UsageEntry.model_fields if name != "kind"]
    found = {name: getattr(entry, name) for name in names}
    burns = [(burn.denomination, burn.amount) for burn in found.pop("burns")]
    assert burns == [("unit", "4"), ("token", "100")]
    cost = 3 * (21 + 22 + 23 + 26) + 15 * (24 + 25 + 27)
    assert found == SAID | {f"{name}_tokens": count for name, count in TOKENS.items()} | {
        "schema_version": 1,
        "entry_id": "1-usage-0-31-0",
        "generation": 1,
        "partition": 0,
        "sequence": 3,
        "cycle": 1,
        "decided_at": NOON_US + 5,
        "topic": "usage",
        "source_offset": 31,
        "entry_index": 0,
        "appended_at": NOON_US,
        "occurred_at": NOON_US - 2_000_000,
        "customer_id": "acme",
        "source": "crm",
        "event_id": "e-5",
        "cost": f"0.{cost:06d}".rstrip("0"),
        "currency": "USD",
        "cost_basis": "priced",
        "price_version": "test@1",
        "priced_as": "lab/small",
        "provisional": "0",
        "covered_units": 4,
        "covered_tokens": 100,
        "covered_usd": "0",
        "flags": [],
        "reservation_id": "",
        "settlement": "",
        "holds": [],
        "missing_tokens": 0,
        "usage_missing": False,
        "quantities": {},
        "conditions": {},
        "price_override": "",
        "scope_id": "scope 1",
        "span_id": "span 1",
        "parent_span_id": "span 0",
    }
