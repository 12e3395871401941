"""Bytes to records and back: the one decoder for Kafka and HTTP, the one encoder for what Tollgate
writes.

Decoding goes by the Structs; only a record they refuse is read again with Pydantic, for the reason
a person is given. A record is checked in the order of `RejectCode`: size, JSON, version, fields.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar, cast

import msgspec
import orjson
from pydantic import BaseModel, ValidationError

from schemas import (
    ask,
    budget,
    invoice,
    preflight,
    rpc,
    signal,
    structs,
    transfer,
    unassigned,
    usage,
)
from schemas.envelope import SCHEMA_VERSION
from schemas.errors import RejectCode, RejectError
from schemas.limits import (
    EVENT_BYTES_MAX,
    ID_BYTES_MAX,
    INTEGER_MAX,
    INVOICE_BYTES_MAX,
    REASON_CHARS_MAX,
    REPLAY_BYTES_MAX,
)
from schemas.structs import (
    AnswerRecord,
    Attribution,
    BudgetRecord,
    CatalogRecord,
    CatalogueItem,
    DeadLetter,
    LedgerEntry,
    Owner,
    PreflightRecord,
    Transfer,
    Unassigned,
)

T = TypeVar("T")

_ID_FIELDS: Final = (
    "event_id",
    "source",
    "customer_id",
    "agent_id",
    "task_ref",
    "trace_id",
    "scope_id",
    "span_id",
    "parent_span_id",
    "signal_source",
    "signal_event_id",
    "reservation_id",
    "account_id",
    "idempotency_key",
)

_encoder: Final = msgspec.json.Encoder()
_ledger_decoder: Final = msgspec.json.Decoder(LedgerEntry)
_catalog_decoder: Final = msgspec.json.Decoder(CatalogRecord)
_catalogue_decoder: Final = msgspec.json.Decoder(CatalogueItem)
_owner_decoder: Final = msgspec.json.Decoder(Owner)

encode: Final[Callable[[Any], bytes]] = _encoder.encode
"""The JSON of a Struct: fields in the order of the schema, defaults left out, the same bytes every
time."""


def encode_all(records: Sequence[Any]) -> list[bytes]:
    """The JSON of each Struct, as `encode` writes it: one call for all of them, split where a line
    ends, which JSON has nowhere inside."""
    lines = _encoder.encode_lines(records).split(b"\n")
    lines.pop()
    return lines


def _fact_decoder(
    struct: Any, model: type[BaseModel], bytes_max: int = EVENT_BYTES_MAX
) -> Callable[[bytes | None], Any]:
    decode = msgspec.json.Decoder(struct).decode
    id_fields = tuple(name for name in _ID_FIELDS if name in model.model_fields)

    def decode_fact(value: bytes | None) -> Any:
        if value is None:
            raise RejectError(RejectCode.EMPTY, "the record has no value")
        if len(value) > bytes_max:
            raise RejectError(
                RejectCode.OVERSIZED, f"{len(value)} bytes; a record may have {bytes_max}"
            )
        try:
            fact = decode(value)
        except (ValueError, RecursionError) as fault:
            raise explain(model, value, str(fault)) from None
        # Plain ASCII without an escape cannot hold an id of more bytes than characters.
        if not value.isascii() or b"\\" in value:
            for name in id_fields:
                text = getattr(fact, name)
                if text is not None and len(text.encode()) > ID_BYTES_MAX:
                    raise explain(model, value, f"{name} is longer than {ID_BYTES_MAX} bytes")
        return fact

    return decode_fact


decode_usage: Final[Callable[[bytes | None], usage.Usage]] = _fact_decoder(
    structs.Usage, usage.Usage
)
"""A usage record. Raises RejectError."""

decode_signal: Final[Callable[[bytes | None], signal.Signal]] = _fact_decoder(
    structs.Signal, signal.Signal
)
"""A signal record. Raises RejectError."""


class _Kinded(msgspec.Struct, gc=False):
    kind: str = ""


_kind_decoder: Final = msgspec.json.Decoder(_Kinded)
_decode_grant: Final = _fact_decoder(structs.Grant, budget.Grant)
BUDGET_DECODERS: Final = {
    "limit": _fact_decoder(structs.Limit, budget.Limit),
    "ceiling": _fact_decoder(structs.Ceiling, budget.Ceiling),
    "adjustment": _fact_decoder(structs.Adjustment, budget.Adjustment),
    "void": _fact_decoder(structs.Void, budget.Void),
    "replay": _fact_decoder(structs.Replay, budget.Replay, REPLAY_BYTES_MAX),
    "discard": _fact_decoder(structs.Discard, budget.Discard),
    "terms": _fact_decoder(structs.Terms, invoice.Terms),
    "credit": _fact_decoder(structs.Credit, invoice.Credit),
    "invoice_close": _fact_decoder(structs.InvoiceClose, invoice.InvoiceClose),
    "invoice_issue": _fact_decoder(structs.InvoiceIssue, invoice.InvoiceIssue, INVOICE_BYTES_MAX),
    "invoice_void": _fact_decoder(structs.InvoiceVoid, invoice.InvoiceVoid),
}
"""How the records of `budgets` that are no grants are decoded, by `kind`."""


def decode_budget(value: bytes | None) -> BudgetRecord:
    """A budget record: by its `kind`, a grant where it names none. Raises RejectError."""
    kind = ""
    if value is not None and len(value) <= INVOICE_BYTES_MAX:
        with suppress(ValueError, RecursionError):
            kind = _kind_decoder.decode(value).kind
    record: BudgetRecord = BUDGET_DECODERS.get(kind, _decode_grant)(value)
    return record


_preflight_decoders: Final = {
    "lease": _fact_decoder(structs.Lease, preflight.Lease),
    "preflight": _fact_decoder(structs.Preflight, preflight.Preflight),
    "release": _fact_decoder(structs.Release, preflight.Release),
    "extension": _fact_decoder(structs.Extension, preflight.Extension),
    "expiry": _fact_decoder(structs.Expiry, preflight.Expiry),
    "tick": _fact_decoder(structs.Tick, preflight.Tick),
}


def decode_preflights(value: bytes | None) -> PreflightRecord:
    """A record of `preflights`, by its `kind`. Raises RejectError."""
    kind = ""
    if value is not None and len(value) <= EVENT_BYTES_MAX:
        with suppress(ValueError, RecursionError):
            kind = _kind_decoder.decode(value).kind
    decode = _preflight_decoders.get(kind, _preflight_decoders["preflight"])
    record: PreflightRecord = decode(value)
    return record


decode_transfer: Final[Callable[[bytes | None], Transfer]] = _fact_decoder(
    structs.Transfer, transfer.Transfer
)
"""A transfer. Raises RejectError."""

decode_unassigned: Final[Callable[[bytes | None], Unassigned]] = _fact_decoder(
    structs.Unassigned, unassigned.Unassigned
)
"""A record of `unassigned`. Raises RejectError."""

AskRecord = ask.AskedPreflight | ask.AskedRelease | ask.AskedExtension
"""Everything that stands in `asks`."""

_ASKED: Final[dict[str, type[AskRecord]]] = {
    "release": ask.AskedRelease,
    "extension": ask.AskedExtension,
}


def decode_asked(value: bytes | None) -> AskRecord:
    """A record of `asks`: by its `kind`, a preflight where it names none. Raises RejectError.

    The contract itself reads it (20 µs): an owner takes several times as long for its answer.
    """
    if value is None:
        raise RejectError(RejectCode.EMPTY, "the record has no value")
    if len(value) > EVENT_BYTES_MAX:
        raise RejectError(
            RejectCode.OVERSIZED, f"{len(value)} bytes; a record may have {EVENT_BYTES_MAX}"
        )
    kind = ""
    with suppress(ValueError, RecursionError):
        kind = _kind_decoder.decode(value).kind
    model = _ASKED.get(kind, ask.AskedPreflight)
    try:
        return model.model_validate_json(value)
    except ValidationError as fault:
        raise explain(model, value, type(fault).__name__) from None


_answer_record_decoder: Final = msgspec.json.Decoder(AnswerRecord)


def decode_answer_record(value: bytes) -> AnswerRecord:
    """A record of `answers`. Raises ValueError where Tollgate did not write it."""
    record: AnswerRecord = _answer_record_decoder.decode(value)
    return record


decode_ask: Final[Callable[[bytes], rpc.Ask]] = msgspec.json.Decoder(rpc.Ask).decode
"""An ask as it crossed a hop. Raises ValueError."""

decode_answer: Final[Callable[[bytes], rpc.Answer]] = msgspec.json.Decoder(rpc.Answer).decode
"""An answer as it crossed a hop. Raises ValueError."""

MODELS: Final[dict[type[Any], type[BaseModel]]] = {
    structs.Usage: usage.Usage,
    structs.Signal: signal.Signal,
    structs.Grant: budget.Grant,
    structs.Limit: budget.Limit,
    structs.Ceiling: budget.Ceiling,
    structs.Adjustment: budget.Adjustment,
    structs.Void: budget.Void,
    structs.Replay: budget.Replay,
    structs.Discard: budget.Discard,
    structs.Terms: invoice.Terms,
    structs.Credit: invoice.Credit,
    structs.InvoiceClose: invoice.InvoiceClose,
    structs.InvoiceIssue: invoice.InvoiceIssue,
    structs.InvoiceVoid: invoice.InvoiceVoid,
}
"""The public contract behind each inbound Struct."""


def explain(model: type[BaseModel], value: bytes, fault: str) -> RejectError:
    """Why `value` is not a record of `model`, in the words of the public contract.

    `fault` is what the fast path found; it stands where the contract itself finds nothing wrong
    (which the differential fuzz says does not happen).
    """
    try:
        parsed = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        return RejectError(RejectCode.MALFORMED, _short(f"not JSON: {error}"))
    if not isinstance(parsed, dict):
        return RejectError(RejectCode.MALFORMED, "not a JSON object")
    version = parsed.get("schema_version")
    if type(version) is not int or version != SCHEMA_VERSION:
        return RejectError(
            RejectCode.UNKNOWN_VERSION,
            f"schema_version must be {SCHEMA_VERSION}, not {str(version)[:40]!r}",
            "schema_version",
        )
    try:
        model.model_validate_json(value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        first = min(found, key=lambda item: _CODES.index(_code(item["type"])))
        code = _code(first["type"])
        field = ".".join(str(part) for part in first["loc"])
        return RejectError(code, _short(f"{field}: {first['msg']}"), field[:REASON_CHARS_MAX])
    return RejectError(RejectCode.INVALID_FIELD, _short(fault))


_CODES: Final = (RejectCode.MALFORMED, RejectCode.UNKNOWN_FIELD, RejectCode.INVALID_FIELD)


def _code(kind: str) -> RejectCode:
    """The code of a Pydantic error: one parser may bear a nesting that the other refuses."""
    if kind == "json_invalid":
        return RejectCode.MALFORMED
    return RejectCode.UNKNOWN_FIELD if kind == "extra_forbidden" else RejectCode.INVALID_FIELD


def _short(text: str) -> str:
    # Control characters and lone surrogates of somebody's bytes would break the dead letter's JSON.
    clean = text.encode("utf-8", "replace").decode()
    return clean if len(clean) <= REASON_CHARS_MAX else clean[: REASON_CHARS_MAX - 1] + "…"


def decode_entry(value: bytes) -> LedgerEntry:
    """An entry of the ledger. Raises ValueError where Tollgate did not write it."""
    entry: LedgerEntry = _ledger_decoder.decode(value)
    return entry


class _Versioned(msgspec.Struct, gc=False):
    schema_version: Any = None


_version_decoder: Final = msgspec.json.Decoder(_Versioned)


def version_of(value: bytes | None) -> int | None:
    """The `schema_version` that a record names, whether this release knows it or not; None where
    its bytes name none that can be read."""
    if value is None or len(value) > REPLAY_BYTES_MAX:
        return None
    try:
        version = _version_decoder.decode(value).schema_version
    except (ValueError, RecursionError):
        return None
    return version if type(version) is int and 0 <= version <= INTEGER_MAX else None


decode_dead_letter: Final[Callable[[bytes], DeadLetter]] = msgspec.json.Decoder(DeadLetter).decode
"""A dead letter. Raises ValueError where Tollgate did not write it."""

decode_attribution: Final[Callable[[bytes], Attribution]] = msgspec.json.Decoder(Attribution).decode
"""An attribution. Raises ValueError where Tollgate did not write it."""


def owner_key(partition: int) -> bytes:
    """The Kafka key of an owner record: the number of the partition, so that the compacted topic
    keeps the latest of each."""
    return str(partition).encode()


def decode_owner(value: bytes) -> Owner:
    """An owner record. Raises ValueError where Tollgate did not write it."""
    return _owner_decoder.decode(value)


def catalog_key(record: CatalogRecord) -> bytes:
    """The Kafka key of a catalog record: kind, id and version, so that nothing is ever
    overwritten."""
    kind = cast(Any, record).__struct_config__.tag
    return f"{kind}/{record.id}/{record.version}".encode()


def decode_catalog(value: bytes) -> CatalogRecord:
    """A catalog record. Raises ValueError for an unknown kind or version."""
    record: CatalogRecord = _catalog_decoder.decode(value)
    return record


def catalogue_key(item: CatalogueItem) -> bytes:
    """The Kafka key of a catalogue item: family and id, so that the compacted topic keeps the
    latest of each."""
    return f"{item.family}/{item.id}".encode()


def decode_catalogue_item(value: bytes) -> CatalogueItem:
    """A catalogue item. Raises ValueError where Tollgate did not write it."""
    return _catalogue_decoder.decode(value)


class Mark(msgspec.Struct, frozen=True, gc=False):
    """Where a row stands: all that the sink needs to know of an outbound record."""

    generation: int
    partition: int
    sequence: int
    decided_at: int


_mark_decoder: Final = msgspec.json.Decoder(Mark)


def decode_mark(value: bytes) -> Mark:
    """The position of any outbound record, without decoding the rest of it. Raises ValueError."""
    return _mark_decoder.decode(value)


def state_codec(kind: type[T]) -> tuple[Callable[[T], bytes], Callable[[bytes], T]]:
    """Encoder and decoder of a state class (a Row) for stores and changelogs, as JSON."""
    return _encoder.encode, msgspec.json.Decoder(kind).decode


def to_plain(record: Any) -> Any:
    """A Struct as dicts, lists and scalars, for output to a person."""
    return msgspec.to_builtins(record)


def join_rows(values: Iterable[bytes]) -> bytes:
    """Records as one JSONEachRow body for ClickHouse."""
    return b"\n".join(values)
