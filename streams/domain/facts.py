"""Inbound records as the core sees them: decoded, with their position, their identity and exact
amounts.

Owns the canonical form of billing content (decision 002): which fields the body hash covers, in
which order, defaults left out, so that a field added by a later schema version does not change
older hashes.
"""

import binascii
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from schemas.budget import Denomination
from schemas.errors import RejectCode, RejectError
from schemas.limits import REASON_CHARS_MAX
from schemas.money import PICO, parse_amount
from schemas.structs import Discard, Grant, Replay, Signal, Tokens, Usage, Value
from schemas.times import parse_time_us

HASH_BYTES: Final = 16
"""128 bits: among 10**12 claims two ids meet by accident with a chance below 10**-14."""

NO_TOKENS: Final = Tokens()


@dataclass(slots=True)
class SourceRecord:
    """A record of an inbound topic as the log holds it. `topic` is the logical name, without
    prefix."""

    topic: str
    offset: int
    appended_at_us: int
    key: bytes | None
    value: bytes | None


@dataclass(slots=True)
class Rejected:
    """A record that cannot be a fact, with the reason: a dead letter to be."""

    record: SourceRecord
    code: RejectCode
    reason: str
    field: str = ""


class UsageFact(Value, frozen=True):
    """A usage record. `occurred_at_us` is the append time where the producer gave none."""

    record: SourceRecord
    body: Usage
    claim_key: bytes
    body_hash: bytes
    occurred_at_us: int
    cost_pico: int | None


@dataclass(slots=True)
class SignalFact:
    """A signal record."""

    record: SourceRecord
    body: Signal
    claim_key: bytes
    body_hash: bytes
    occurred_at_us: int


@dataclass(slots=True)
class GrantFact:
    """A grant record. `amount` counts units, tokens or pico-dollars."""

    record: SourceRecord
    body: Grant
    claim_key: bytes
    body_hash: bytes
    occurred_at_us: int
    amount: int
    effective_at_us: int | None
    expires_at_us: int | None


EventFact = UsageFact | SignalFact | GrantFact
"""What somebody says about a customer; the other facts are about records."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a replayed record lay: its entries are called by this position (decision 012)."""

    generation: int
    partition: int


@dataclass(slots=True)
class ReplayFact:
    """A dead letter, to be decided again. `inner` is the original with its own record, or why the
    present code still refuses its bytes."""

    record: SourceRecord
    body: Replay
    claim_key: bytes
    body_hash: bytes
    occurred_at_us: int
    origin: Origin
    inner: EventFact | Rejected


@dataclass(slots=True)
class DiscardFact:
    """A dead letter that will not be replayed."""

    record: SourceRecord
    body: Discard
    claim_key: bytes
    body_hash: bytes
    occurred_at_us: int


Fact = EventFact | ReplayFact | DiscardFact


def claim_keys(fact: Fact) -> tuple[bytes, ...]:
    """The keys of all claims that deciding this fact looks at."""
    if isinstance(fact, ReplayFact) and not isinstance(fact.inner, Rejected):
        return (fact.claim_key, fact.inner.claim_key)
    return (fact.claim_key,)


def claim_key(topic: str, customer_id: str, source: str, event_id: str) -> bytes:
    """The 16 bytes under which an id is claimed: a function of (topic, customer, source, event id).

    The parts are free text, so each but the last is preceded by its length: no two different
    identities join to the same text.
    """
    text = f"{topic}:{len(customer_id)}:{customer_id}{len(source)}:{source}{event_id}"
    return blake2b(text.encode(), digest_size=HASH_BYTES).digest()


def _hash(content: list[object]) -> bytes:
    # ascii() of strings and integers is unambiguous and the same on every Python; repr() is not, it
    # depends on the version of Unicode.
    return blake2b(ascii(content).encode(), digest_size=HASH_BYTES).digest()


def _time(field: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_time_us(text)
    except ValueError as fault:
        raise RejectError(RejectCode.INVALID_FIELD, f"{field}: {fault}", field) from None


def _amount(field: str, text: str) -> int:
    try:
        return parse_amount(text)
    except ValueError as fault:
        raise RejectError(RejectCode.INVALID_FIELD, f"{field}: {fault}", field) from None


def _bytes(field: str, text: str) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except (ValueError, binascii.Error):
        raise RejectError(RejectCode.INVALID_FIELD, f"{field}: not base64", field) from None


def usage_fact(record: SourceRecord, body: Usage) -> UsageFact:
    """The fact that a decoded usage record states. Raises RejectError for an impossible time or
    amount."""
    occurred = _time("occurred_at", body.occurred_at)
    cost = None if body.cost is None else _amount("cost", body.cost)
    # The text is that of a list of these values as ascii() writes it (see `_hash`).
    content = f"[{occurred}, {body.units}"
    if cost is not None:
        content += f", 'cost', {cost}, {body.currency!a}"
    tokens = body.tokens
    if tokens is not None and tokens != NO_TOKENS:
        content += (
            f", 'tokens', {tokens.input}, {tokens.cache_read}, {tokens.cache_write}, "
            f"{tokens.output}, {tokens.reasoning}"
        )
        if tokens.input_audio or tokens.output_audio:
            content += f", 'audio', {tokens.input_audio}, {tokens.output_audio}"
    if body.provider is not None:
        content += f", 'provider', {body.provider!a}"
    if body.model is not None:
        content += f", 'model', {body.model!a}"
    if body.agent_id is not None:
        content += f", 'agent_id', {body.agent_id!a}"
    if body.task_ref is not None:
        content += f", 'task_ref', {body.task_ref!a}"
    if body.trace_id is not None:
        content += f", 'trace_id', {body.trace_id!a}"
    if not body.success:
        content += ", 'failed'"
    if body.reservation_id is not None:
        content += f", 'reservation_id', {body.reservation_id!a}"
    return UsageFact(
        record,
        body,
        claim_key(record.topic, body.customer_id, body.source, body.event_id),
        blake2b((content + "]").encode(), digest_size=HASH_BYTES).digest(),
        record.appended_at_us if occurred is None else occurred,
        cost,
    )


def signal_fact(record: SourceRecord, body: Signal) -> SignalFact:
    """The fact that a decoded signal record states. Raises RejectError for an impossible time."""
    occurred = _time("occurred_at", body.occurred_at)
    content: list[object] = [occurred, body.name, body.quantity]
    for field in ("agent_id", "trace_id", "scope_id"):
        text = getattr(body, field)
        if text is not None:
            content += (field, text)
    if body.cost_tracing:
        content.append("cost_tracing")
    return SignalFact(
        record,
        body,
        claim_key(record.topic, body.customer_id, body.source, body.event_id),
        _hash(content),
        record.appended_at_us if occurred is None else occurred,
    )


def grant_fact(record: SourceRecord, body: Grant) -> GrantFact:
    """The fact that a decoded grant states. Raises RejectError for impossible times and amounts: a
    fraction of a unit or token, nothing at all, an end before the beginning."""
    occurred = _time("occurred_at", body.occurred_at)
    effective = _time("effective_at", body.effective_at)
    expires = _time("expires_at", body.expires_at)
    amount = parse_balance("amount", body.amount, body.denomination)
    if amount == 0:
        raise RejectError(
            RejectCode.INVALID_FIELD, "amount: a grant must grant something", "amount"
        )
    if expires is not None and effective is not None and expires <= effective:
        raise RejectError(
            RejectCode.INVALID_FIELD, "expires_at: not after effective_at", "expires_at"
        )
    content: list[object] = ["grant", occurred, body.denomination.value, amount, body.priority]
    content += (effective, expires, body.reason)
    if body.resets is not None:
        content += ("resets", body.resets.value)
    return GrantFact(
        record,
        body,
        claim_key(record.topic, body.customer_id, body.source, body.event_id),
        _hash(content),
        record.appended_at_us if occurred is None else occurred,
        amount,
        effective,
        expires,
    )


def original_record(body: Replay) -> SourceRecord:
    """The record that a replay carries, as it lay in the log. Raises RejectError."""
    key = None if body.record_key is None else _bytes("record_key", body.record_key)
    value = _bytes("record_value", body.record_value)
    return SourceRecord(body.topic, body.offset, body.appended_at, key, value)


def replay_fact(record: SourceRecord, body: Replay, inner: EventFact | Rejected) -> ReplayFact:
    """The fact that a decoded replay states about `inner`, its decoded original.

    Raises RejectError where the original names another customer: it would be decided in a partition
    that knows neither the customer's claims nor the balance.
    """
    if not isinstance(inner, Rejected) and inner.body.customer_id != body.customer_id:
        raise RejectError(
            RejectCode.INVALID_FIELD,
            "customer_id: not the customer of the original",
            "customer_id",
        )
    occurred = _time("occurred_at", body.occurred_at)
    content: list[object] = ["replay", occurred, body.letter_id, body.generation, body.topic]
    content += (body.partition, body.offset, body.appended_at, body.record_key, body.record_value)
    return ReplayFact(
        record,
        body,
        claim_key(record.topic, body.customer_id, body.source, body.event_id),
        _hash(content),
        record.appended_at_us if occurred is None else occurred,
        Origin(body.generation, body.partition),
        inner,
    )


def discard_fact(record: SourceRecord, body: Discard) -> DiscardFact:
    """The fact that a decoded discard states. Raises RejectError for an impossible time."""
    occurred = _time("occurred_at", body.occurred_at)
    content: list[object] = ["discard", occurred, body.letter_id, body.reason]
    return DiscardFact(
        record,
        body,
        claim_key(record.topic, body.customer_id, body.source, body.event_id),
        _hash(content),
        record.appended_at_us if occurred is None else occurred,
    )


def internal(record: SourceRecord, fault: Exception) -> Rejected:
    """The refusal of a record over which our own code stumbled (K2).

    The reason names the kind of the exception and the function, and never its message, which may
    quote what the record holds.
    """
    place, trace = "", fault.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        place = f" in {frame.f_globals.get('__name__', '')}.{frame.f_code.co_qualname}"
        trace = trace.tb_next
    reason = f"our own fault: {type(fault).__name__}{place}; replay it with a release that mends it"
    return Rejected(record, RejectCode.INTERNAL, reason[:REASON_CHARS_MAX])


def parse_balance(field: str, text: str, denomination: Denomination) -> int:
    """An amount in the smallest step of its denomination: whole units, whole tokens, pico-dollars.

    Raises RejectError for a fraction of a unit or token.
    """
    pico = _amount(field, text)
    if denomination is Denomination.USD:
        return pico
    whole, fraction = divmod(pico, PICO)
    if fraction:
        raise RejectError(
            RejectCode.INVALID_FIELD, f"{field}: {denomination}s come whole, not {text}", field
        )
    return whole
