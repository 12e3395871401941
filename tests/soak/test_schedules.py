"""Short schedules of `make soak`, one of each kind of trouble that `test_all` leaves out; the books
must be exact."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.soak.run import run_schedule
from tests.soak.schedule import make_schedule

if TYPE_CHECKING:
    from streams.embedded.stack import EmbeddedStack

SEEDS = {"zombies": 2, "broker": 2, "clickhouse": 5}


@pytest.mark.parametrize("kind", SEEDS)
def test_nothing_is_lost_doubled_or_wrong_after_a_schedule_of(
    kind: str, stack: "EmbeddedStack", unique_name: str, tmp_path: Path
) -> None:
    schedule = make_schedule(SEEDS[kind], kind, short=True)
    report = run_schedule(stack, schedule, tmp_path / "logs", unique_name)
    assert report.verdict.faults == [], f"{report.actions}; logs in {report.logs}"
    assert report.verdict.events > 1_000, "events came while things broke"
