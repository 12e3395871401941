"""When holds may expire: the index of deadlines, and the barrier of usage (P3)."""

import pytest

from streams.agents import expiries
from streams.agents.expiries import TASK_GRACE_US, Deadline, Expiries
from streams.domain.budget import Account
from streams.domain.holds import Hold
from streams.domain.tasks import Task
from tests.builders import NOON_US, SECOND_US


def hold(name: str, expires_at_us: int) -> Hold:
    return Hold(name, "unit", 1, 1, NOON_US, expires_at_us)


def loaded(*ends: int) -> Expiries:
    made = Expiries()
    holds = [hold(f"1-0-{number}", end) for number, end in enumerate(ends)]
    made.load(Account("acme", holds={one.reservation_id: one for one in holds}))
    made.loaded()
    return made


def test_the_earliest_hold_is_due_first() -> None:
    made = loaded(NOON_US + 3, NOON_US + 1, NOON_US + 2)
    assert not made.is_due(NOON_US)
    assert made.is_due(NOON_US + 1)
    made.set_barrier(NOON_US + 2, 0)
    assert [due.reservation_id for due in made.pass_barrier(0)] == ["1-0-1", "1-0-2"]
    assert not made.is_due(NOON_US + 2)


def test_nothing_expires_before_usage_is_folded_to_the_barrier() -> None:
    made = loaded(NOON_US)
    barriers = [made.barrier]
    made.set_barrier(NOON_US, usage_end=7)
    barriers.append(made.barrier)
    assert made.pass_barrier(6) == []
    barriers.append(made.barrier)
    assert made.pass_barrier(7) == [Deadline(NOON_US, "1-0-0", "customer", "acme")]
    barriers.append(made.barrier)
    assert made.pass_barrier(99) == []
    assert barriers == [None, 7, 7, None]


def test_a_task_waits_for_the_end_of_the_hold_that_goes_with_it() -> None:
    made = Expiries()
    made.load(Task("job", holds={"1-0-0": hold("1-0-0", NOON_US)}))
    assert not made.is_due(NOON_US + TASK_GRACE_US - 1)
    assert made.is_due(NOON_US + TASK_GRACE_US)


def test_a_deadline_that_was_put_back_is_due_again() -> None:
    made = loaded(NOON_US)
    made.set_barrier(NOON_US, 0)
    (due,) = made.pass_barrier(0)
    assert not made.is_due(NOON_US)
    made.postpone(due)
    assert made.is_due(NOON_US)


@pytest.mark.parametrize("kept", [0, 5])
def test_deadlines_of_ended_holds_do_not_pile_up(
    kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiries, "STALE_MAX", 10)
    made = loaded(*(NOON_US + number * SECOND_US for number in range(200)))
    for number in range(kept, 200):
        del made._open[f"1-0-{number}"]
    made.fold([])
    assert len(made) == kept
    assert len(made._queue) == kept
