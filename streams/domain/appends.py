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
from schemas.structs import CycleEntry, DeadLetter, LedgerEntry
from schemas.topics import ACCOUNTS_CHANGELOG, CLAIMS_CHANGELOG, DEAD_LETTERS, LEDGER
from streams.domain.budget import Account
from streams.domain.decoding import RESERVED_KEY
from streams.domain.facts import Rejected
from streams.domain.identity import Claim, pack_segment
from streams.domain.ledger import entry_id, segment_key
from streams.domain.pipeline import CycleResult
from streams.domain.state import PartitionState, Progress

KeyedBytes = tuple[bytes | None, bytes]
"""Key and value of a record to be appended."""

encode_account, decode_account = codec.state_codec(Account)
encode_progress, decode_progress = codec.state_codec(Progress)

APPENDED: Final = (LEDGER.name, DEAD_LETTERS.name, ACCOUNTS_CHANGELOG.name, CLAIMS_CHANGELOG.name)
"""The topics of a cycle's transaction, by logical name."""


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
        ACCOUNTS_CHANGELOG.name: [
            *account_records(state.accounts[name] for name in sorted(state.touched)),
            (RESERVED_KEY, encode_progress(state.progress)),
        ],
        CLAIMS_CHANGELOG.name: [claims_record(own, state.new_claims)] if state.new_claims else [],
    }


def ledger_records(entries: Sequence[LedgerEntry]) -> list[KeyedBytes]:
    """Entries as the ledger holds them: by their customers; a cycle's own has no key."""
    keys = [None if isinstance(e, CycleEntry) else e.customer_id.encode() for e in entries]
    return list(zip(keys, codec.encode_all(entries), strict=True))


def account_records(accounts: Iterable[Account]) -> list[KeyedBytes]:
    """Accounts as table and changelog hold them."""
    return [(account.customer_id.encode(), encode_account(account)) for account in accounts]


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
