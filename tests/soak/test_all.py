"""The soak of everything for half a minute: a worker loses its disk, a gateway is killed, a worker
is replaced as planned. What needs longer (flatness, all faults) is `make soak-all`; how it judges
is tested here."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.soak.all_plan import make_plan
from tests.soak.all_report import as_json, as_markdown
from tests.soak.all_run import run_everything
from tests.soak.all_samples import Sample, Series, drift, judge

if TYPE_CHECKING:
    from streams.embedded.stack import EmbeddedStack

LOAD_SECONDS = 16.0


def lived(seconds: int, mib: Callable[[int], float], descriptors: int = 40) -> Series:
    """A life of a worker, looked at every three seconds."""
    looks = [Sample(at, mib(at), descriptors, 9, 12) for at in range(0, seconds, 3)]
    return Series("worker0", 1, looks)


def test_a_line_through_noise_says_by_how_much_it_rises() -> None:
    assert drift([(0, 5.0), (10, 5.0)]) == 0
    assert drift([(at, 2.0 * at + (at % 2)) for at in range(101)]) == pytest.approx(200, abs=1)
    assert drift([(1, 3.0)]) == 0


def test_what_fills_up_at_the_start_is_no_leak_and_what_goes_on_is_one() -> None:
    filled = judge(lived(1_200, lambda at: 150 + min(at, 200) / 2))
    assert filled is not None
    assert filled.faults == ()
    leaking = judge(lived(1_200, lambda at: 150 + at * 1_024 * 200 / 2**20))
    assert leaking is not None
    [fault] = leaking.faults
    assert "memory drifts by +186.9" in fault
    assert judge(lived(300, lambda at: at)) is None, "too short to say anything"


def test_what_servers_keep_open_is_shown_and_not_judged() -> None:
    looks = [Sample(at, at, at, 9, 12) for at in range(0, 1_200, 3)]
    for name, judged in (("clickhouse", 0), ("gateway0", 2)):
        found = judge(Series(name, 1, looks))
        assert found is not None
        assert found.drift_descriptors > 900
        assert len(found.faults) == judged


@pytest.mark.parametrize("seed", [1, 2, 3, 7])
def test_a_plan_is_its_seeds_alone_and_spares_who_is_watched_to_the_end(seed: int) -> None:
    plan = make_plan(seed, 1_200)
    assert plan == make_plan(seed, 1_200)
    assert plan != make_plan(seed + 1, 1_200)
    verbs = {action.verb for action in plan.actions}
    assert {"kill", "kill-and-lose-disk", "pause", "wake", "roll", "clickhouse"} <= verbs
    assert {"broker-restart", "broker-silent", "clickhouse-kill"} <= verbs
    spared = {"worker0", "sink0", "gateway0"}
    assert {a.verb for a in plan.actions if a.target in spared} == {"roll"}
    assert max(action.at for action in plan.actions) < 1_200 * 0.95


@pytest.mark.timeout(600)
def test_whoever_falls_everything_is_answered_and_in_the_books_once(
    stack: "EmbeddedStack", unique_name: str, tmp_path: Path
) -> None:
    result = run_everything(stack, make_plan(1, LOAD_SECONDS), tmp_path / "logs", unique_name)
    assert result.verdict.faults == [], as_markdown(result)
    assert [what for _, what in result.done] == [
        "kill-and-lose-disk worker1",
        "kill gateway1",
        "kill sink1",
        "roll worker2",
    ]
    told = as_json(result)
    assert told["books"]["events"] > 1_000, "events came while things broke"
    kinds = {"preflight", "record", "AgentBill preflight", "AgentBill event", "OTLP"}
    assert kinds | {"Paid signals", "Paid costs"} <= told["http"].keys()
    assert all(each["unanswered"] == 0 for each in told["http"].values())
    assert result.decisions is not None
    assert result.decisions.approved > 0
    assert (result.exits["worker1"][-9], result.exits["gateway1"][-9]) == (1, 1)
