"""What a decided cycle appends, as bytes: the ledger's entries, the dead letters, the changes of
the tables.

The worker appends these records and the audit compares against them, so they are made here alone.
A function of what `fold_cycle` left: nothing but the cycle decides a single byte.
"""

from base64 import b64encode
from collections.abc import Iterable, Sequence
from typing import Final

from schemas import codec
from schemas.envelope import SCHEMA_VERSION
from schemas.money import format_amount, parse_signed_amount
from schemas.structs import (
    ClosingEntry,
    CycleEntry,
    DeadLetter,
    HoldEnd,
    LedgerEntry,
    TaskPart,
    Transfer,
    UsageEntry,
)
from schemas.topics import (
    ACCOUNTS_CHANGELOG,
    CLAIMS_CHANGELOG,
    DEAD_LETTERS,
    LEDGER,
    PREFLIGHTS,
    TRANSFERS,
)
from streams.domain.budget import Account, entry_tokens
from streams.domain.decoding import RESERVED_KEY
from streams.domain.facts import Rejected
from streams.domain.identity import Claim, pack_segment
from streams.domain.ledger import entry_id, segment_key
from streams.domain.pipeline import CycleResult
from streams.domain.state import PartitionState, Progress
from streams.domain.tasks import Task, row_key

KeyedBytes = tuple[bytes | None, bytes]
"""Key and value of a record to be appended."""

encode_account, decode_account = codec.state_codec(Account)
encode_task, decode_task = codec.state_codec(Task)
encode_progress, decode_progress = codec.state_codec(Progress)

APPENDED: Final = (
    LEDGER.name,
    DEAD_LETTERS.name,
    TRANSFERS.name,
    ACCOUNTS_CHANGELOG.name,
    CLAIMS_CHANGELOG.name,
)
"""The topics of a cycle's transaction, by logical name. Those of `transfers` go to the partitions
of their keys, all others to the cycle's own."""


def cycle_appends(state: PartitionState, result: CycleResult) -> dict[str, list[KeyedBytes]]:
    """The records of a cycle by logical topic, in the order of APPENDED, each list in its order.

    `state` is the one that `fold_cycle` changed, `result` what it returned.
    """
    own = result.entries[0]
    assert isinstance(own, CycleEntry)
    first_letter = own.dead_letter_sequence - own.dead_letters
    return {
        LEDGER.name: ledger_records(result.entries),
        DEAD_LETTERS.name: [
            dead_letter_record(rejected, own, sequence)
            for sequence, rejected in enumerate(result.rejected, first_letter)
        ],
        TRANSFERS.name: transfer_records(result.entries),
        ACCOUNTS_CHANGELOG.name: [
            *account_records(state.accounts[name] for name in sorted(state.touched)),
            *task_records(state.tasks[ref] for ref in sorted(state.touched_tasks)),
            (RESERVED_KEY, encode_progress(state.progress)),
        ],
        CLAIMS_CHANGELOG.name: [claims_record(own, state.new_claims)] if state.new_claims else [],
    }


def ledger_records(entries: Sequence[LedgerEntry]) -> list[KeyedBytes]:
    """Entries as the ledger holds them: by their customers; a cycle's own has no key."""
    keys = [_key(entry) for entry in entries]
    return list(zip(keys, codec.encode_all(entries), strict=True))


def _key(entry: LedgerEntry) -> bytes | None:
    if isinstance(entry, CycleEntry):
        return None
    # What is a task's alone names no customer, and its task.
    return (entry.customer_id or entry.task_ref).encode()  # type: ignore[union-attr]


def account_records(accounts: Iterable[Account]) -> list[KeyedBytes]:
    """Accounts as table and changelog hold them."""
    return [(account.customer_id.encode(), encode_account(account)) for account in accounts]


def task_records(tasks: Iterable[Task]) -> list[KeyedBytes]:
    """Task accounts as table and changelog hold them."""
    return [(row_key(task.task_ref), encode_task(task)) for task in tasks]


def transfer_records(entries: Sequence[LedgerEntry]) -> list[KeyedBytes]:
    """What entries of customers mean for tasks: a function of the entries. Keyed by the task, which
    is where they go."""
    found = []
    for at, entry in enumerate(entries):
        if isinstance(entry, UsageEntry):
            if entry.task_ref:
                found.append(_usage_transfer(entry, _ends(entries, at)))
        elif (
            isinstance(entry, ClosingEntry)
            and entry.task_reservation_id
            and entry.topic == PREFLIGHTS.name
        ):
            found.append(_end_transfer(entry))
    return [(transfer.task_ref.encode(), codec.encode(transfer)) for transfer in found]


def _ends(entries: Sequence[LedgerEntry], at: int) -> list[HoldEnd]:
    """The ends of task holds that follow from the same record as the usage entry at a place."""
    usage, ends = entries[at], []
    assert isinstance(usage, UsageEntry), "closings of usage stand behind it"
    for place in range(at + 1, len(entries)):
        entry = entries[place]
        if not isinstance(entry, ClosingEntry) or entry.source_offset != usage.source_offset:
            break
        if entry.task_reservation_id:
            ends.append(_end(entry))
    return ends


def _end(entry: ClosingEntry) -> HoldEnd:
    return HoldEnd(reservation_id=entry.task_reservation_id, closed_as=entry.closed_as)


def _usage_transfer(entry: UsageEntry, ends: list[HoldEnd]) -> Transfer:
    usd = 0
    if entry.currency == "USD":
        usd = parse_signed_amount(entry.cost) + parse_signed_amount(entry.provisional)
    return Transfer(
        schema_version=SCHEMA_VERSION,
        entry_id=entry.entry_id,
        decided_at=entry.decided_at,
        task_ref=entry.task_ref,
        customer_id=entry.customer_id,
        agent_id=entry.agent_id,
        units=entry.units,
        tokens=entry_tokens(entry),
        usd=format_amount(usd),
        holds=[
            TaskPart(reservation_id=part.task_reservation_id, amount=part.amount)
            for part in entry.holds
            if part.task_reservation_id
        ],
        ends=ends,
        success=entry.success,
        usage_missing=entry.usage_missing,
        unpriced=entry.cost_basis == "unpriced",
    )


def _end_transfer(entry: ClosingEntry) -> Transfer:
    return Transfer(
        schema_version=SCHEMA_VERSION,
        entry_id=entry.entry_id,
        usage=False,
        decided_at=entry.decided_at,
        task_ref=entry.task_ref,
        customer_id=entry.customer_id,
        agent_id=entry.agent_id,
        ends=[_end(entry)],
    )


def claims_record(own: CycleEntry, claims: dict[bytes, Claim]) -> KeyedBytes:
    """The claims of a cycle as one changelog record, called by generation and cycle."""
    return segment_key(own.generation, own.cycle).encode(), pack_segment(claims)


def dead_letter_record(rejected: Rejected, own: CycleEntry, sequence: int) -> KeyedBytes:
    """A refused record as the dead letters hold it: by the key that it came with."""
    record = rejected.record
    letter = DeadLetter(
        schema_version=SCHEMA_VERSION,
        entry_id=entry_id(own.generation, record.topic, own.partition, record.offset, 0),
        generation=own.generation,
        partition=own.partition,
        sequence=sequence,
        cycle=own.cycle,
        decided_at=own.decided_at,
        code=rejected.code,
        reason=rejected.reason,
        field=rejected.field,
        record_version=codec.version_of(record.value),
        topic=record.topic,
        source_offset=record.offset,
        appended_at=record.appended_at_us,
        record_key=None if record.key is None else b64encode(record.key).decode(),
        record_value=None if record.value is None else b64encode(record.value).decode(),
    )
    return record.key, codec.encode(letter)
