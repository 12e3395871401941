"""The demo's records: as many of each kind as promised, the same in every run."""

import hashlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import date
from functools import cache

import pytest
from pydantic import ValidationError

from schemas import codec
from schemas.errors import RejectCode
from schemas.partitioner import partition_of
from schemas.times import parse_time_us
from schemas.usage import Usage
from streams.demo.customers import customer_of
from streams.demo.events import DemoRecord, Outcome, Scenario
from streams.demo.malformed import KINDS
from streams.demo.sequence import REPEAT_EVERY, build_records
from streams.demo.trace import SERVICES, read_calls

SCENARIO = Scenario(day=date(2026, 1, 14), customers=50, partitions=8)


@cache
def everything() -> Sequence[DemoRecord]:
    return build_records(read_calls(), SCENARIO)


def digest(records: Sequence[DemoRecord]) -> str:
    text = "\n".join(f"{r.partition} {r.key!r} {r.value!r} {r.outcome} {r.code}" for r in records)
    return hashlib.sha256(text.encode()).hexdigest()


def test_every_call_of_both_files_is_sent_once_as_an_event_of_its_own() -> None:
    ids = [json.loads(r.value or b"")["event_id"] for r in of(Outcome.ACCEPTED)]
    assert len(ids) == len(set(ids)) == 8_819 + 19_366


def test_one_event_in_ten_is_sent_twice_byte_for_byte_after_the_first() -> None:
    seen: set[bytes | None] = set()
    repeats = 0
    for record in everything():
        if record.outcome is Outcome.DUPLICATE:
            assert record.value in seen
            repeats += 1
        elif record.outcome is Outcome.ACCEPTED:
            seen.add(record.value)
    assert repeats == 28_185 // REPEAT_EVERY


def test_some_repeats_follow_at_once_and_some_much_later() -> None:
    places = {r.value: place for place, r in enumerate(everything()) if r.outcome == "accepted"}
    distances = [
        place - places[r.value]
        for place, r in enumerate(everything())
        if r.outcome is Outcome.DUPLICATE
    ]
    at_once = sum(distance <= 2 for distance in distances)
    assert 0.4 < at_once / len(distances) < 0.6
    assert max(distances) > 4_000


def test_a_conflict_has_an_accepted_id_other_tokens_and_stands_after_the_original() -> None:
    tokens: dict[str, object] = {}
    conflicts = 0
    for record in everything():
        if record.outcome is Outcome.ACCEPTED:
            body = json.loads(record.value or b"")
            tokens[body["event_id"]] = body["tokens"]
        elif record.code == RejectCode.CONFLICT:
            body = json.loads(record.value or b"")
            assert tokens[body["event_id"]] != body["tokens"]
            conflicts += 1
    assert conflicts == 28_185 // 200


def test_each_kind_of_malformed_record_is_there_with_its_code() -> None:
    codes = Counter(r.code for r in everything() if r.code and r.code != RejectCode.CONFLICT)
    assert codes == {
        code: 10 * count for code, count in Counter(kind.code for kind in KINDS).items()
    }
    of_invoices = {code for code in RejectCode if "invoice" in code.value}
    assert codes.keys() == set(RejectCode) - of_invoices - {
        "conflict",
        "too_many_grants",
        "too_many_limits",
        "unit_mismatch",
        "other_customer",
        "too_many_waiting",
        "no_customer",
        "internal",
        *(code for code in RejectCode if "invoice" in code),
    }


def test_a_small_run_has_every_kind_too() -> None:
    records = build_records(read_calls(1_000), SCENARIO)
    assert {r.code for r in records if r.code} == {r.code for r in everything() if r.code}
    assert Counter(r.outcome for r in records)[Outcome.DUPLICATE] == 100


def test_good_records_keep_the_public_contract_and_bad_values_break_it() -> None:
    for record in everything()[:2_000]:
        value = record.value or b""
        if record.outcome is not Outcome.DEAD_LETTER:
            body = Usage.model_validate_json(value)
            assert body.customer_id.encode() == record.key
            assert partition_of(record.key, 8) == record.partition
            assert codec.decode_usage(value).event_id == body.event_id
    for record in everything():
        if record.code in (RejectCode.UNKNOWN_FIELD, RejectCode.INVALID_FIELD):
            with pytest.raises(ValidationError):
                Usage.model_validate_json(record.value or b"")


def test_a_call_keeps_its_time_of_day_cut_to_microseconds_on_the_day_of_the_run() -> None:
    first = json.loads(next(r.value or b"" for r in everything() if r.outcome == "accepted"))
    assert first["event_id"] == "azure-conv-00001"
    # The file says 2023-11-16 18:15:46.6805900.
    assert first["occurred_at"] == "2026-01-14T18:15:46.680590Z"
    assert parse_time_us(first["occurred_at"]) % 1_000_000 == 680_590


def test_two_processes_with_other_hash_seeds_build_the_same_records() -> None:
    code = (
        "from datetime import date; from tests.unit.demo.test_demo_events import digest;"
        "from streams.demo.events import Scenario; from streams.demo.trace import read_calls;"
        "from streams.demo.sequence import build_records;"
        "print(digest(build_records(read_calls(3000), Scenario(date(2026, 1, 14), 50, 8))))"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_the_sizes_of_the_customers_are_unequal_and_only_a_few_pass_their_free_units() -> None:
    calls = Counter(customer_of(call.event_id, 50) for call in read_calls())
    sizes = [count for _, count in calls.most_common()]
    assert len(sizes) == 50
    assert sizes[0] > 20 * sizes[-1]
    assert 3 <= sum(size > 1_000 for size in sizes) <= 10


def test_with_one_partition_nothing_is_sent_to_another() -> None:
    records = build_records(read_calls(500), Scenario(date(2026, 1, 14), 5, 1))
    assert {r.partition for r in records} == {0}
    assert RejectCode.WRONG_PARTITION not in {r.code for r in records}


def test_the_two_services_have_different_models() -> None:
    assert len({service.model for service in SERVICES}) == 2


def of(outcome: Outcome) -> list[DemoRecord]:
    return [record for record in everything() if record.outcome is outcome]
