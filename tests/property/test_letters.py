"""Replays among retries, corrections and other replays: an event never counts twice, none is lost.

A naive seller keeps a list of everything that ever counted and decides each step from it. A letter
is a record that lay where nobody could accept it; what it says is decided when it is replayed.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from schemas.structs import ResolutionEntry, UsageEntry
from schemas.times import format_time
from streams.domain.facts import Fact
from streams.domain.invariants import check_cycle
from streams.domain.replay import fold_entries
from streams.domain.state import PartitionState
from tests.builders import (
    DAY_US,
    HOUR_US,
    NOON_US,
    cycle,
    fact,
    of_kind,
    own_entry,
    record,
    replay,
    state,
    usage,
)
from tests.property.logs import FUTURE_US, HORIZON_DAYS, LATENESS_DAYS, property_test, rules

HORIZON_US = HORIZON_DAYS * DAY_US
LATENESS_US = LATENESS_DAYS * DAY_US


@dataclass(frozen=True)
class Said:
    """What a record says: whose id, how much, and when it happened (None: when it was appended)."""

    event_id: str
    units: int
    occurred_us: int | None
    appended_us: int

    def happened_us(self) -> int:
        """The event time."""
        return self.appended_us if self.occurred_us is None else self.occurred_us

    def content(self) -> tuple[int, int | None]:
        """What must not count twice."""
        return (self.units, self.occurred_us)


@dataclass(frozen=True)
class Step:
    """Something that happens at a time: a record that lies right, or the replay of a letter."""

    at_us: int
    said: Said
    letter: int | None = None


@st.composite
def steps(draw: st.DrawFn, pauses: tuple[int, ...], timed: bool | None = None) -> list[Step]:
    """Up to twenty steps. Few ids and contents, so that many records speak of one event."""
    found: list[Step] = []
    letters: list[Said] = []
    now_us = NOON_US
    for _ in range(draw(st.integers(2, 20))):
        now_us += draw(st.sampled_from(pauses))
        what = draw(st.sampled_from(("letter", "retry", "replay", "replay")))
        if what == "replay" and letters:
            number = draw(st.integers(0, len(letters) - 1))
            found.append(Step(now_us, letters[number], number))
            continue
        with_time = draw(st.booleans()) if timed is None else timed
        when = draw(st.sampled_from((0, HOUR_US, -HOUR_US, -DAY_US, 3 * DAY_US, -2 * DAY_US)))
        said = Said(
            draw(st.sampled_from(("a", "b"))),
            draw(st.integers(1, 2)),
            NOON_US + when if with_time else None,
            now_us,
        )
        if what == "letter":
            letters.append(said)
        else:
            found.append(Step(now_us, said))
    return found


@dataclass
class Seller:
    """Decides as a person would who remembers everything."""

    counted: list[Said] = field(default_factory=list)
    resolved: dict[int, int] = field(default_factory=dict)

    def take(self, step: Step) -> str:
        """What becomes of a step: counted, duplicate, known (a replay of what counted) or a
        code."""
        said, asked_us = step.said, step.at_us
        if step.letter in self.resolved and asked_us - self.resolved[step.letter] <= HORIZON_US:
            return "duplicate"
        same_id = [one for one in self.counted if one.event_id == said.event_id][-1:]
        holds = [one for one in same_id if asked_us - one.appended_us <= HORIZON_US]
        if holds and holds[0].content() != said.content():
            return "conflict"
        if holds:
            if step.letter is None:
                return "duplicate"
            self.resolved[step.letter] = asked_us
            return "known"
        if said.appended_us - said.happened_us() > LATENESS_US:
            return "too_old"
        if said.happened_us() - said.appended_us > FUTURE_US:
            return "in_future"
        if step.letter is not None:
            if asked_us - said.happened_us() > HORIZON_US - FUTURE_US:
                return "too_old"
            self.resolved[step.letter] = asked_us
        self.counted.append(said)
        return "counted"


def body_of(said: Said) -> Any:
    more = {} if said.occurred_us is None else {"occurred_at": format_time(said.occurred_us)}
    return usage(event_id=said.event_id, units=said.units, **more)


def fact_of_step(step: Step, offset: int) -> Fact:
    if step.letter is None:
        return fact(body_of(step.said), offset, step.at_us)
    original = record(body_of(step.said), step.letter, step.said.appended_us)
    return fact(replay(original, partition=5), offset, step.at_us)


def decided(into: PartitionState, log: list[Step]) -> tuple[list[str], list[Any]]:
    """What the pipeline makes of each step, and all entries."""
    found, entries = [], []
    for offset, step in enumerate(log):
        first = into.progress.next_sequence
        result = cycle(into, fact_of_step(step, offset), context=rules(), at_us=step.at_us)
        check_cycle(result, first, 1)
        entries += result.entries
        if result.rejected:
            found.append(result.rejected[0].code.value)
        elif own_entry(result).duplicates:
            found.append("duplicate")
        elif of_kind(UsageEntry, result.entries):
            found.append("counted")
        else:
            (resolution,) = of_kind(ResolutionEntry, result.entries)
            assert resolution.resolution == "duplicate"
            found.append("known")
    return found, entries


WEEKS = (0, 1, HOUR_US, 10 * HOUR_US, DAY_US, 3 * DAY_US)


@property_test(steps(WEEKS), examples=400)
def test_replays_are_decided_as_by_one_who_remembers_everything(log: list[Step]) -> None:
    seller = Seller()
    found, entries = decided(state(), log)
    assert found == [seller.take(step) for step in log]
    counted = of_kind(UsageEntry, entries)
    assert [(e.event_id, e.units, e.appended_at) for e in counted] == [
        (one.event_id, one.units, one.appended_us) for one in seller.counted
    ]


@property_test(steps(WEEKS, timed=True), examples=400)
def test_an_event_with_a_time_counts_once_however_often_it_is_sent_and_replayed(
    log: list[Step],
) -> None:
    _, entries = decided(state(), log)
    counted = Counter((e.event_id, e.units, e.occurred_at) for e in of_kind(UsageEntry, entries))
    assert all(times == 1 for times in counted.values()), counted


@property_test(steps((0, 1, HOUR_US), timed=False))
def test_an_event_without_a_time_counts_once_within_the_horizon(log: list[Step]) -> None:
    assert log[-1].at_us - NOON_US < HORIZON_US if log else True
    _, entries = decided(state(), log)
    counted = Counter(e.event_id for e in of_kind(UsageEntry, entries))
    assert all(times == 1 for times in counted.values()), counted


@property_test(steps(WEEKS))
def test_entry_ids_stay_unique_and_the_ledger_folds_back(log: list[Step]) -> None:
    into = state()
    _, entries = decided(into, log)
    ids = [entry.entry_id for entry in entries]
    assert len(set(ids)) == len(ids)
    again = fold_entries(entries)
    assert again.accounts == into.accounts
    assert again.progress == into.progress
