"""What the gateway needs around it: owners to ask, topics to append to, keys, the catalog.

Adapters and the worker implement these; `streams/app/gateway.py` puts them together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from schemas import rpc
from streams.errors import TransientError


class Owners(Protocol):
    """The owners of all partitions, wherever they are."""

    async def ask(self, partition: int, ask: rpc.Ask, timeout_seconds: float) -> rpc.Answer:
        """The owner's answer. Never raises for what can happen in business: a partition that
        moves, an owner that is slow or gone, an outcome nobody knows are each an ErrorAnswer."""
        ...


@dataclass(frozen=True, slots=True)
class Appended:
    """Where a record now stands. The offset is final: all replicas have acknowledged it."""

    topic: str
    partition: int
    offset: int
    appended_at_us: int


class Inbound(Protocol):
    """The inbound topics, for appending."""

    async def append(
        self, topic: str, records: Sequence[tuple[bytes, bytes]]
    ) -> list[Appended | TransientError]:
        """Appends (key, value) records to a topic, each to the partition of its key, `acks=all`.

        `topic` is the logical name. One result per record, in their order: a TransientError where
        it may or may not have been appended (a repeat with the same id counts once). Raises
        TransientError where nothing was even tried (overloaded).
        """
        ...


class Scope(StrEnum):
    """What a key may be used for."""

    INGEST = "ingest"
    """Append usage and signals, record."""
    PREFLIGHT = "preflight"
    """Place, extend and release holds."""
    READ = "read"
    """Look up budgets, holds and tasks."""
    ADMIN = "admin"
    """Grants, limits, ceilings. Implies every other scope."""


class AuthError(Exception):
    """A request that its key does not allow.

    `code` is one of `streams.gateway.problems.CODES`: unauthorized (no key, or one that is none),
    key_revoked, key_expired (401), scope_missing, customer_not_allowed (403), rate_limited (429).
    `message` never contains the key.
    """

    def __init__(
        self, code: str, message: str, status: int, retry_after_seconds: float = 0.0
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request. `customers` None means all of them."""

    key_id: str
    scopes: frozenset[Scope]
    customers: frozenset[str] | None = None

    def require_customer(self, customer_id: str) -> None:
        """Raises AuthError where the key is bound to other customers."""
        if self.customers is not None and customer_id not in self.customers:
            raise AuthError(
                "customer_not_allowed", "this key is bound to other customers", status=403
            )

    def require_unbound(self) -> None:
        """Raises AuthError where the key is bound to customers: what is asked concerns a task,
        whose calls may name any customer."""
        if self.customers is not None:
            raise AuthError(
                "customer_not_allowed",
                "this key is bound to customers; looking a task up or setting its ceiling needs "
                "one that is not",
                status=403,
            )


class Keys(Protocol):
    """The keys that are in force."""

    def check(self, presented: str | None, scope: Scope, customer_id: str | None) -> Caller:
        """The caller behind a presented key, counted against its rate limit.

        The application calls this once for each request, before it reads the body and therefore
        with `customer_id` None; `Caller.require_customer` follows when the body says whom it
        concerns. Raises AuthError.
        """
        ...


class Entries(Protocol):
    """The rows of the ledger, for statements."""

    async def entries(
        self, customer_id: str, before: tuple[int, int] | None, rows_max: int
    ) -> Sequence[Mapping[str, Any]]:
        """Entries of a customer, the newest first, with the fields of `messages.EntryLine`.

        `before` is a place (generation, sequence). Raises TollgateError where ClickHouse cannot be
        asked.
        """
        ...


class Directory(Protocol):
    """What the gateway knows from the catalog."""

    @property
    def partitions(self) -> int:
        """Partitions of the customer topics."""
        ...

    @property
    def generation(self) -> int:
        """Of the topics."""
        ...
