"""What names traces in a simulated installation: costs and signals that meet, signals taken back,
owners that let time pass."""

import random
from dataclasses import dataclass, field, replace
from typing import Any, Final

from schemas import codec
from schemas.envelope import SCHEMA_VERSION
from schemas.structs import Lease, SignalEntry, Tick, Void
from schemas.topics import ACCOUNTS_CHANGELOG, LEDGER, PREFLIGHTS, SIGNALS, UNASSIGNED, USAGE
from streams.domain.appends import decode_progress
from streams.ports import PROGRESS_KEY
from tests.property.logs import Event
from tests.simulation.broker import Broker, Stored

TRACE_RULES: Final = {
    "trace_lateness_seconds": 600,
    "trace_grace_seconds": 3_000,
    "window_days": 1,
    "window_costs_max": 5,
    "window_signals_max": 3,
    "windows_open_max": 3,
}
"""Windows close within the hour that lies between many events, and meet every limit."""


def traced(event: Event) -> Event:
    """Three out of four events of usage and signals name a trace, or a scope, or both, of one of
    two customers, so that they meet. A function of the event's id: a repeat names the same."""
    number = int(event.event_id.removeprefix("e"))
    if event.topic not in (USAGE.name, SIGNALS.name) or number % 4 == 3:
        return event
    named: dict[str, Any] = {}
    if number % 7:
        named["trace_id"] = f"t{number % 3 % 2}"
    if number % 5 < 2 or not named:
        named["scope_id"] = "1"
    if event.topic == SIGNALS.name:
        named |= {"cost_tracing": number % 6 > 0, "weight": 1 + number % 5}
    customer = f"c{number % 2}"
    return replace(event, customer=customer, fields=(*event.fields, *named.items()))


def void_of(chance: random.Random, broker: Broker, partition: int) -> Void | None:
    """Takes back a signal that the ledger holds, None where it holds none."""
    ledger = broker.all(LEDGER.name, partition)
    entries = [codec.decode_entry(record.value or b"") for record in ledger]
    signals = [entry for entry in entries if isinstance(entry, SignalEntry)]
    if not signals:
        return None
    signal = chance.choice(signals)
    return Void(
        schema_version=SCHEMA_VERSION,
        event_id=f"void {len(ledger)} {signal.event_id}",
        source="admin",
        customer_id=signal.customer_id,
        signal_source=signal.source,
        signal_event_id=signal.event_id,
        signal_entry=signal.entry_id,
        signal_decided_at=signal.decided_at,
        signal_name=signal.signal_name,
        quantity=signal.quantity,
        trace_id=signal.trace_id or None,
        scope_id=signal.scope_id or None,
        cost=chance.choice(("unattributed", "move")),
    )


@dataclass
class Owners:
    """What owners append while nothing comes: leases, and ticks under them."""

    broker: Broker
    leases: dict[int, list[tuple[int, str]]] = field(default_factory=dict)
    """Of each partition, by offset and nonce."""

    def lease(self, partition: int) -> None:
        """A new owner."""
        taken = self.leases.setdefault(partition, [])
        nonce = f"{len(taken):016x}"
        offset = self._append(
            partition,
            Lease(
                schema_version=SCHEMA_VERSION,
                nonce=nonce,
                owner="127.0.0.1:1",
                cycle=0,
                decided_at=self.broker.now_us,
            ),
        )
        taken.append((offset, nonce))

    def tick(self, partition: int, which: int = -1) -> None:
        """An owner lets time pass, having seen all of both topics. Any owner but the last one is
        none any more."""
        if partition not in self.leases:
            self.lease(partition)
        offset, nonce = self.leases[partition][which]
        seen = {name: self.broker.all(name, partition) for name in (USAGE.name, UNASSIGNED.name)}
        self._append(
            partition,
            Tick(
                schema_version=SCHEMA_VERSION,
                lease=offset,
                nonce=nonce,
                decided_at=self.broker.now_us,
                end_offsets={name: log[-1].offset + 1 if log else 0 for name, log in seen.items()},
            ),
        )

    def _append(self, partition: int, body: Lease | Tick) -> int:
        log = self.broker.logs[PREFLIGHTS.name, partition]
        log.append(Stored(None, codec.encode(body), self.broker.now_us))
        return len(log) - 1


def is_waiting(broker: Broker, partition: int) -> bool:
    """Whether windows of a partition wait to close, as its changelog says."""
    for one in reversed(broker.all(ACCOUNTS_CHANGELOG.name, partition)):
        if one.key == PROGRESS_KEY:
            progress = decode_progress(one.value or b"")
            return progress.closing_from < progress.closing_to
    return False
