"""From a decoded body to the fact that it states: identity, exact amounts and times.

Owns the canonical form of billing content (decision 002): which fields the body hash covers, in
which order, defaults left out, so that a field added by a later schema version does not change
older hashes.
"""

import binascii
from collections.abc import Mapping
from hashlib import blake2b
from typing import TypeVar

from schemas.budget import Denomination
from schemas.errors import RejectCode, RejectError
from schemas.money import PICO, parse_amount
from schemas.structs import (
    Ceiling,
    Discard,
    Expiry,
    Extension,
    Grant,
    Lease,
    Limit,
    Preflight,
    Release,
    Replay,
    Signal,
    Tick,
    Transfer,
    Usage,
)
from schemas.times import parse_time_us
from schemas.usage import refuse_exceeding_part
from streams.domain.facts import (
    HASH_BYTES,
    NO_TOKENS,
    CeilingFact,
    DiscardFact,
    EventFact,
    GrantFact,
    HoldFact,
    LeaseFact,
    LimitFact,
    Origin,
    OwnerFact,
    PreflightFact,
    Rejected,
    ReplayFact,
    SignalFact,
    SourceRecord,
    TransferFact,
    UsageFact,
    claim_key,
    closed_key,
    preflight_key,
)
from streams.domain.periods import DAY_US

B = TypeVar("B", Signal, Grant, Limit, Ceiling, Replay, Discard)


def hash_content(content: list[object]) -> bytes:
    """The body hash of this billing content: a list of texts, whole numbers, True, False, None."""
    # ascii() of strings and integers is unambiguous and the same on every Python; repr() is not, it
    # depends on the version of Unicode.
    return blake2b(ascii(content).encode(), digest_size=HASH_BYTES).digest()


def read_time(field: str, text: str | None) -> int | None:
    """A time in microseconds. Raises RejectError that names the field."""
    if text is None:
        return None
    try:
        return parse_time_us(text)
    except ValueError as fault:
        raise RejectError(RejectCode.INVALID_FIELD, f"{field}: {fault}", field) from None


def read_amount(field: str, text: str) -> int:
    """An amount in pico. Raises RejectError that names the field."""
    try:
        return parse_amount(text)
    except ValueError as fault:
        raise RejectError(RejectCode.INVALID_FIELD, f"{field}: {fault}", field) from None


def _bytes(field: str, text: str) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except (ValueError, binascii.Error):
        raise RejectError(RejectCode.INVALID_FIELD, f"{field}: not base64", field) from None


def _stated(
    record: SourceRecord, body: B, occurred_us: int | None, content: list[object], kind: str = ""
) -> tuple[SourceRecord, B, bytes, bytes, int]:
    """What the fact of an identified body begins with: record, body, claim key, body hash, event
    time. `kind` is the topic's name unless its records claim in several ways."""
    return (
        record,
        body,
        claim_key(kind or record.topic, body.customer_id, body.source, body.event_id),
        hash_content(content),
        record.appended_at_us if occurred_us is None else occurred_us,
    )


def usage_fact(record: SourceRecord, body: Usage) -> UsageFact:
    """The fact that a decoded usage record states. Raises RejectError for an impossible time or
    amount."""
    occurred = read_time("occurred_at", body.occurred_at)
    cost = None if body.cost is None else read_amount("cost", body.cost)
    # The text is that of a list of these values as ascii() writes it (see `hash_content`).
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
    if body.scope_id is not None:
        content += f", 'scope_id', {body.scope_id!a}"
    if body.span_id is not None:
        # Whether a span repeats another one's usage depends on both.
        content += f", 'span', {body.span_id!a}, {body.parent_span_id!a}"
    if body.outer:
        content += ", 'outer'"
    if not body.success:
        content += ", 'failed'"
    if body.reservation_id is not None:
        content += f", 'reservation_id', {body.reservation_id!a}"
    if body.settles_oldest:
        content += ", 'settles_oldest'"
    if body.usage_missing:
        content += ", 'usage_missing'"
    if body.quantities is not None:
        content += _quantities(body, body.quantities)
    if body.conditions:
        content += f", 'conditions', {sorted(body.conditions.items())!a}"
    return UsageFact(
        record,
        body,
        claim_key(record.topic, body.customer_id, body.source, body.event_id),
        blake2b((content + "]").encode(), digest_size=HASH_BYTES).digest(),
        record.appended_at_us if occurred is None else occurred,
        cost,
    )


def _quantities(body: Usage, quantities: Mapping[str, int]) -> str:
    """What the hash covers of them. Raises RejectError where parts exceed their whole."""
    refuse_exceeding_part(body.tokens, quantities)
    used = sorted(item for item in quantities.items() if item[1])
    return f", 'quantities', {used!a}" if used else ""


def signal_fact(record: SourceRecord, body: Signal) -> SignalFact:
    """The fact that a decoded signal record states. Raises RejectError for an impossible time."""
    occurred = read_time("occurred_at", body.occurred_at)
    content: list[object] = [occurred, body.name, body.quantity]
    for field in ("agent_id", "trace_id", "scope_id"):
        text = getattr(body, field)
        if text is not None:
            content += (field, text)
    if body.cost_tracing:
        content.append("cost_tracing")
    if body.weight != 1:
        content += ("weight", body.weight)
    return SignalFact(*_stated(record, body, occurred, content))


def grant_fact(record: SourceRecord, body: Grant) -> GrantFact:
    """The fact that a decoded grant states. Raises RejectError for impossible times and amounts: a
    fraction of a unit or token, nothing at all, an end before the beginning."""
    occurred = read_time("occurred_at", body.occurred_at)
    effective = read_time("effective_at", body.effective_at)
    expires = read_time("expires_at", body.expires_at)
    read_time("anchor", body.anchor)
    if body.rollover_max is not None:
        read_amount("rollover_max", body.rollover_max)
    amount = parse_balance("amount", body.amount, body.denomination)
    if amount == 0:
        raise RejectError(
            RejectCode.INVALID_FIELD, "amount: a grant must grant something", "amount"
        )
    if expires is not None and effective is not None and expires <= effective:
        raise RejectError(
            RejectCode.INVALID_FIELD, "expires_at: not after effective_at", "expires_at"
        )
    anchor = _anchor(body)
    rollover_max = 0
    if body.rollover_max is not None:
        rollover_max = parse_balance("rollover_max", body.rollover_max, body.denomination)
        if body.resets is None:
            raise RejectError(
                RejectCode.INVALID_FIELD, "rollover_max: the grant never resets", "rollover_max"
            )
    content: list[object] = ["grant", occurred, body.denomination.value, amount, body.priority]
    content += (effective, expires, body.reason)
    if body.resets is not None:
        content += ("resets", body.resets.value)
    if anchor is not None:
        content += ("anchor", anchor)
    if rollover_max:
        content += ("rollover_max", rollover_max)
    if body.used is not None and body.resets is None:
        raise RejectError(
            RejectCode.INVALID_FIELD, "used: the grant never resets, so say what is left", "used"
        )
    used = _used(body)
    if used is not None:
        content += ("used", used)
        if used > amount:
            raise RejectError(RejectCode.INVALID_FIELD, "used: more than was granted", "used")
    stated = _stated(record, body, occurred, content)
    return GrantFact(*stated, amount, effective, expires, anchor, rollover_max, used)


def _used(body: Grant | Limit) -> int | None:
    """What a grant or limit that was carried over says of its use. It belongs to the period of
    the record's own time, which therefore has to be there."""
    if body.used is None:
        return None
    if body.occurred_at is None or body.amount is None:
        raise RejectError(
            RejectCode.INVALID_FIELD, "used: goes with an amount and with occurred_at", "used"
        )
    used = parse_balance("used", body.used.removeprefix("-"), body.denomination)
    return -used if body.used.startswith("-") else used


def _anchor(body: Grant | Limit) -> int | None:
    anchor = read_time("anchor", body.anchor)
    if anchor is None:
        return None
    if body.resets is None:
        raise RejectError(RejectCode.INVALID_FIELD, "anchor: nothing resets", "anchor")
    if anchor % DAY_US:
        raise RejectError(
            RejectCode.INVALID_FIELD, "anchor: periods begin at midnight in UTC", "anchor"
        )
    return anchor


def limit_fact(record: SourceRecord, body: Limit) -> LimitFact:
    """The fact that a decoded limit states. Raises RejectError for impossible times and amounts."""
    occurred = read_time("occurred_at", body.occurred_at)
    anchor = _anchor(body)
    amount = None
    if body.amount is not None:
        amount = parse_balance("amount", body.amount, body.denomination)
    content: list[object] = ["limit", occurred, body.agent_id, body.denomination.value, amount]
    content += (None if body.resets is None else body.resets.value, anchor)
    used = _used(body)
    if used is not None:
        content += ("used", used)
    return LimitFact(*_stated(record, body, occurred, content), amount, anchor, used)


def ceiling_fact(record: SourceRecord, body: Ceiling) -> CeilingFact:
    """The fact that a decoded ceiling states. Raises RejectError for impossible times and
    amounts."""
    occurred = read_time("occurred_at", body.occurred_at)
    amount = parse_balance("amount", body.amount, body.denomination)
    content: list[object] = ["ceiling", occurred, body.denomination.value, amount]
    # A task's ref may be the id of a customer: their records claim apart.
    stated = _stated(record, body, occurred, content, kind=f"{record.topic}.task")
    return CeilingFact(*stated, amount)


def owner_fact(
    record: SourceRecord, body: Lease | Preflight | Release | Extension | Expiry | Tick
) -> OwnerFact:
    """The fact that a decoded record of `preflights` states. Raises RejectError for an impossible
    amount."""
    if isinstance(body, Lease | Tick):
        return LeaseFact(record, body, body.decided_at)
    if not isinstance(body, Preflight):
        key = closed_key(body.account_kind, body.account_id, body.reservation_id)
        return HoldFact(record, body, key, body.decided_at)
    ceiling = None
    if body.task_ceiling is not None:
        ceiling = parse_balance("task_ceiling", body.task_ceiling, body.denomination)
    for field in ("asked_estimate", "ceiling", "remaining"):
        text = getattr(body, field)
        if text is not None:
            read_amount(field, text)
    return PreflightFact(
        record,
        body,
        preflight_key(body.account_kind, body.account_id, body.source, body.idempotency_key),
        bytes.fromhex(body.body_hash),
        body.decided_at,
        parse_balance("estimate", body.estimate, body.denomination),
        ceiling,
    )


def transfer_fact(record: SourceRecord, body: Transfer) -> TransferFact:
    """The fact that a decoded transfer states."""
    return TransferFact(record, body, body.decided_at)


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
    occurred = read_time("occurred_at", body.occurred_at)
    content: list[object] = ["replay", occurred, body.letter_id, body.generation, body.topic]
    content += (body.partition, body.offset, body.appended_at, body.record_key, body.record_value)
    origin = Origin(body.generation, body.partition)
    return ReplayFact(*_stated(record, body, occurred, content), origin, inner)


def discard_fact(record: SourceRecord, body: Discard) -> DiscardFact:
    """The fact that a decoded discard states. Raises RejectError for an impossible time."""
    occurred = read_time("occurred_at", body.occurred_at)
    content: list[object] = ["discard", occurred, body.letter_id, body.reason]
    return DiscardFact(*_stated(record, body, occurred, content))


def parse_balance(field: str, text: str, denomination: Denomination) -> int:
    """An amount in the smallest step of its denomination: whole units, whole tokens, pico-dollars.

    Raises RejectError for a fraction of a unit or token.
    """
    pico = read_amount(field, text)
    if denomination is Denomination.USD:
        return pico
    whole, fraction = divmod(pico, PICO)
    if fraction:
        raise RejectError(
            RejectCode.INVALID_FIELD, f"{field}: {denomination}s come whole, not {text}", field
        )
    return whole
