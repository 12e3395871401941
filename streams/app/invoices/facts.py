"""Facts about invoices on their way: appended to `budgets`, and waited for until ClickHouse has
what became of them.

An entry in ClickHouse says more than that it was accepted: rows come in the order of their
sequence, so everything that was decided before it is there as well.
"""

import asyncio
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from schemas.structs import Generation
from schemas.topics import BUDGETS
from streams.adapters.positions import end_offsets
from streams.adapters.producer import append_facts
from streams.app.addresses import kafka_bootstrap
from streams.app.administration import SOURCE, Kind, Planned, plan
from streams.app.caught_up import POLL_SECONDS, SILENCE_SECONDS_MAX
from streams.errors import TransientError
from streams.invoicing.billing import in_batches
from streams.ports import Warehouse
from streams.settings import Settings

REFUSALS_SECONDS: Final = 0.5
"""Between two looks at the dead letters, which are searched through."""

Identity = tuple[str, str]
"""Customer and event id of a fact."""


@dataclass(frozen=True, slots=True)
class Fact:
    """What is to be said of a customer. The id makes a repeat count once."""

    kind: Kind
    customer_id: str
    event_id: str
    fields: Mapping[str, Any]

    @property
    def identity(self) -> Identity:
        """By which its entry is found."""
        return (self.customer_id, self.event_id)


@dataclass(frozen=True, slots=True)
class Refusal:
    """What became of a fact that no worker took: the dead letter's code and reason."""

    code: str
    reason: str


Told = Callable[[int], None]
"""Told how many more facts have been decided."""


def nobody(_more: int) -> None:
    """Tells nobody."""


@dataclass(frozen=True, slots=True)
class Books:
    """Where facts are told: an installation, its ClickHouse, and the life of its topics."""

    settings: Settings
    warehouse: Warehouse
    generation: Generation

    def tell(self, facts: Sequence[Fact], told: Told = nobody) -> dict[Identity, Refusal]:
        """Appends facts and returns when ClickHouse holds what became of each: those that were
        refused.

        Raises SetupError for a fact that no worker would read (nothing is appended then),
        TransientError where the broker does not acknowledge them or nothing moves any more: the
        same facts may be told again.
        """
        if not facts:
            return {}
        count = self.generation.partitions
        planned = {
            one.identity: plan(one.kind, one.customer_id, one.fields, one.event_id, count)
            for one in facts
        }
        bootstrap, prefix = kafka_bootstrap(self.settings), self.settings.topic_prefix
        begins = asyncio.run(end_offsets(bootstrap, BUDGETS.full_name(prefix), count))
        records = [(one.told.partition, one.key, one.value) for one in planned.values()]
        asyncio.run(append_facts(bootstrap, prefix, BUDGETS.name, records))
        return self._await({one.identity: one for one in facts}, planned, begins, told)

    def _await(
        self,
        waiting: dict[Identity, Fact],
        planned: Mapping[Identity, Planned],
        begins: Sequence[int],
        told: Told,
    ) -> dict[Identity, Refusal]:
        refused: dict[Identity, Refusal] = {}
        now = time.monotonic
        pause, deadline, looked = threading.Event(), now() + SILENCE_SECONDS_MAX, now()
        while waiting:
            before = len(waiting)
            for identity in decided(self.warehouse, waiting.values()):
                waiting.pop(identity, None)
            if len(waiting) == before and now() > looked + REFUSALS_SECONDS:
                values = {b64encode(planned[one].value).decode(): one for one in waiting}
                for identity, refusal in self._refusals(values, begins):
                    refused[identity] = refusal
                    waiting.pop(identity, None)
                looked = now()
            told(before - len(waiting))
            if len(waiting) < before:
                deadline = now() + SILENCE_SECONDS_MAX
            elif now() > deadline:
                raise _stalled(waiting.values())
            else:
                pause.wait(POLL_SECONDS)
        return refused

    def _refusals(
        self, values: Mapping[str, Identity], begins: Sequence[int]
    ) -> list[tuple[Identity, Refusal]]:
        """The dead letters of what was appended here: records from `begins` on with these
        bytes."""
        found = []
        for batch in in_batches(sorted({customer for customer, _ in values.values()})):
            rows = self.warehouse.query(
                REFUSED_SQL,
                {
                    "generation": self.generation.generation,
                    "topic": BUDGETS.name,
                    "keys": [b64encode(customer.encode()).decode() for customer in batch],
                    "partitions": list(range(len(begins))),
                    "begins": list(begins),
                },
            ).rows
            found += [
                (values[value], Refusal(str(code), str(reason)))
                for value, code, reason in rows
                if value in values
            ]
        return found


DECIDED_SQL: Final = """
SELECT customer_id, event_id FROM ledger
WHERE customer_id IN {customers:Array(String)} AND kind = {kind:String}
  AND source = {source:String} AND event_id IN {events:Array(String)}
"""


def decided(warehouse: Warehouse, facts: Iterable[Fact]) -> list[Identity]:
    """Customer and event id of those of these facts whose entry is in ClickHouse."""
    by_kind: dict[Kind, dict[str, list[str]]] = {}
    for one in facts:
        by_kind.setdefault(one.kind, {}).setdefault(one.customer_id, []).append(one.event_id)
    found: list[Identity] = []
    for kind, events in by_kind.items():
        for customers in in_batches(list(events)):
            wanted = sorted({event for customer in customers for event in events[customer]})
            parameters = {"customers": customers, "kind": kind, "source": SOURCE, "events": wanted}
            rows = warehouse.query(DECIDED_SQL, parameters).rows
            found += [(str(customer), str(event)) for customer, event in rows]
    return found


REFUSED_SQL: Final = """
SELECT record_value, code, reason FROM dead_letters
WHERE generation = {generation:UInt32} AND topic = {topic:String}
  AND record_key IN {keys:Array(String)}
  AND source_offset >= transform(`partition`, {partitions:Array(UInt32)}, {begins:Array(UInt64)},
                                 toUInt64(0))
"""


def _stalled(waiting: Iterable[Fact]) -> TransientError:
    left = list(waiting)
    return TransientError(
        f"{len(left):,} facts have not come to ClickHouse for {SILENCE_SECONDS_MAX:.0f} s, the "
        f"first is {left[0].kind} {left[0].event_id} of customer {left[0].customer_id!r}",
        action="Check that a worker and a sink run, then give the command again: it goes on where "
        "it stopped, and what was appended counts once.",
    )
