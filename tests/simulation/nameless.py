"""What the producer of a simulation leaves without a customer, and what has to become of it: the
naive way, over the log as it came to lie."""

import random
from dataclasses import dataclass, field, replace

from schemas import codec
from schemas.partitioner import partition_of
from schemas.structs import Unassigned
from schemas.topics import SIGNALS, UNASSIGNED, USAGE
from streams.domain.facts import SourceRecord
from streams.domain.nameless import forward_of
from tests.nameless import binding, waiting
from tests.property.logs import Event
from tests.simulation.broker import Broker

WAIT_SECONDS_MAX = 30 * 86_400
"""Longer than a simulated installation lives: when waiting ends is for other tests."""

FORGOTTEN_US = 86_400 * 10**6
"""`window_days` of the simulation's rules is one."""

Forwarded = tuple[str, bytes, bytes]
"""Topic, key and value."""


def is_nameless(event: Event) -> bool:
    """Whether an event is sent without its customer: one out of four that could be. A function of
    its id, so that a repeat is as well."""
    return event.topic in (USAGE.name, SIGNALS.name) and int(event.event_id[1:]) % 4 == 1


def trace_of(event: Event) -> str:
    """The trace whose customer it has."""
    return f"trace of {event.customer}, {int(event.event_id[1:]) % 2}"


@dataclass
class Nameless:
    """All of it, by where it lies."""

    partitions: int
    events: dict[tuple[int, int], Event] = field(default_factory=dict)
    """By partition and offset of `unassigned`."""

    def bodies(self, event: Event, value: bytes, chance: random.Random) -> list[Unassigned]:
        """The event without its customer, and often the binding of its trace, before it or behind
        it; now and then another customer's."""
        trace, customer = trace_of(event), event.customer
        decode = codec.decode_usage if event.topic == USAGE.name else codec.decode_signal
        made = [waiting(trace, decode(value))]
        for whose, odds in ((customer, 0.5), ("c0", 0.1)):
            if chance.random() < odds:
                made.insert(chance.randrange(len(made) + 1), binding(trace, whose))
        return made

    def due(
        self, broker: Broker
    ) -> tuple[dict[Forwarded, tuple[int, Event]], list[tuple[int, int]]]:
        """What must have been passed on, how often and as which event; and where bindings lie that
        contradict an earlier one."""
        found: dict[Forwarded, tuple[int, Event]] = {}
        refused = []
        for partition in range(self.partitions):
            log = [
                (record, codec.decode_unassigned(record.value))
                for record in broker.all(UNASSIGNED.name, partition)
            ]
            for trace in {body.trace_id for _, body in log}:
                said = [one for one in log if one[1].trace_id == trace]
                passed, contradict = _of_trace(said)
                refused += [(partition, offset) for offset in contradict]
                for record, body, customer in passed:
                    topic, key, value = forward_of(body, customer)
                    count, _ = found.get((topic, key, value), (0, None))
                    event = replace(self.events[partition, record.offset], customer=customer)
                    found[topic, key, value] = (count + 1, event)
        return found, refused


Said = list[tuple[SourceRecord, Unassigned]]


def _of_trace(said: Said) -> tuple[list[tuple[SourceRecord, Unassigned, str]], list[int]]:
    """What of one trace is passed on to whom, and the offsets of bindings that contradict. A trace
    that nobody has mentioned for a day is nobody's again."""
    passed, contradict = [], []
    waits: Said = []
    customer, last_us = "", 0
    for record, body in said:
        if record.appended_at_us - last_us >= FORGOTTEN_US:
            customer = ""
        if body.customer_id is None:
            waits.append((record, body))
        elif customer in ("", body.customer_id):
            customer = body.customer_id
        else:
            contradict.append(record.offset)
            continue
        last_us = record.appended_at_us
        if customer:
            passed += [(*one, customer) for one in waits]
            waits = []
    return passed, contradict


def as_forwarded(due: dict[Forwarded, tuple[int, Event]], record: SourceRecord) -> Event | None:
    """The event that a record of `usage` or `signals` is, where it was passed on."""
    found = due.get((record.topic, record.key or b"", record.value or b""))
    return None if found is None else replace(found[1], appended_us=record.appended_at_us)


def partition_of_trace(body: Unassigned, partitions: int) -> int:
    """Where it has to lie."""
    return partition_of(body.trace_id.encode(), partitions)
