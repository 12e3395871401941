"""What an operator tells the books: grants, limits, ceilings, signals taken back, terms and
invoices, as facts on `budgets`.

A record is first read here with the very code that a worker runs: what would only become a dead
letter is said and not appended. What claims and the customer's other grants say, the worker alone
knows.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from schemas import codec
from schemas.envelope import SCHEMA_VERSION
from schemas.partitioner import partition_of
from schemas.topics import BUDGETS
from streams.adapters.catalog import read_catalog
from streams.adapters.clock import SystemClock
from streams.adapters.producer import append_facts
from streams.app.addresses import kafka_bootstrap
from streams.domain.decoding import decode_record
from streams.domain.facts import Rejected, SourceRecord
from streams.errors import SetupError, TransientError
from streams.settings import Settings

SOURCE: Final = "tollgate"
"""The `source` of what the commands append."""

Kind = Literal[
    "grant",
    "limit",
    "ceiling",
    "void",
    "terms",
    "credit",
    "invoice_close",
    "invoice_issue",
    "invoice_void",
]


@dataclass(frozen=True, slots=True)
class Told:
    """A record that stands in the log: under which id, about whom (of a ceiling the task), on which
    partition."""

    event_id: str
    customer_id: str
    partition: int


async def tell(
    settings: Settings,
    kind: Kind,
    customer_id: str,
    fields: Mapping[str, Any],
    event_id: str | None = None,
) -> Told:
    """Appends a record of `budgets`: `fields` of `schemas.budget` without those that every fact
    has; None means not given.

    Without an `event_id` it gets one of its own; with one, telling the same again counts once.
    Raises SetupError for a record that no worker would accept (nothing is appended then), and
    TransientError, whose action names the id, where the broker did not acknowledge it.
    """
    partitions = await _partitions(settings)
    told = plan(kind, customer_id, fields, event_id or f"{kind}-{secrets.token_hex(8)}", partitions)
    try:
        await append_facts(
            kafka_bootstrap(settings),
            settings.topic_prefix,
            BUDGETS.name,
            [(told.told.partition, told.key, told.value)],
        )
    except TransientError as error:
        raise TransientError(
            error.message,
            action=f"Give the command again with --id {told.told.event_id}: under the same id it "
            "counts once, whether it is in the log already or not.",
        ) from error
    return told.told


async def _partitions(settings: Settings) -> int:
    """Of the customer topics, as the catalog says. Raises SetupError before there are any."""
    view = await read_catalog(kafka_bootstrap(settings), settings.topic_prefix)
    if view.generation is None:
        raise SetupError(
            "the catalog names no generation of the topics yet",
            action="Run `tollgate topics create`.",
        )
    return view.generation.partitions


@dataclass(frozen=True, slots=True)
class Planned:
    """A record that a worker would read as it was meant, not appended yet."""

    told: Told
    key: bytes
    value: bytes


def plan(
    kind: Kind, customer_id: str, fields: Mapping[str, Any], event_id: str, partitions: int
) -> Planned:
    """The record as it will stand in the log. Raises SetupError where it is none."""
    given = {name: value for name, value in fields.items() if value is not None}
    record = {
        "schema_version": SCHEMA_VERSION,
        "kind": kind,
        "event_id": event_id,
        "source": SOURCE,
        "customer_id": customer_id,
        **given,
    }
    try:
        key, value = customer_id.encode(), codec.encode(record)
    except ValueError as fault:
        raise _refused("a text that is no Unicode") from fault
    partition = partition_of(key, partitions)
    source = SourceRecord(BUDGETS.name, 0, SystemClock().now_us(), key, value)
    fact = decode_record(source, partition, partitions)
    if isinstance(fact, Rejected):
        raise _refused(fact.reason)
    return Planned(Told(event_id, customer_id, partition), key, value)


def _refused(reason: str) -> SetupError:
    return SetupError(
        f"no worker would accept this: {reason}",
        action="Correct what is named; nothing was appended.",
    )
