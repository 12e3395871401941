"""schemas.codec: each refusal has its stable code, in the order that the codes promise."""

from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest

from schemas import codec
from schemas.errors import RejectCode, RejectError
from schemas.limits import (
    EVENT_BYTES_MAX,
    ID_BYTES_MAX,
    INTEGER_MAX,
    METADATA_ENTRIES_MAX,
    REASON_CHARS_MAX,
    REPLAY_BYTES_MAX,
    REPLAYED_KEY_BYTES_MAX,
    UNITS_MAX,
)
from schemas.structs import Discard, Grant, Replay
from tests import builders

HEAD = '{"schema_version":1,"event_id":"e1","source":"crm","customer_id":"acme"'


def usage_with(more: str) -> bytes:
    """A usage record with this JSON text after its identity."""
    return f"{HEAD},{more}}}".encode()


def refusal(value: bytes | None, decode: Callable[[bytes | None], Any] = codec.decode_usage) -> Any:
    with pytest.raises(RejectError) as caught:
        decode(value)
    return caught.value


def code_of(value: bytes | None) -> RejectCode:
    found: RejectCode = refusal(value).code
    return found


# --- what is accepted --------------------------------------------------------------------------


def test_the_smallest_usage_record_is_an_identity() -> None:
    body = codec.decode_usage(f"{HEAD}}}".encode())
    assert (body.event_id, body.customer_id, body.units, body.tokens) == ("e1", "acme", 0, None)
    assert (body.currency, body.success, body.occurred_at) == ("USD", True, None)


@pytest.mark.parametrize(
    ("decode", "body"),
    [
        (codec.decode_usage, builders.usage(tokens={"input": 3}, cost="1", metadata={"a": None})),
        (codec.decode_signal, builders.signal(quantity=3, cost_tracing=True)),
        (codec.decode_budget, builders.grant(expires_at="2027-01-01T00:00:00Z", priority=0)),
    ],
)
def test_what_is_encoded_is_decoded_to_the_same_and_the_same_bytes(
    decode: Callable[[bytes | None], Any], body: Any
) -> None:
    assert decode(codec.encode(body)) == body
    assert codec.encode(decode(codec.encode(body))) == codec.encode(body)


def test_the_last_of_duplicate_keys_counts() -> None:
    assert codec.decode_usage(usage_with('"units":1,"units":2')).units == 2


def test_an_id_may_have_128_bytes_of_several_byte_characters() -> None:
    longest = "é" * (ID_BYTES_MAX // 2)
    assert codec.decode_usage(usage_with(f'"agent_id":"{longest}"')).agent_id == longest


@pytest.mark.parametrize("text", ["é" * (ID_BYTES_MAX // 2) + "a", "\\u00e9" * 65, "😀" * 33])
@pytest.mark.parametrize("field", ["agent_id", "task_ref", "trace_id", "reservation_id"])
def test_an_id_of_more_than_128_bytes_is_refused_even_with_fewer_characters(
    field: str, text: str
) -> None:
    fault = refusal(usage_with(f'"{field}":"{text}"'))
    assert (fault.code, fault.field) == (RejectCode.INVALID_FIELD, field)


@pytest.mark.parametrize("field", ["event_id", "source", "customer_id"])
def test_an_identity_of_more_than_128_bytes_is_refused(field: str) -> None:
    fault = refusal(builders.json_of("acme", "e1", {field: "é" * 65}))
    assert (fault.code, fault.field) == (RejectCode.INVALID_FIELD, field)


def test_numbers_at_their_bounds_are_accepted() -> None:
    body = codec.decode_usage(
        usage_with(f'"units":{UNITS_MAX},"metadata":{{"a":{INTEGER_MAX},"b":-{INTEGER_MAX}}}')
    )
    assert body.units == UNITS_MAX
    assert body.metadata == {"a": INTEGER_MAX, "b": -INTEGER_MAX}


# --- what is refused, code by code -------------------------------------------------------------

NESTED = '"x":' + "[" * 5_000 + "]" * 5_000

REFUSED: list[tuple[str, bytes | None, RejectCode]] = [
    ("too many bytes", b"x" * (EVENT_BYTES_MAX + 1), RejectCode.OVERSIZED),
    ("a tombstone", None, RejectCode.EMPTY),
    ("no bytes", b"", RejectCode.MALFORMED),
    ("not JSON", b"{", RejectCode.MALFORMED),
    ("a number", b"1", RejectCode.MALFORMED),
    ("null", b"null", RejectCode.MALFORMED),
    ("a list", b"[]", RejectCode.MALFORMED),
    ("two objects", f"{HEAD}}}{{}}".encode(), RejectCode.MALFORMED),
    ("a byte order mark", b"\xef\xbb\xbf" + f"{HEAD}}}".encode(), RejectCode.MALFORMED),
    ("UTF-16", f"{HEAD}}}".encode("utf-16"), RejectCode.MALFORMED),
    ("no UTF-8", f"{HEAD}".encode() + b',"model":"\xff"}', RejectCode.MALFORMED),
    ("NaN", usage_with('"units":NaN'), RejectCode.MALFORMED),
    ("Infinity", usage_with('"units":Infinity'), RejectCode.MALFORMED),
    ("an integer beyond every float", usage_with('"units":' + "9" * 400), RejectCode.MALFORMED),
    ("a leading zero", usage_with('"units":01'), RejectCode.MALFORMED),
    ("an escaped lone surrogate", usage_with('"model":"\\ud800"'), RejectCode.MALFORMED),
    (
        "a raw lone surrogate",
        f'{HEAD},"model":"'.encode() + b'\xed\xa0\x80"}',
        RejectCode.MALFORMED,
    ),
    ("deep nesting", usage_with(NESTED), RejectCode.MALFORMED),
    ("deep nesting alone", b"[" * 60_000, RejectCode.MALFORMED),
    ("no version", b"{}", RejectCode.UNKNOWN_VERSION),
    ("a later version", b'{"schema_version":2}', RejectCode.UNKNOWN_VERSION),
    ("version 1.0", f"{HEAD}}}".replace("1", "1.0", 1).encode(), RejectCode.UNKNOWN_VERSION),
    ("version true", f"{HEAD}}}".replace("1", "true", 1).encode(), RejectCode.UNKNOWN_VERSION),
    ('version "1"', f"{HEAD}}}".replace("1", '"1"', 1).encode(), RejectCode.UNKNOWN_VERSION),
    ("version null", f"{HEAD}}}".replace("1", "null", 1).encode(), RejectCode.UNKNOWN_VERSION),
    ("an unknown field", usage_with('"unitz":1'), RejectCode.UNKNOWN_FIELD),
    ("a kind", usage_with('"kind":"usage"'), RejectCode.UNKNOWN_FIELD),
    ("an unknown class", usage_with('"tokens":{"imput":1}'), RejectCode.UNKNOWN_FIELD),
    ("no identity", b'{"schema_version":1}', RejectCode.INVALID_FIELD),
    ("negative units", usage_with('"units":-1'), RejectCode.INVALID_FIELD),
    ("too many units", usage_with(f'"units":{UNITS_MAX + 1}'), RejectCode.INVALID_FIELD),
    ("a huge integer", usage_with('"units":' + "9" * 100), RejectCode.INVALID_FIELD),
    ("a float", usage_with('"units":1.0'), RejectCode.INVALID_FIELD),
    ("an exponent", usage_with('"units":1e2'), RejectCode.INVALID_FIELD),
    ("a boolean as number", usage_with('"units":true'), RejectCode.INVALID_FIELD),
    ("a text as number", usage_with('"units":"1"'), RejectCode.INVALID_FIELD),
    ("a number as boolean", usage_with('"success":1'), RejectCode.INVALID_FIELD),
    ("a number as cost", usage_with('"cost":1.5'), RejectCode.INVALID_FIELD),
    ("null where none may be", usage_with('"units":null'), RejectCode.INVALID_FIELD),
    ("an empty id", usage_with('"agent_id":""'), RejectCode.INVALID_FIELD),
    ("a long name", usage_with(f'"model":"{"m" * 129}"'), RejectCode.INVALID_FIELD),
    ("a small currency", usage_with('"currency":"usd"'), RejectCode.INVALID_FIELD),
    ("a currency and a newline", usage_with('"currency":"USD\\n"'), RejectCode.INVALID_FIELD),
    (
        "too much metadata",
        usage_with(f'"metadata":{codec.encode({str(i): i for i in range(17)}).decode()}'),
        RejectCode.INVALID_FIELD,
    ),
    ("a float in metadata", usage_with('"metadata":{"a":1.5}'), RejectCode.INVALID_FIELD),
    ("a list in metadata", usage_with('"metadata":{"a":[]}'), RejectCode.INVALID_FIELD),
    (
        "a large integer in metadata",
        usage_with(f'"metadata":{{"a":{INTEGER_MAX + 1}}}'),
        RejectCode.INVALID_FIELD,
    ),
]


@pytest.mark.parametrize(
    ("value", "code"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_each_fault_has_its_stable_code(value: bytes | None, code: RejectCode) -> None:
    assert code_of(value) is code


def test_the_table_of_faults_names_every_code_that_the_codec_gives() -> None:
    order = list(RejectCode)
    codecs = set(order[: order.index(RejectCode.INVALID_FIELD) + 1])
    assert {case[2] for case in REFUSED} == codecs
    assert METADATA_ENTRIES_MAX == 16


@pytest.mark.parametrize(
    ("value", "code"),
    [
        # Each has the fault of its code and that of the next one.
        (b"{" + b"x" * EVENT_BYTES_MAX, RejectCode.OVERSIZED),
        (b'{"schema_version":2', RejectCode.MALFORMED),
        (b'{"schema_version":2,"unitz":1}', RejectCode.UNKNOWN_VERSION),
        (usage_with('"units":-1,"unitz":1'), RejectCode.UNKNOWN_FIELD),
        (usage_with('"unitz":1,"units":-1'), RejectCode.UNKNOWN_FIELD),
    ],
)
def test_of_two_faults_the_earlier_code_is_given(value: bytes, code: RejectCode) -> None:
    assert code_of(value) is code


def test_nesting_that_only_one_parser_bears_is_still_malformed() -> None:
    value = usage_with('"metadata":{"a":' + "[" * 500 + "]" * 500 + "}")
    assert code_of(value) is RejectCode.MALFORMED


# --- what a refusal says -----------------------------------------------------------------------


def test_a_refusal_names_the_path_of_the_bad_field() -> None:
    fault = refusal(usage_with('"tokens":{"input":-3}'))
    assert fault.field == "tokens.input"
    assert "greater than or equal to 0" in fault.reason


def test_a_reason_is_bounded_whatever_the_record_says() -> None:
    fault = refusal(usage_with(f'"{"x" * 10_000}":1'))
    assert len(fault.reason) <= REASON_CHARS_MAX
    assert len(fault.field) <= REASON_CHARS_MAX


@pytest.mark.parametrize("name", ["\\u0000", "\\n\\t", "\\u001b[31m", "é", "\\ud83d\\ude00"])
def test_a_reason_can_be_written_into_a_dead_letter(name: str) -> None:
    fault = refusal(usage_with(f'"{name}":1'))
    assert codec.encode({"reason": fault.reason, "field": fault.field})


def test_a_record_of_exactly_the_largest_size_is_read() -> None:
    value = f"{HEAD}}}".encode()
    assert codec.decode_usage(value + b" " * (EVENT_BYTES_MAX - len(value))).event_id == "e1"


def test_signals_and_grants_are_refused_by_the_same_codes() -> None:
    assert refusal(f"{HEAD}}}".encode(), codec.decode_signal).field == "name"
    assert refusal(f"{HEAD}}}".encode(), codec.decode_budget).field == "denomination"
    assert refusal(None, codec.decode_budget).code is RejectCode.EMPTY
    assert refusal(b'{"schema_version":7}', codec.decode_signal).code is RejectCode.UNKNOWN_VERSION


def test_a_grant_of_another_kind_is_refused() -> None:
    value = builders.json_of("acme", "g1", {"kind": "loan", "denomination": "unit", "amount": "1"})
    assert refusal(value, codec.decode_budget).field == "kind"


# --- what Tollgate wrote itself ----------------------------------------------------------------


def test_every_entry_of_a_cycle_is_decoded_to_itself() -> None:
    result = builders.cycle(
        builders.state(),
        builders.fact(builders.usage(tokens={"input": 5}, cost="0.5")),
        builders.fact(builders.signal()),
        builders.fact(builders.grant()),
        context=builders.context([("unit", "10")]),
    )
    assert len(result.entries) == 5
    for entry in result.entries:
        assert codec.decode_entry(codec.encode(entry)) == entry


def test_the_mark_of_an_entry_is_where_it_stands() -> None:
    entry = builders.cycle(builders.state(), builders.fact(builders.usage())).entries[1]
    mark = codec.decode_mark(codec.encode(entry))
    assert (mark.generation, mark.partition, mark.sequence) == (1, 0, 1)
    assert mark.decided_at == builders.NOON_US


def test_an_entry_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="kind"):
        codec.decode_entry(b'{"schema_version":1,"kind":"magic"}')


def test_rows_are_joined_by_newlines() -> None:
    assert codec.join_rows([b"{}", b"[]"]) == b"{}\n[]"


# --- budgets: kinds, sizes, and the version that a record names --------------------------------


def budget_record(kind: str | None, **fields: object) -> bytes:
    return builders.json_of("acme", "b1", ({"kind": kind} if kind else {}) | fields)


def replay_bytes(value: bytes, **more: object) -> bytes:
    fields = {
        "letter_id": "1-usage-0-7-0",
        "generation": 1,
        "topic": "usage",
        "partition": 0,
        "offset": 7,
        "appended_at": builders.NOON_US,
        "record_value": b64encode(value).decode(),
    }
    return budget_record("replay", **fields | more)


def test_a_budget_record_is_what_its_kind_says_and_a_grant_without_one() -> None:
    grant = {"denomination": "unit", "amount": "1"}
    assert isinstance(codec.decode_budget(budget_record(None, **grant)), Grant)
    assert isinstance(codec.decode_budget(budget_record("grant", **grant)), Grant)
    assert isinstance(codec.decode_budget(replay_bytes(b"{}")), Replay)
    discard = budget_record("discard", letter_id="1-usage-0-7-0", reason="a test")
    assert isinstance(codec.decode_budget(discard), Discard)


@pytest.mark.parametrize("kind", ["revoke", "Replay", ""])
def test_a_budget_record_of_an_unknown_kind_is_refused(kind: str) -> None:
    value = budget_record("x", denomination="unit", amount="1").replace(
        b'"x"', f'"{kind}"'.encode()
    )
    fault = refusal(value, codec.decode_budget)
    assert (fault.code, fault.field) == (RejectCode.INVALID_FIELD, "kind")


def test_the_largest_event_with_the_longest_ids_fits_its_replay() -> None:
    control = "\x01" * ID_BYTES_MAX
    largest = replay_bytes(
        b"x" * EVENT_BYTES_MAX,
        record_key=b64encode(b"k" * REPLAYED_KEY_BYTES_MAX).decode(),
        customer_id=control,
        event_id=control,
        source=control,
    )
    assert EVENT_BYTES_MAX < len(largest) <= REPLAY_BYTES_MAX
    assert isinstance(codec.decode_budget(largest), Replay)
    fault = refusal(replay_bytes(b"x" * (EVENT_BYTES_MAX + 3)), codec.decode_budget)
    assert fault.field == "record_value"


def test_only_a_replay_may_be_as_large_as_one() -> None:
    padded = budget_record("grant", denomination="unit", amount="1") + b" " * EVENT_BYTES_MAX
    assert refusal(padded, codec.decode_budget).code is RejectCode.OVERSIZED
    assert refusal(b"x" * (REPLAY_BYTES_MAX + 1), codec.decode_budget).code is RejectCode.OVERSIZED


@pytest.mark.parametrize(
    ("value", "version"),
    [
        (b'{"schema_version":1}', 1),
        (b'{"schema_version":7,"later":[1]}', 7),
        (b'{"schema_version":true}', None),
        (b'{"schema_version":1.0}', None),
        (b'{"schema_version":-1}', None),
        (b'{"schema_version":' + b"9" * 30 + b"}", None),
        (b"{}", None),
        (b"[]", None),
        (b"{", None),
        (b"\xff", None),
        (None, None),
        (b"[" * 60_000, None),
        (b'{"schema_version":1}' + b" " * REPLAY_BYTES_MAX, None),
    ],
)
def test_the_version_that_a_record_names_is_read_where_it_can_be(
    value: bytes | None, version: int | None
) -> None:
    assert codec.version_of(value) == version
