"""What our own worker has written, read back from the log: ledger and accounts, committed records
only."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from schemas import codec
from schemas.money import parse_signed_amount
from schemas.structs import CycleEntry, GrantEntry, UsageEntry
from schemas.topics import ACCOUNTS_CHANGELOG, LEDGER
from streams.bench.broker import Take, read_all
from streams.bench.check import Found, check
from streams.bench.events import Expected
from streams.bench.loaded import Loaded
from streams.domain.appends import decode_account
from streams.domain.decoding import RESERVED_KEY


@dataclass(slots=True)
class _Ledger:
    keep_ids: bool
    ids: set[str] = field(default_factory=set)
    usage: int = 0
    grants: int = 0
    events: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    cost_pico: Counter[str] = field(default_factory=Counter)
    rated_pico: Counter[str] = field(default_factory=Counter)
    sequences: dict[int, int] = field(default_factory=dict)
    cycles: int = 0
    decided: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def take(self, partition: int, _key: bytes | None, value: bytes, _at_ms: int) -> None:
        entry = codec.decode_entry(value)
        if entry.sequence != self.sequences.get(partition, 0):
            self.faults.append(f"sequence {entry.sequence} of partition {partition} is not dense")
        self.sequences[partition] = entry.sequence + 1
        if isinstance(entry, UsageEntry):
            self._take_usage(entry)
        elif isinstance(entry, GrantEntry):
            self.grants += 1
        elif isinstance(entry, CycleEntry):
            self.cycles += 1
            self.decided["accepted"] += entry.accepted
            self.decided["duplicates"] += entry.duplicates
            self.decided["dead letters"] += entry.dead_letters

    def _take_usage(self, entry: UsageEntry) -> None:
        customer, cost = entry.customer_id, parse_signed_amount(entry.cost)
        self.usage += 1
        if self.keep_ids:
            self.ids.add(entry.event_id)
        self.events[customer] += 1
        self.tokens[customer] += entry.input_tokens + entry.cache_read_tokens + entry.output_tokens
        self.rated_pico[customer] += cost
        self.cost_pico[customer] += cost if entry.cost_basis == "reported" else 0

    def found(self, expected: Expected, plan_grants: int | None) -> Found:
        duplicates = expected.records - expected.distinct
        due = {"accepted": expected.distinct, "duplicates": duplicates, "dead letters": 0}
        faults = [
            f"the cycles count {self.decided[what]:,} {what} instead of {count:,}"
            for what, count in due.items()
            if self.decided[what] != count
        ]
        if plan_grants is not None and self.grants != plan_grants:
            faults.append(f"{self.grants:,} grants of the plan instead of {plan_grants:,}")
        distinct = len(self.ids) if self.keep_ids else self.usage
        if self.usage != distinct:
            faults.append(f"{self.usage:,} entries of usage for {len(self.ids):,} events")
        return Found(
            "the full path (ledger)",
            distinct,
            self.events,
            self.tokens,
            self.cost_pico,
            self.rated_pico,
            self.faults + faults,
        )


def check_books(loaded: Loaded, *, plan_grants: int | None = None, keep_ids: bool = True) -> int:
    """Compares ledger and accounts with what is expected; returns how many cycles there were.

    `plan_grants` is how many grants of the default plan there have to be: 0 where every customer
    had an account before. Without `keep_ids` entries are counted, not told apart: for millions of
    them, whose ids would fill the memory of this process.

    Raises FaultError where something differs.
    """
    ledger = _Ledger(keep_ids)
    rows: dict[bytes, bytes] = {}

    def take_row(_partition: int, key: bytes | None, value: bytes, _at_ms: int) -> None:
        if key is not None and key != RESERVED_KEY:
            rows[key] = value

    asyncio.run(_read(loaded, ledger, take_row))
    check(loaded.expected, ledger.found(loaded.expected, plan_grants))
    decoded = (decode_account(value) for value in rows.values())
    # An account that was there before and had no event is none of the workload's.
    accounts = [account for account in decoded if account.events or account.used_tokens]
    check(
        loaded.expected,
        Found(
            "the full path (accounts)",
            sum(account.events for account in accounts),
            {account.customer_id: account.events for account in accounts},
            {account.customer_id: account.used_tokens for account in accounts},
            None,
            {account.customer_id: account.used_pico_usd for account in accounts},
        ),
    )
    return ledger.cycles


async def _read(loaded: Loaded, ledger: _Ledger, take_row: Take) -> None:
    settings, bootstrap = loaded.settings, loaded.ground.bootstrap
    prefix, partitions = settings.topic_prefix, settings.partitions
    await read_all(bootstrap, LEDGER.full_name(prefix), partitions, ledger.take)
    await read_all(bootstrap, ACCOUNTS_CHANGELOG.full_name(prefix), partitions, take_row)
