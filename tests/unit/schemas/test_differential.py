"""The Pydantic models and the fast decoder agree: on what they accept, and on every value.

Mutants of valid records go through both. The fast side is the Struct decoder and the fact checks
after it; together they must accept what the model accepts and read the same values. Facts refuse a
little more than their schema (BEYOND_THE_SCHEMA): rules about two fields together, which a schema
cannot say.
"""

import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from schemas import budget, codec, signal, usage
from schemas.errors import RejectCode, RejectError
from schemas.topics import BUDGETS, SIGNALS, USAGE
from streams.domain import canonical
from streams.domain.facts import Rejected, SourceRecord
from tests.builders import NOON_US
from tests.property.seed import SEED, announce

MUTANTS = 21_000
"""Per family: 105,000 in all, about five seconds."""

BEYOND_THE_SCHEMA = (
    "must grant something",
    "come whole",
    "not after effective_at",
    "not base64",
    "nothing resets",
    "never resets",
    "begin at midnight",
)


@dataclass(frozen=True)
class Family:
    model: type[BaseModel]
    topic: str
    decode: Callable[[bytes | None], Any]
    state: Callable[[SourceRecord, Any], Any]
    seeds: list[dict[str, Any]]


_IDENTITY = {"schema_version": 1, "event_id": "e1", "source": "crm", "customer_id": "acme"}

FAMILIES = {
    "usage": Family(
        usage.Usage,
        USAGE.name,
        codec.decode_usage,
        canonical.usage_fact,
        [
            _IDENTITY,
            _IDENTITY
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
            _IDENTITY | {"name": "ticket_closed"},
            _IDENTITY
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
            _IDENTITY | {"denomination": "usd", "amount": "12.5"},
            _IDENTITY
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
        _IDENTITY
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
    [_IDENTITY | {"kind": "discard", "letter_id": "1-usage-0-7-0", "reason": "a test"}],
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


def mutant(family: Family, chance: random.Random) -> bytes:
    record = dict(chance.choice(family.seeds))
    names = [*family.model.model_fields, "unitz", "kind"]
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3))):
        match chance.randrange(5):
            case 0 | 1 | 2:
                record[chance.choice(names)] = chance.choice(VALUES)
            case 3 if record:
                del record[chance.choice(list(record))]
            case _:
                within(record, chance)
    text = json.dumps(record, ensure_ascii=chance.random() < 0.5)
    value = text.encode()
    if chance.random() < 0.15:
        place = chance.randrange(len(value))
        noise = chance.choice(
            (b"", b'"', b"\\", b"{", b"]", b"0", b"-", b",", b" ", b"\xff", b"\x00")
        )
        value = value[:place] + noise + value[place + chance.randrange(2) :]
    return value


def within(record: dict[str, Any], chance: random.Random) -> None:
    """Changes something inside the tokens or the metadata, where the record has them."""
    inner = [name for name, value in record.items() if isinstance(value, dict)]
    if inner:
        name = chance.choice(inner)
        keys = [*record[name], "input", "output_audio", "note", "imput"]
        record[name] = record[name] | {chance.choice(keys): chance.choice(VALUES)}


def by_contract(family: Family, value: bytes) -> dict[str, Any] | None:
    try:
        return plain(family.model.model_validate_json(value), family)
    except ValidationError:
        return None


def by_fast_path(family: Family, value: bytes) -> dict[str, Any] | RejectError:
    try:
        body = family.decode(value)
    except RejectError as refusal:
        return refusal
    source = SourceRecord(family.topic, 7, NOON_US, b"acme", value)
    try:
        family.state(source, body)
    except RejectError as refusal:
        if not any(words in refusal.reason for words in BEYOND_THE_SCHEMA):
            return refusal
    return plain(body, family)


def plain(record: Any, family: Family) -> dict[str, Any]:
    """Every field of a record by name, the classes of tokens among them."""
    found: dict[str, Any] = {}
    for name in family.model.model_fields:
        value = "grant" if name == "kind" else getattr(record, name)
        if name == "tokens" and value is not None:
            value = {inner: getattr(value, inner) for inner in usage.Tokens.model_fields}
        # True equals 1 in Python; the types must agree as well.
        found[name] = (type(value).__name__, value)
        if isinstance(value, dict):
            found[f"{name}, types"] = {key: type(inner) for key, inner in value.items()}
    return found


@pytest.mark.parametrize("name", FAMILIES)
def test_mutants_are_accepted_and_read_alike_by_model_and_fast_path(name: str) -> None:
    announce()
    family, chance = FAMILIES[name], random.Random(f"{SEED}-{name}")
    seen: Counter[str] = Counter()
    for _ in range(MUTANTS):
        value = mutant(family, chance)
        contract, fast = by_contract(family, value), by_fast_path(family, value)
        if isinstance(fast, RejectError):
            assert contract is None, f"refused by the fast path alone ({fast}): {value!r}"
            seen[fast.code] += 1
        else:
            assert contract is not None, f"refused by the model alone: {value!r}"
            assert fast == contract, f"read differently: {value!r}"
            seen["accepted"] += 1
    # Without a fair share of each the comparison would prove little.
    assert seen["accepted"] > MUTANTS // 10, seen
    for code in (RejectCode.MALFORMED, RejectCode.UNKNOWN_VERSION, RejectCode.UNKNOWN_FIELD):
        assert seen[code] > MUTANTS // 200, seen
    assert seen[RejectCode.INVALID_FIELD] > MUTANTS // 10, seen


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:24])
def test_every_value_in_every_field_is_judged_alike(name: str, value: Any) -> None:
    family = FAMILIES[name]
    for base in family.seeds:
        for field in family.model.model_fields:
            encoded = json.dumps(base | {field: value}).encode()
            contract, fast = by_contract(family, encoded), by_fast_path(family, encoded)
            assert (None if isinstance(fast, RejectError) else fast) == contract, encoded


def test_a_duplicate_key_whose_first_value_is_bad_is_refused_by_the_fast_path_alone() -> None:
    # The one disagreement, on the safe side: the model sees only the last of duplicate keys.
    value = json.dumps(_IDENTITY)[:-1].encode() + b',"units":-1,"units":1}'
    assert by_contract(FAMILIES["usage"], value) is not None
    assert isinstance(by_fast_path(FAMILIES["usage"], value), RejectError)
