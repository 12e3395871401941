"""The single list of topics: name, key, what they hold, how they are kept.

All names stand under the installation's prefix. The customer topics have the same number of
partitions and are keyed by customer id with murmur2, so that what belongs to a customer meets in
one partition (K1); `unassigned` has as many, and what belongs to a trace meets there. Append time
is a fact of the log (`LogAppendTime`).
"""

from dataclasses import dataclass, field
from typing import Final, Literal

from schemas.limits import OUTBOUND_RECORD_BYTES_MAX, RECORD_BYTES_MAX

FOR_EVER: Final = -1
"""Retention of the books: kept unless an operator, having archived them, decides otherwise."""

CLAIMS_RETENTION_DAYS: Final = 70
"""The claims' changelog is deleted by time: the horizon of 35 days and the margin (I6)."""

CLAIMS_MARGIN_DAYS: Final = 35
"""How much longer than the horizon of the rules a claim is kept: a record that waits this long in
the log before it is decided still finds every claim that holds for it. Nobody leaves a partition
standing for five weeks; a claim costs 48 bytes of disk."""

ASKS_RETENTION_DAYS: Final = 7
"""Asks and answers are no books: what was decided stands on `preflights`. Nobody waits for an
answer longer than minutes; a week is for a person who looks for what went wrong."""

TOMBSTONE_RETENTION_DAYS: Final = 35
"""How long the end of a row (a trace window that is over) stays in the accounts' changelog: a store
that was away for less sees every one of them; the broker's default, a day, is shorter than a
weekend. In one that was away for longer a window that is over would live again: remove it before
its worker starts, and it is rebuilt."""

DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic and its settings. `name` is the logical name; `partitions` None means the
    installation's."""

    name: str
    purpose: str
    key: str
    value: str
    partitions: int | None = None
    cleanup: Literal["delete", "compact"] = "delete"
    retention_ms: int = FOR_EVER
    record_bytes_max: int = RECORD_BYTES_MAX
    more: dict[str, str] = field(default_factory=dict)

    def full_name(self, prefix: str) -> str:
        """The name on the broker."""
        return prefix + self.name

    def config(self) -> dict[str, str]:
        """The broker's settings of this topic, each of which `topics create` sets and compares."""
        return {
            "cleanup.policy": self.cleanup,
            "retention.ms": str(self.retention_ms),
            "retention.bytes": "-1",
            "message.timestamp.type": "LogAppendTime",
            "max.message.bytes": str(self.record_bytes_max),
            **self.more,
        }


USAGE: Final = Topic("usage", "what was consumed", "customer_id", "Usage")
SIGNALS: Final = Topic("signals", "business outcomes", "customer_id", "Signal")
BUDGETS: Final = Topic(
    "budgets",
    "grants, limits, ceilings, adjustments, what becomes of dead letters; by administration",
    "customer_id",
    "Grant, Limit, Ceiling, Adjustment, Void, Replay or Discard",
)
PREFLIGHTS: Final = Topic(
    "preflights", "leases and decisions of the owner of a partition", "account", "Preflight"
)
ASKS: Final = Topic(
    "asks",
    "preflights, releases and extensions that are asked for without HTTP",
    "customer_id",
    "AskedPreflight, AskedRelease or AskedExtension",
    retention_ms=ASKS_RETENTION_DAYS * DAY_MS,
)
ANSWERS: Final = Topic(
    "answers",
    "what became of each of them",
    "customer_id",
    "AnsweredPreflight, AnsweredChange or AnsweredProblem",
    retention_ms=ASKS_RETENTION_DAYS * DAY_MS,
)
TRANSFERS: Final = Topic(
    "transfers",
    "internal facts between accounts",
    "account",
    "Transfer",
    record_bytes_max=RECORD_BYTES_MAX,
)
UNASSIGNED: Final = Topic(
    "unassigned",
    "spans that name no customer yet, and who the customers of traces are",
    "trace_id",
    "Unassigned",
)
CATALOG: Final = Topic(
    "catalog",
    "rules, price books and overrides, generations, API keys",
    "kind/id/version",
    "CatalogRecord",
    partitions=1,
    cleanup="compact",
    record_bytes_max=OUTBOUND_RECORD_BYTES_MAX,
)
OWNERS: Final = Topic(
    "owners",
    "partition to address and lease",
    "partition",
    "Owner",
    partitions=1,
    cleanup="compact",
)
PAID_CATALOGUE: Final = Topic(
    "paid-catalogue",
    "customers, products and orders of Paid's clients",
    "family/id",
    "CatalogueItem",
    partitions=1,
    cleanup="compact",
)
LEDGER: Final = Topic(
    "ledger",
    "every accepted consequence",
    "customer_id",
    "LedgerEntry",
    record_bytes_max=OUTBOUND_RECORD_BYTES_MAX,
)
ATTRIBUTIONS: Final = Topic(
    "attributions",
    "cost shares",
    "customer_id",
    "Attribution",
    record_bytes_max=OUTBOUND_RECORD_BYTES_MAX,
)
DEAD_LETTERS: Final = Topic(
    "dead-letters",
    "what could not be accepted, whole",
    "as on the record",
    "DeadLetter",
    record_bytes_max=OUTBOUND_RECORD_BYTES_MAX,
)
ACCOUNTS_CHANGELOG: Final = Topic(
    "accounts-changelog",
    "the budget table: accounts, trace windows and the partition's progress",
    "customer_id",
    "Account",
    cleanup="compact",
    record_bytes_max=OUTBOUND_RECORD_BYTES_MAX,
    more={"delete.retention.ms": str(TOMBSTONE_RETENTION_DAYS * DAY_MS)},
)
CLAIMS_CHANGELOG: Final = Topic(
    "claims-changelog",
    "claimed ids, many in one record",
    "cycle",
    "packed claims",
    retention_ms=CLAIMS_RETENTION_DAYS * DAY_MS,
    record_bytes_max=OUTBOUND_RECORD_BYTES_MAX,
)

TOPICS: Final = (
    USAGE,
    SIGNALS,
    BUDGETS,
    PREFLIGHTS,
    ASKS,
    ANSWERS,
    TRANSFERS,
    UNASSIGNED,
    CATALOG,
    OWNERS,
    PAID_CATALOGUE,
    LEDGER,
    ATTRIBUTIONS,
    DEAD_LETTERS,
    ACCOUNTS_CHANGELOG,
    CLAIMS_CHANGELOG,
)
"""All topics of an installation."""

INBOUND: Final = (BUDGETS, PREFLIGHTS, TRANSFERS, SIGNALS, USAGE, UNASSIGNED)
"""What a worker folds, in the order in which a cycle does."""

PRODUCED: Final = (BUDGETS, SIGNALS, USAGE)
"""What of it somebody else writes."""

SUBSCRIBED: Final = (BUDGETS, TRANSFERS, SIGNALS, USAGE, UNASSIGNED)
"""What of it a worker's consumer reads. `preflights` its owner reads once, at the take of a
partition; what is appended afterwards is its own and never leaves its memory (decision 016)."""
