"""The records whose two decoders are held against each other, and the values that they are fed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from schemas import budget, codec, invoice, preflight, signal, transfer, usage
from schemas.errors import RejectCode
from schemas.topics import BUDGETS, PREFLIGHTS, SIGNALS, TRANSFERS, USAGE
from streams.domain import canonical
from streams.domain.billing_facts import billing_fact
from streams.domain.facts import Rejected, SourceRecord
from tests.builders import NOON_US


@dataclass(frozen=True)
class Family:
    model: type[BaseModel]
    topic: str
    decode: Callable[[bytes | None], Any]
    state: Callable[[SourceRecord, Any], Any]
    seeds: list[dict[str, Any]]


IDENTITY = {"schema_version": 1, "event_id": "e1", "source": "crm", "customer_id": "acme"}

FAMILIES = {
    "usage": Family(
        usage.Usage,
        USAGE.name,
        codec.decode_usage,
        canonical.usage_fact,
        [
            IDENTITY,
            IDENTITY
            | {
                "occurred_at": "2026-01-15T12:00:00.25+01:00",
                "agent_id": "planner",
                "task_ref": "job-7",
                "trace_id": "t" * 32,
                "provider": "lab",
                "model": "small",
                "units": 3,
                "tokens": {"input": 10, "cache_read": 4, "output": 7, "reasoning": 1},
                "cost": "0.015",
                "currency": "EUR",
                "success": False,
                "reservation_id": "r-1",
                "metadata": {"note": "é", "count": 3, "ok": True, "nothing": None},
            },
        ],
    ),
    "signal": Family(
        signal.Signal,
        SIGNALS.name,
        codec.decode_signal,
        canonical.signal_fact,
        [
            IDENTITY | {"name": "ticket_closed"},
            IDENTITY
            | {
                "occurred_at": "2026-01-15T12:00:00Z",
                "name": "meeting_booked",
                "agent_id": "planner",
                "trace_id": "t1",
                "scope_id": "s1",
                "quantity": 2,
                "cost_tracing": True,
                "metadata": {},
            },
        ],
    ),
    "grant": Family(
        budget.Grant,
        BUDGETS.name,
        codec.decode_budget,
        canonical.grant_fact,
        [
            IDENTITY | {"denomination": "usd", "amount": "12.5"},
            IDENTITY
            | {
                "kind": "grant",
                "denomination": "unit",
                "amount": "100",
                "priority": 5,
                "effective_at": "2026-01-01T00:00:00Z",
                "expires_at": "2026-02-01T00:00:00Z",
                "reason": "welcome",
            },
        ],
    ),
}


def state_replay(source: SourceRecord, body: Any) -> Any:
    """The fact of a replay, whatever its original is worth."""
    found = canonical.replay_fact(source, body, Rejected(source, RejectCode.MALFORMED, "not asked"))
    canonical.original_record(body)
    return found


FAMILIES["replay"] = Family(
    budget.Replay,
    BUDGETS.name,
    codec.BUDGET_DECODERS["replay"],
    state_replay,
    [
        IDENTITY
        | {
            "kind": "replay",
            "letter_id": "1-usage-0-7-0",
            "generation": 1,
            "topic": "usage",
            "partition": 0,
            "offset": 7,
            "appended_at": NOON_US,
            "record_key": "YWNtZQ==",
            "record_value": "e30=",
        }
    ],
)
FAMILIES["discard"] = Family(
    budget.Discard,
    BUDGETS.name,
    codec.BUDGET_DECODERS["discard"],
    canonical.discard_fact,
    [IDENTITY | {"kind": "discard", "letter_id": "1-usage-0-7-0", "reason": "a test"}],
)

_SEGMENT = {"card": "pro", "version": "1", "from_us": 5, "to_us": 9}
_LINE = {"line": 1, "line_kind": "usage", "label": "2026-01", "from_us": 5, "to_us": 9}
_BILLING: dict[str, tuple[type[BaseModel], list[dict[str, Any]]]] = {
    "terms": (
        invoice.Terms,
        [
            {"card": "pro", "zone": "Etc/GMT+1", "anchor_day": 31},
            {"plan": "a", "next_number": 3, "billed_to": 5},
        ],
    ),
    "credit": (
        invoice.Credit,
        [{"amount": "5"}, {"amount": "0.01", "currency": "EUR", "reason": "é", "number": "a-1"}],
    ),
    "invoice_close": (
        invoice.InvoiceClose,
        [
            {
                "label": "2026-01",
                "zone": "UTC",
                "period_from": 5,
                "period_to": 9,
                "segments": [_SEGMENT],
                "reissues": "a-1",
            }
        ],
    ),
    "invoice_issue": (
        invoice.InvoiceIssue,
        [
            {
                "number": "a-1",
                "document": "invoice",
                "digest": "0a" * 32,
                "lines": [_LINE | {"amount": "-2.50", "currency": "USD", "quantity": "-0.5"}],
                "totals": [{"currency": "USD", "amount": "-2.50"}],
            }
        ],
    ),
    "invoice_void": (invoice.InvoiceVoid, [{"number": "a-1", "reissue": True, "reason": "é"}]),
}
for _kind, (_billed, _told) in _BILLING.items():
    FAMILIES[_kind] = Family(
        _billed,
        BUDGETS.name,
        codec.BUDGET_DECODERS[_kind],
        billing_fact,
        [IDENTITY | {"kind": _kind} | fields for fields in _told],
    )

FAMILIES["limit"] = Family(
    budget.Limit,
    BUDGETS.name,
    codec.BUDGET_DECODERS["limit"],
    canonical.limit_fact,
    [
        IDENTITY | {"kind": "limit", "denomination": "usd"},
        IDENTITY
        | {
            "kind": "limit",
            "occurred_at": "2026-01-15T12:00:00Z",
            "agent_id": "planner",
            "denomination": "token",
            "amount": "5000",
            "resets": "week",
            "anchor": "2026-01-05T00:00:00Z",
            "used": "-250",
        },
    ],
)
FAMILIES["ceiling"] = Family(
    budget.Ceiling,
    BUDGETS.name,
    codec.BUDGET_DECODERS["ceiling"],
    canonical.ceiling_fact,
    [
        IDENTITY | {"kind": "ceiling", "denomination": "unit", "amount": "7"},
        IDENTITY
        | {
            "kind": "ceiling",
            "occurred_at": "2026-01-15T12:00:00Z",
            "denomination": "usd",
            "amount": "0.25",
        },
    ],
)

_LEASED = {"schema_version": 1, "lease": 3, "nonce": "0123456789abcdef", "decided_at": NOON_US}
_ACCOUNT = _LEASED | {"account_kind": "customer", "account_id": "acme"}

OWNED: dict[str, tuple[type[BaseModel], list[dict[str, Any]]]] = {
    "lease": (
        preflight.Lease,
        [
            {
                "schema_version": 1,
                "nonce": "0123456789abcdef",
                "owner": "127.0.0.1:4711",
                "cycle": 12,
                "decided_at": NOON_US,
            }
        ],
    ),
    "preflight": (
        preflight.Preflight,
        [
            _ACCOUNT
            | {
                "source": "http",
                "idempotency_key": "k1",
                "body_hash": "00112233445566778899aabbccddeeff",
                "denomination": "unit",
                "estimate": "3",
                "approved": True,
                "expires_at": NOON_US,
                "seen_cycle": 4,
                "seen_offset": 17,
                "seen_catalog_offset": 2,
            },
            _ACCOUNT
            | {
                "account_kind": "task",
                "account_id": "job-7",
                "source": "http",
                "idempotency_key": "k1",
                "body_hash": "00112233445566778899aabbccddeeff",
                "agent_id": "planner",
                "task_ref": "job-7",
                "denomination": "usd",
                "estimate": "0.5",
                "asked_estimate": "0.50",
                "ceiling": "0.4",
                "approved": False,
                "reason": "ceiling_exceeded",
                "remaining": "2",
                "expires_at": NOON_US,
                "task_reservation_id": "1-0-9",
                "task_ceiling": "9.5",
                "seen_cycle": 4,
                "seen_offset": 17,
                "seen_catalog_offset": 2,
            },
        ],
    ),
    "release": (preflight.Release, [_ACCOUNT | {"reservation_id": "1-0-9"}]),
    "extension": (
        preflight.Extension,
        [_ACCOUNT | {"reservation_id": "1-0-9", "expires_at": NOON_US}],
    ),
    "expiry": (preflight.Expiry, [_ACCOUNT | {"reservation_id": "1-0-9"}]),
    "tick": (preflight.Tick, [_LEASED | {"end_offsets": {"usage": 12, "signals": 0}}]),
}
"""What an owner appends, by kind."""

for _kind, (_model, _seeds) in OWNED.items():
    FAMILIES[_kind] = Family(
        _model,
        PREFLIGHTS.name,
        codec._preflight_decoders[_kind],
        canonical.owner_fact,
        [{"kind": _kind} | seed for seed in _seeds],
    )

FAMILIES["transfer"] = Family(
    transfer.Transfer,
    TRANSFERS.name,
    codec.decode_transfer,
    canonical.transfer_fact,
    [
        {
            "kind": "settlement",
            "schema_version": 1,
            "entry_id": "1-usage-0-7-0",
            "decided_at": NOON_US,
            "task_ref": "job-7",
            "customer_id": "acme",
        },
        {
            "kind": "settlement",
            "schema_version": 1,
            "entry_id": "1-usage-0-7-0",
            "usage": False,
            "decided_at": NOON_US,
            "task_ref": "job-7",
            "customer_id": "acme",
            "agent_id": "planner",
            "units": 3,
            "tokens": 12,
            "usd": "-0.25",
            "holds": [{"reservation_id": "1-0-9", "amount": "2"}],
            "ends": [{"reservation_id": "1-0-9", "closed_as": "used_up"}],
            "success": False,
            "usage_missing": True,
            "unpriced": True,
        },
    ],
)

VALUES: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2,
        1.0,
        1.5,
        -0.0,
        1e300,
        10**12,
        10**12 + 1,
        2**63,
        2**64,
        10**30,
    ),
    *(2**53 - 1, 2**53, 1 - 2**53, 1000, 1001, "", "x", "x" * 128, "x" * 129, "é" * 64, "é" * 65),
    *(
        "😀" * 32,
        "😀" * 33,
        "\x00",
        "\n",
        "USD",
        "usd",
        "EURO",
        "ÄÖÜ",
        "USD\n",
        "grant",
        "unit",
        "token",
    ),
    *(
        "NaN",
        "1_0",
        " 1",
        "1 ",
        "١",
        "-1",
        "+1",
        "0",
        "0.0",
        "1.5",
        "1.",
        ".5",
        "1e3",
        "0.000000000001",
    ),
    *("0.0000000000001", "9" * 18, "9" * 19, "2026-01-15T12:00:00Z", "2026-01-15T12:00:00"),
    *("2026-02-30T00:00:00Z", "2026-01-15T12:00:00.1234567Z", "1969-12-31T23:59:59Z", "1700000000"),
    *(
        "2026-01-15T12:00:00+24:00",
        "2026-01-15T12:00:00Z\n",
        "2026-01-15T23:59:60Z",
        "0001-01-01T00:00:00Z",
    ),
    *(
        [],
        {},
        [1],
        {"input": 1},
        {"input": -1},
        {"imput": 1},
        {"a": {}},
        {"a": 1.5},
        {"a": "x" * 257},
    ),
    *({"x" * 64: 1}, {"x" * 65: 1}, {str(n): n for n in range(16)}, {str(n): n for n in range(17)}),
]
