"""Whatever comes in whatever order: every event without a customer is passed on once, to the first
customer of its trace, or is a dead letter; and the worker's way of loading rows changes nothing."""

import random
from dataclasses import replace

import pytest

from schemas.structs import Unassigned
from tests.builders import DAY_US, SECOND_US, context
from tests.nameless import Nameless, binding, nameless_signal, nameless_usage
from tests.property.seed import SEED

CUSTOMERS = ("ann", "bob")
TRACES = tuple(f"t{n}" for n in range(6))
HOUR_US = 3_600 * SECOND_US
RULES = replace(context(unassigned_max=3, unassigned_seconds=7_200, window_days=1), partitions=1)
"""Limits small enough to be met."""
WIDE = replace(context(), partitions=1)


def story(chance: random.Random, count: int) -> list[Unassigned]:
    """Events, each with an id of its own, and bindings, some of which contradict each other."""
    found = []
    for number in range(count):
        trace = chance.choice(TRACES)
        if chance.random() < 0.25:
            found.append(binding(trace, chance.choice(CUSTOMERS), f"b{number}"))
        elif chance.random() < 0.7:
            found.append(nameless_usage(trace, f"e{number}", units=number))
        else:
            found.append(nameless_signal(trace, f"e{number}"))
    return found


def run(
    books: Nameless, chance: random.Random, bodies: list[Unassigned], steps_us: list[int]
) -> Nameless:
    """These records in cycles of some, with time passing, and hand-overs now and then."""
    at = 0
    while at < len(bodies):
        size = chance.randrange(1, 6)
        books.cycle(*bodies[at : at + size], after_us=chance.choice(steps_us))
        at += size
        if chance.random() < 0.2:
            books = books.restart()
    return books


def check(books: Nameless, bodies: list[Unassigned]) -> None:
    """Every event ended once, and as the first binding says."""
    passed: dict[str, str] = {}
    for customer, event in books.passed_on():
        assert event not in passed, "passed on twice"
        passed[event] = customer
    letters = [one.record.offset for one in books.rejected]
    assert len(letters) == len(set(letters))
    left = {event.offset for event in books.state.unbound.events.values()}
    for offset, body in enumerate(bodies):
        ends = (body.event_id in passed) + (offset in letters) + (offset in left)
        assert ends == (body.customer_id is None or offset in letters), body
    assert books.state.progress.waiting == len(left) == books.owns[-1].waiting


@pytest.mark.parametrize("number", range(60))
def test_every_event_is_passed_on_once_or_is_a_dead_letter(number: int) -> None:
    chance = random.Random(f"{SEED} nameless {number}")
    bodies = story(chance, 80)
    rules = chance.choice((RULES, WIDE))
    books = run(Nameless(rules, loaded=False), chance, bodies, [SECOND_US, HOUR_US, DAY_US])
    check(books, bodies)
    for _ in range(4):
        books.tick(end=len(bodies), after_us=200 * DAY_US)
    check(books, bodies)
    assert books.state.progress.waiting == 0
    assert books.table == {}


@pytest.mark.parametrize("number", range(40))
def test_the_first_binding_of_a_trace_counts_whenever_it_comes(number: int) -> None:
    chance = random.Random(f"{SEED} first {number}")
    bodies = story(chance, 60)
    books = run(Nameless(WIDE), chance, bodies, [SECOND_US])
    first: dict[str, str] = {}
    for body in bodies:
        if body.customer_id is not None:
            first.setdefault(body.trace_id, body.customer_id)
    whose = {event: customer for customer, event in books.passed_on()}
    for offset, body in enumerate(bodies):
        if body.customer_id is None:
            assert whose.get(body.event_id) == first.get(body.trace_id)
        else:
            refused = ("other_customer", offset) in books.refused()
            assert refused == (body.customer_id != first[body.trace_id])


@pytest.mark.parametrize("number", range(60))
def test_how_cycles_are_cut_makes_no_difference_to_what_becomes_of_an_event(number: int) -> None:
    chance = random.Random(f"{SEED} cuts {number}")
    bodies, rules = story(chance, 60), chance.choice((RULES, WIDE))
    gaps = [chance.choice((0, SECOND_US, HOUR_US, HOUR_US, DAY_US)) for _ in bodies]
    found = []
    for loaded in (True, True, False):
        books = Nameless(rules, loaded=loaded)
        for body, gap in zip(bodies, gaps, strict=True):
            books.append(body, after_us=gap)
            if chance.random() < 0.3:
                books.cycle()
            if chance.random() < 0.1:
                books.tick(end=len(books.records), after_us=0)
        books.cycle()
        books.now_us += 200 * DAY_US
        # A cycle ends so many segments of what waits, and no more.
        while books.state.progress.waiting:
            books.tick(end=len(bodies), after_us=SECOND_US)
        found.append((books.forwards, sorted(books.refused(), key=lambda one: one[1])))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("number", range(40))
def test_loading_what_a_cycle_can_look_at_makes_no_difference(number: int) -> None:
    for rules in (RULES, WIDE):
        found = []
        for loaded in (True, False):
            chance = random.Random(f"{SEED} loading nameless {number}")
            bodies = story(chance, 80)
            books = run(
                Nameless(rules, loaded=loaded), chance, bodies, [SECOND_US, HOUR_US, DAY_US]
            )
            books.tick(end=len(bodies), after_us=HOUR_US)
            found.append((books.forwards, books.rejected, books.owns, books.table))
        assert found[0] == found[1]
