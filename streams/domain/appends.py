"""What a decided cycle appends, as bytes: the ledger's entries, the dead letters, the changes of
the tables.

The worker appends these records and the audit compares against them, so they are made here alone.
A function of what `fold_cycle` left: nothing but the cycle decides a single byte.
"""

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from schemas import codec
from schemas.envelope import SCHEMA_VERSION
from schemas.money import format_amount, parse_signed_amount
from schemas.structs import (
    AdjustmentEntry,
    Attribution,
    ClosingEntry,
    CycleEntry,
    DeadLetter,
    HoldEnd,
    LedgerEntry,
    Row,
    TaskPart,
    Transfer,
    UsageEntry,
)
from schemas.topics import (
    ACCOUNTS_CHANGELOG,
    ATTRIBUTIONS,
    CLAIMS_CHANGELOG,
    DEAD_LETTERS,
    LEDGER,
    PREFLIGHTS,
    SIGNALS,
    TRANSFERS,
    USAGE,
)
from streams.domain import billing
from streams.domain.billing import Billing
from streams.domain.budget import Account, entry_tokens
from streams.domain.decoding import RESERVED_KEY
from streams.domain.facts import Rejected
from streams.domain.folding import CycleResult
from streams.domain.identity import Claim, pack_segment
from streams.domain.ledger import entry_id, segment_key
from streams.domain.nameless import Forward
from streams.domain.state import PartitionState, Progress
from streams.domain.tasks import Task, row_key
from streams.domain.unassigned import Unbound
from streams.domain.windows import Windows

KeyedBytes = tuple[bytes | None, bytes]
"""Key and value of a record to be appended."""

RowBytes = tuple[bytes | None, bytes | None]
"""The same, or the end of a table's row, which has no value."""

encode_account, decode_account = codec.state_codec(Account)
encode_task, decode_task = codec.state_codec(Task)
encode_billing, decode_billing = codec.state_codec(Billing)
encode_progress, decode_progress = codec.state_codec(Progress)

APPENDED: Final = (
    LEDGER.name,
    ATTRIBUTIONS.name,
    DEAD_LETTERS.name,
    TRANSFERS.name,
    SIGNALS.name,
    USAGE.name,
    ACCOUNTS_CHANGELOG.name,
    CLAIMS_CHANGELOG.name,
)
"""The topics of a cycle's transaction, by logical name."""

WRITTEN_ALONE: Final = tuple(t for t in APPENDED if t not in (SIGNALS.name, USAGE.name))
"""Those that workers alone write to. What producers append to the others while somebody looks is
not told from a transaction that was left open."""

SENT: Final = (TRANSFERS.name, SIGNALS.name, USAGE.name)
"""Those of them whose records go to the partitions of their keys; all others to the cycle's own."""


def cycle_appends(state: PartitionState, result: CycleResult) -> dict[str, Sequence[RowBytes]]:
    """The records of a cycle by logical topic, in the order of APPENDED, each list in its order.

    `state` is the one that `fold_cycle` changed, `result` what it returned.
    """
    own = result.entries[0]
    assert isinstance(own, CycleEntry)
    first_letter = own.dead_letter_sequence - own.dead_letters
    return {
        LEDGER.name: ledger_records(result.entries),
        ATTRIBUTIONS.name: attribution_records(result.attributions),
        DEAD_LETTERS.name: [
            dead_letter_record(rejected, own, sequence)
            for sequence, rejected in enumerate(result.rejected, first_letter)
        ],
        TRANSFERS.name: transfer_records(result.entries),
        SIGNALS.name: forward_records(result.forwards, SIGNALS.name),
        USAGE.name: forward_records(result.forwards, USAGE.name),
        ACCOUNTS_CHANGELOG.name: [
            *account_records(state.accounts[name] for name in sorted(state.touched)),
            *task_records(state.tasks[ref] for ref in sorted(state.touched_tasks)),
            *billing_records(state.billing[name] for name in sorted(state.touched_billing)),
            *window_records(state.windows),
            *unbound_records(state.unbound),
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


def billing_records(rows: Iterable[Billing]) -> list[KeyedBytes]:
    """What is known of customers' invoices as table and changelog hold it."""
    return [(billing.row_key(row.customer_id), encode_billing(row)) for row in rows]


def window_records(windows: Windows) -> list[RowBytes]:
    """Touched windows and segments as table and changelog hold them; those that are gone end."""
    return _touched_rows(windows.touched, windows.rows, windows.segments)


def all_window_rows(windows: Windows) -> dict[bytes, bytes]:
    """All windows and segments as the table holds them."""
    return _all_rows(windows.rows, windows.segments)


def unbound_records(unbound: Unbound) -> list[RowBytes]:
    """Touched traces, waiting events and segments as table and changelog hold them; those that are
    gone end."""
    return _touched_rows(unbound.touched, unbound.traces, unbound.events, unbound.segments)


def all_unbound_rows(unbound: Unbound) -> dict[bytes, bytes]:
    """All traces, waiting events and segments as the table holds them."""
    return _all_rows(unbound.traces, unbound.events, unbound.segments)


def _touched_rows(touched: Iterable[str], *kinds: Mapping[str, Row]) -> list[RowBytes]:
    """The rows of these keys, by key; what none of the kinds holds any more ends."""
    found: list[RowBytes] = []
    for key in sorted(touched):
        row = next((rows[key] for rows in kinds if key in rows), None)
        found.append((key.encode(), None if row is None else codec.encode(row)))
    return found


def _all_rows(*kinds: Mapping[str, Row]) -> dict[bytes, bytes]:
    return {key.encode(): codec.encode(row) for rows in kinds for key, row in rows.items()}


def forward_records(forwards: Iterable[Forward], topic: str) -> list[KeyedBytes]:
    """What a cycle passes on to one topic, by its customers."""
    return [(forward.key, forward.value) for forward in forwards if forward.topic == topic]


def attribution_records(rows: Sequence[Attribution]) -> list[KeyedBytes]:
    """Attributions as their topic holds them: by their customers."""
    return list(
        zip([row.customer_id.encode() for row in rows], codec.encode_all(rows), strict=True)
    )


def transfer_records(entries: Sequence[LedgerEntry]) -> list[KeyedBytes]:
    """What entries of customers mean for tasks: a function of the entries. Keyed by the task, which
    is where they go."""
    found = []
    for at, entry in enumerate(entries):
        if isinstance(entry, UsageEntry):
            if entry.task_ref:
                found.append(_usage_transfer(entry, _ends(entries, at)))
        elif isinstance(entry, AdjustmentEntry):
            if entry.task_ref:
                found.append(_adjustment_transfer(entry))
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


def _adjustment_transfer(entry: AdjustmentEntry) -> Transfer:
    return Transfer(
        schema_version=SCHEMA_VERSION,
        entry_id=entry.entry_id,
        decided_at=entry.decided_at,
        task_ref=entry.task_ref,
        customer_id=entry.customer_id,
        agent_id=entry.agent_id,
        usd=format_amount(parse_signed_amount(entry.cost) + parse_signed_amount(entry.provisional)),
        unpriced=entry.was_unpriced,
        adjusts=True,
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
