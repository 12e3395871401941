"""What an operator does about dead letters: replays and discards, as facts on `budgets`.

A replay is first decided here, as far as bytes, times and rules go, with the very code that a
worker runs: what would only become a dead letter again is said and not appended. What claims say,
the worker alone knows.
"""

from base64 import b64encode
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Final

from schemas import codec
from schemas.envelope import SCHEMA_VERSION
from schemas.errors import RejectError
from schemas.limits import ID_BYTES_MAX, REPLAYED_KEY_BYTES_MAX
from schemas.partitioner import partition_of
from schemas.structs import Discard, Replay
from schemas.topics import BUDGETS, UNASSIGNED
from streams.adapters.catalog import read_catalog
from streams.adapters.clock import SystemClock
from streams.adapters.producer import append_facts
from streams.app.addresses import kafka_bootstrap
from streams.app.warehouse import clickhouse
from streams.domain.context import Context, IncompleteCatalogError
from streams.domain.decoding import decode_content, decode_record
from streams.domain.facts import Rejected, ReplayFact, SourceRecord
from streams.domain.judging import beyond_claims, untimely
from streams.errors import SetupError
from streams.invoicing.dead_letters import READ_AT_ONCE, Letter, read_letters
from streams.ports import PROGRESS_KEY
from streams.settings import Settings

SOURCE: Final = "dead-letters"
"""The `source` of replays and discards."""

NOBODYS: Final = "nobodys"
"""Why a record of `unassigned` cannot be replayed: a replay is decided among its customer's claims,
and this one names no customer."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done about one letter: a record for `budgets`, or why there is none."""

    letter_id: str
    partition: int = 0
    key: bytes = b""
    value: bytes = b""
    code: str = ""
    reason: str = ""

    @property
    def refused(self) -> bool:
        """Whether nothing can be appended for it."""
        return bool(self.code)


async def current_context(settings: Settings) -> Context:
    """The rules and partitions as the catalog says now. Raises SetupError before there are any."""
    view = await read_catalog(kafka_bootstrap(settings), settings.topic_prefix)
    try:
        return view.context()
    except IncompleteCatalogError as fault:
        raise SetupError(str(fault), action="Run `tollgate topics create`.") from fault


async def replay_letters(
    settings: Settings, ids: Sequence[str], *, dry_run: bool = False
) -> list[Plan]:
    """Appends a replay of each of these letters that would be accepted, as far as can be told here.

    Returns what was done about each, in their order and without the bytes. Raises TransientError
    where the broker did not acknowledge everything; giving the command again counts nothing twice.
    """
    context, now_us = await current_context(settings), SystemClock().now_us()
    return await _plan_all(
        settings, ids, lambda letter: plan_replay(letter, context, now_us), dry_run
    )


async def discard_letters(
    settings: Settings, ids: Sequence[str], reason: str, *, dry_run: bool = False
) -> list[Plan]:
    """Appends a discard of each of these letters; as `replay_letters`."""
    context = await current_context(settings)
    return await _plan_all(
        settings, ids, lambda letter: plan_discard(letter, reason, context), dry_run
    )


async def _plan_all(
    settings: Settings, ids: Sequence[str], plan: Callable[[Letter], Plan], dry_run: bool
) -> list[Plan]:
    done: list[Plan] = []
    with closing(clickhouse(settings, analyst=True)) as warehouse:
        for start in range(0, len(ids), READ_AT_ONCE):
            wanted = ids[start : start + READ_AT_ONCE]
            found = {one.line.entry_id: one for one in read_letters(warehouse, wanted)}
            plans = [
                plan(found[letter_id]) if letter_id in found else unknown(letter_id)
                for letter_id in wanted
            ]
            if not dry_run:
                await _append(settings, plans)
            done += [Plan(one.letter_id, code=one.code, reason=one.reason) for one in plans]
    return done


def unknown(letter_id: str) -> Plan:
    """What can be done about a letter that is not in ClickHouse: nothing."""
    return Plan(letter_id, code="unknown", reason="no dead letter of this id is in ClickHouse")


async def _append(settings: Settings, plans: Sequence[Plan]) -> None:
    records = [(plan.partition, plan.key, plan.value) for plan in plans if not plan.refused]
    if records:
        await append_facts(kafka_bootstrap(settings), settings.topic_prefix, BUDGETS.name, records)


def plan_replay(letter: Letter, context: Context, now_us: int) -> Plan:
    """The replay of a letter, or why the present code and rules would refuse it. Pure.

    The record that it makes has been through the worker's own decoding.
    """
    line = letter.line
    if line.topic == UNASSIGNED.name:
        reason = (
            "it names no customer under whom it could be decided: append the event in it to its "
            "own topic under the customer, with the id and source that it has; or append the "
            f"record to {UNASSIGNED.name} again once a span of its trace has named one"
        )
        return Plan(line.entry_id, code=NOBODYS, reason=reason)
    original = SourceRecord(line.topic, line.offset, line.appended_at_us, letter.key, letter.value)
    try:
        inner = decode_content(original)
    except RejectError as fault:
        return Plan(line.entry_id, code=fault.code, reason=fault.reason)
    if isinstance(inner, Rejected):
        return Plan(line.entry_id, code=inner.code, reason=inner.reason)
    assert letter.value is not None, "a fact without bytes"
    fits = letter.key is not None and len(letter.key) <= REPLAYED_KEY_BYTES_MAX
    body = Replay(
        schema_version=SCHEMA_VERSION,
        event_id=f"replay-{line.entry_id}",
        source=SOURCE,
        customer_id=inner.body.customer_id,
        letter_id=line.entry_id,
        generation=line.generation,
        topic=line.topic,
        partition=line.partition,
        offset=line.offset,
        appended_at=line.appended_at_us,
        record_key=b64encode(letter.key or b"").decode() if fits else None,
        record_value=b64encode(letter.value).decode(),
    )
    key, value = body.customer_id.encode(), codec.encode(body)
    partition = partition_of(key, context.partitions)
    fact = decode_record(
        SourceRecord(BUDGETS.name, 0, now_us, key, value), partition, context.partitions
    )
    if isinstance(fact, Rejected):
        return Plan(line.entry_id, code=fact.code, reason=fact.reason)
    assert isinstance(fact, ReplayFact), "a replay was read as something else"
    refusal = untimely(inner, context) or beyond_claims(inner, context, now_us)
    if refusal is not None:
        return Plan(line.entry_id, code=refusal.code, reason=refusal.reason)
    return Plan(line.entry_id, partition, key, value)


def plan_discard(letter: Letter, reason: str, context: Context) -> Plan:
    """The discard of a letter. Pure."""
    letter_id = letter.line.entry_id
    body = Discard(
        schema_version=SCHEMA_VERSION,
        event_id=f"discard-{letter_id}",
        source=SOURCE,
        customer_id=_place(letter),
        letter_id=letter_id,
        reason=reason,
    )
    key = body.customer_id.encode()
    return Plan(letter_id, partition_of(key, context.partitions), key, codec.encode(body))


def _place(letter: Letter) -> str:
    """Under which id a discard lies: the letter's key where it can be one, else the letter's id."""
    key = letter.key
    if key and len(key) <= ID_BYTES_MAX and key != PROGRESS_KEY:
        with suppress(UnicodeDecodeError):
            return key.decode()
    return letter.line.entry_id
