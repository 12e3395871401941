"""A decision of an owner, made again from what its record says (P5).

The record holds what was asked, when, and which state was seen; whoever has that state comes to the
same record, byte by byte. Which state that is, and what a difference means, is the caller's to say.
"""

from itertools import product

from schemas.rpc import PreflightAsk
from schemas.structs import Preflight
from streams.domain.context import Context
from streams.domain.decisions import (
    Decided,
    Standing,
    View,
    body_hash,
    decide_preflight,
    preflight_record,
)


def ask_of(record: Preflight, context: Context) -> PreflightAsk:
    """What was asked for, so that its hash is the record's.

    Two things that a caller may leave out stand in the record as they were filled in: an estimate
    of the usual amount, and the usual time to live. Of the asks that come to this record the one
    with its hash is returned; any of them where none has it, which is then for the caller to see.
    """
    ttl_us = record.expires_at - record.decided_at
    ttls = [ttl_us // 1_000] if ttl_us != context.hold_ttl_us else [None, ttl_us // 1_000]
    estimate = record.asked_estimate
    estimates = [record.estimate, None] if estimate is None else [estimate]
    asks = [_ask(record, text, ttl_ms) for text, ttl_ms in product(estimates, ttls)]
    return next((ask for ask in asks if body_hash(ask) == record.body_hash), asks[0])


def _ask(record: Preflight, estimate: str | None, ttl_ms: int | None) -> PreflightAsk:
    return PreflightAsk(
        account_kind=record.account_kind,
        account_id=record.account_id,
        source=record.source,
        idempotency_key=record.idempotency_key,
        denomination=record.denomination.value,
        estimate=estimate,
        agent_id=record.agent_id,
        task_ref=record.task_ref,
        ceiling=record.ceiling,
        task_ceiling=record.task_ceiling,
        task_reservation_id=record.task_reservation_id,
        ttl_ms=ttl_ms,
    )


def decide_again(
    view: View, record: Preflight, seen_offset: int, context: Context
) -> tuple[Decided, Preflight]:
    """The decision about what a record says it was asked, and the record that it is due to be.

    `view` is what the owner saw with the records before `seen_offset`, `context` that of
    `seen_catalog_offset`. Raises InvalidAskError where no decision can be made of it, so that there
    should be no record at all.
    """
    ask = ask_of(record, context)
    decided = decide_preflight(view, ask, context, record.decided_at)
    standing = Standing(
        record.lease,
        record.nonce,
        record.decided_at,
        record.seen_cycle,
        seen_offset,
        record.seen_catalog_offset,
    )
    return decided, preflight_record(ask, decided, standing)
