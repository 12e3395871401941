"""A partition over weeks, step by step against the naive model (`tests.property.machine`).

MACHINE_RUNS sets how many lives there are; `--hypothesis-seed`, which each run prints, repeats one.
"""

import os
from typing import Final

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.property.machine import Partition
from tests.property.side_by_side import SEEN

RUNS: Final = int(os.environ.get("MACHINE_RUNS", "200"))
STEPS: Final = 80

KINDS: Final = (
    *("usage counted", "usage duplicate", "usage conflict", "usage too_old", "usage in_future"),
    *("usage wrong_key", "usage wrong_partition", "usage invalid_field"),
    *("signals counted", "signals duplicate", "signals conflict"),
    *("budgets counted", "budgets duplicate", "budgets conflict", "budgets too_many_grants"),
    *("replay counted", "replay duplicate", "replay conflict", "replay too_old"),
    *("discard counted", "discard duplicate"),
    *("repeat within the horizon", "counted again beyond the horizon", "corrected"),
    *("rules", "prices", "generation", "topic kept", "restart", "store lost", "days pass"),
    *("priced", "burnt", "reset"),
)
"""What a run has to have met, so that it cannot come to test nothing."""


def test_weeks_of_a_partition_come_to_the_books_of_the_naive_model() -> None:
    SEEN.clear()
    many = settings(max_examples=RUNS, stateful_step_count=STEPS, deadline=None, database=None)
    run_state_machine_as_test(Partition, settings=many)
    print(dict(SEEN))
    assert [kind for kind in KINDS if not SEEN[kind]] == []
    assert SEEN["step"] > 10 * RUNS
    assert SEEN["cut"] > RUNS
