"""Records that nobody can accept, one kind per way of being wrong, each with its dead-letter code.

Every kind starts from a real call of the trace, under an id of its own (`bad-…`): if one of them
were accepted after all, the totals would show it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from schemas.limits import EVENT_BYTES_MAX
from schemas.partitioner import partition_of
from streams.demo.customers import choice
from streams.demo.events import DemoRecord, Outcome, Scenario, encode_body, usage_body
from streams.demo.trace import Call

CALLS_PER_ROUND = 2_800
"""Each kind is sent once per so many calls: ten times with all rows, once with a thousand."""

Body = dict[str, Any]
Change = Callable[[Body], bytes | None]


@dataclass(frozen=True, slots=True)
class Kind:
    """A way of being wrong. `value` makes the bytes from a good body.

    `key` and `shift` are for what is wrong outside the value: another key, another partition.
    """

    name: str
    code: str
    value: Change = encode_body
    key: Callable[[bytes], bytes | None] | None = None
    shift: int = 0


def _set(**fields: object) -> Change:
    return lambda body: encode_body({**body, **fields})


def _without(field: str) -> Change:
    return lambda body: encode_body({k: v for k, v in body.items() if k != field})


def _text(old: str, new: str) -> Change:
    return lambda body: encode_body(body).replace(old.encode(), new.encode())


def _padded(body: Body) -> bytes:
    good = encode_body(body)
    return good + b" " * (EVENT_BYTES_MAX + 1 - len(good))


KINDS = (
    Kind("broken JSON", "malformed", lambda body: encode_body(body)[:-1]),
    Kind("a bare NaN", "malformed", _text('"units":1', '"units":1,"cost":NaN')),
    Kind("no value", "empty", lambda _: None),
    Kind("too large", "oversized", _padded),
    Kind("another version", "unknown_version", _set(schema_version=2)),
    Kind("no version", "unknown_version", _without("schema_version")),
    Kind("an unknown field", "unknown_field", _set(colour="blue")),
    Kind("negative units", "invalid_field", _set(units=-1)),
    Kind("NaN as a cost", "invalid_field", _set(cost="NaN")),
    Kind("a negative cost", "invalid_field", _set(cost="-0.01")),
    Kind("no customer", "invalid_field", _without("customer_id")),
    Kind("the key of another", "wrong_key", key=lambda key: key + b"-x"),
    Kind("no key", "wrong_key", key=lambda _: None),
    Kind("another partition", "wrong_partition", shift=1),
    # The day on which the calls really happened: far beyond the lateness limit.
    Kind("years old", "too_old", _set(occurred_at="2023-11-16T18:17:03Z")),
    Kind("far in the future", "in_future", _set(occurred_at="2999-01-01T00:00:00Z")),
)
"""With one partition there is no other, so "another partition" is left out there."""


def malformed_records(calls: list[Call], scenario: Scenario) -> Iterator[DemoRecord]:
    """All malformed records of a run, round by round through the kinds."""
    kinds = [kind for kind in KINDS if not kind.shift or scenario.partitions > 1]
    for number in range(max(1, len(calls) // CALLS_PER_ROUND)):
        for kind in kinds:
            call = calls[choice("malformed", f"{kind.name}/{number}") % len(calls)]
            body = usage_body(call, scenario)
            body["event_id"] = f"bad-{kind.name.replace(' ', '-')}-{number:03d}"
            good_key = str(body["customer_id"]).encode()
            key = kind.key(good_key) if kind.key else good_key
            home = partition_of(good_key if key is None else key, scenario.partitions)
            partition = (home + kind.shift) % scenario.partitions
            yield DemoRecord(key, kind.value(body), partition, Outcome.DEAD_LETTER, kind.code)
