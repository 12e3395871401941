"""The Pydantic models and the fast decoder agree: on what they accept, and on every value.

Mutants of valid records go through both. The fast side is the Struct decoder and the fact checks
after it; together they must accept what the model accepts and read the same values. Facts refuse a
little more than their schema (BEYOND_THE_SCHEMA): rules about two fields together, which a schema
cannot say.
"""

import json
import random
from collections import Counter
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from schemas import usage
from schemas.errors import RejectCode, RejectError
from schemas.topics import PREFLIGHTS, TRANSFERS
from streams.domain.facts import SourceRecord
from tests.builders import NOON_US
from tests.property.seed import SEED, announce
from tests.unit.schemas.families import FAMILIES, IDENTITY, VALUES, Family

MUTANTS = 10_000
"""Per family: 140,000 in all, about eight seconds."""

OURS = (PREFLIGHTS.name, TRANSFERS.name)
STRICTER = "is longer than 128 bytes"
"""Of a few texts in records of our own the schema counts characters, the decoder bytes."""

Plain = dict[str, Any]

BEYOND_THE_SCHEMA = (
    "must grant something",
    "come whole",
    "not after effective_at",
    "not base64",
    "nothing resets",
    "never resets",
    "goes with an amount and with occurred_at",
    "more than was granted",
    "go together",
    "begin at midnight",
    "name a plan or a card",
    "worth something",
    "follow on one another",
    "stand together",
    "do not end with",
    "was due",
    "ends before it begins",
)


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
    """Changes something inside a part of the record, where it has any: tokens, metadata, holds."""
    inner = [name for name, value in record.items() if value and isinstance(value, dict | list)]
    if inner:
        name = chance.choice(inner)
        parts = record[name] if isinstance(record[name], list) else [record[name]]
        if not isinstance(parts[0], dict):
            return
        keys = [*parts[0], "input", "output_audio", "note", "imput"]
        changed = parts[0] | {chance.choice(keys): chance.choice(VALUES)}
        record[name] = [changed, *parts] if isinstance(record[name], list) else changed


def by_contract(family: Family, value: bytes) -> Plain | None:
    try:
        return plain(family.model.model_validate_json(value), family)
    except ValidationError:
        return None


def by_fast_path(family: Family, value: bytes, contract: Plain | None) -> Plain | RejectError:
    try:
        body = family.decode(value)
    except RejectError as refusal:
        return refusal
    source = SourceRecord(family.topic, 7, NOON_US, b"acme", value)
    try:
        family.state(source, body)
    except RejectError as refusal:
        # Where the schema refuses it as well, that field may come after this rule.
        if contract is None or not any(words in refusal.reason for words in BEYOND_THE_SCHEMA):
            return refusal
    return plain(body, family)


def judged(family: Family, value: bytes) -> tuple[Plain | None, Plain | RejectError]:
    """What the contract and the fast path make of a record."""
    contract = by_contract(family, value)
    fast = by_fast_path(family, value, contract)
    if isinstance(fast, RejectError) and STRICTER in fast.reason and family.topic in OURS:
        contract = None
    return contract, fast


def plain(record: Any, family: Family) -> dict[str, Any]:
    """Every field of a record by name, the fields of its parts among them."""
    found: dict[str, Any] = {}
    for name in family.model.model_fields:
        value = "grant" if name == "kind" else getattr(record, name)
        if name == "tokens" and not isinstance(value, int | None):
            value = {inner: getattr(value, inner) for inner in usage.Tokens.model_fields}
        if isinstance(value, list):
            value = [dump(part) for part in value]
        # True equals 1 in Python; the types must agree as well.
        found[name] = (type(value).__name__, value)
        if isinstance(value, dict):
            found[f"{name}, types"] = {key: type(inner) for key, inner in value.items()}
    return found


def dump(part: Any) -> Any:
    """A part of a record, whichever side it is from."""
    if isinstance(part, BaseModel):
        return part.model_dump()
    # As JSON a Struct leaves its defaults out.
    return {name: getattr(part, name) for name in part.__struct_fields__}


@pytest.mark.parametrize("name", FAMILIES)
def test_mutants_are_accepted_and_read_alike_by_model_and_fast_path(name: str) -> None:
    announce()
    family, chance = FAMILIES[name], random.Random(f"{SEED}-{name}")
    seen: Counter[str] = Counter()
    for _ in range(MUTANTS):
        value = mutant(family, chance)
        contract, fast = judged(family, value)
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
            contract, fast = judged(family, encoded)
            assert (None if isinstance(fast, RejectError) else fast) == contract, encoded


def test_a_duplicate_key_whose_first_value_is_bad_is_refused_by_the_fast_path_alone() -> None:
    # The one disagreement, on the safe side: the model sees only the last of duplicate keys.
    value = json.dumps(IDENTITY)[:-1].encode() + b',"units":-1,"units":1}'
    assert by_contract(FAMILIES["usage"], value) is not None
    assert isinstance(by_fast_path(FAMILIES["usage"], value, None), RejectError)
