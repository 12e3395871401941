"""What the demo sends, in order: every call once, some twice, some in conflict, some malformed.

A function of (day, calls, customers, partitions): the same bytes in the same order in every run, so
that a second run is nothing but duplicates and dead letters.
"""

from collections.abc import Iterable

from streams.demo.customers import choice
from streams.demo.events import DemoRecord, Outcome, Scenario, keyed_record, usage_body
from streams.demo.malformed import malformed_records
from streams.demo.trace import Call

REPEAT_EVERY = 10
"""One event in ten is sent twice, as producers do that retry after a lost answer."""

REPEAT_LATER_MAX = 5_000
"""Half of the repeats follow their event at once, the others up to so many calls later."""

CONFLICT_EVERY = 200
"""One event in 200 is followed by another of the same id with other tokens."""


def chosen(calls: Iterable[Call], purpose: str, every: int) -> set[str]:
    """The ids of exactly one call in `every`, rounded down but at least one: a seeded choice."""
    ranked = sorted((choice(purpose, call.event_id), call.event_id) for call in calls)
    return {event_id for _, event_id in ranked[: max(1, len(ranked) // every)]}


def build_records(calls: list[Call], scenario: Scenario) -> list[DemoRecord]:
    """Everything the demo sends, in order.

    Whatever refers to an event (a repeat, a conflict) has its key and stands after it, so the log
    keeps them in this order too.
    """
    repeated = chosen(calls, "repeat", REPEAT_EVERY)
    conflicting = chosen(calls, "conflict", CONFLICT_EVERY)
    placed: list[tuple[int, int, DemoRecord]] = []
    for place, call in enumerate(calls):
        body = usage_body(call, scenario)
        placed.append((place, 0, keyed_record(body, scenario, Outcome.ACCEPTED)))
        if call.event_id in repeated:
            later = choice("repeat-later", call.event_id)
            distance = later // 2 % REPEAT_LATER_MAX if later % 2 else 0
            placed.append((place + distance, 1, keyed_record(body, scenario, Outcome.DUPLICATE)))
        if call.event_id in conflicting:
            tokens = {**body["tokens"], "output": call.generated_tokens + 1}
            other = {**body, "tokens": tokens}
            distance = choice("conflict-later", call.event_id) % REPEAT_LATER_MAX
            placed.append((place + distance, 2, keyed_record(other, scenario, Outcome.DEAD_LETTER)))
    for number, record in enumerate(malformed_records(calls, scenario)):
        placed.append((choice("malformed-place", str(number)) % len(calls), 3, record))
    placed.sort(key=lambda item: item[:2])
    return [record for _, _, record in placed]
