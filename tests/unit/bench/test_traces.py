"""The benchmark of joining tells figures only where every cost is shared out."""

import pytest

from schemas.structs import replace
from streams.bench import traces
from streams.bench.traces import run_traces
from streams.domain.folding import fold_cycle
from streams.errors import FaultError
from tests.builders import NOON_US


def test_a_small_day_is_joined_and_measured() -> None:
    report = run_traces(NOON_US, events=6_000, seed=1, rounds=1)
    figures = {result.name: result.value for result in report.results}
    assert figures["attributions"] > 1_000
    assert 200 < figures["state of an open trace"] < 2_000


def test_a_cost_that_is_not_shared_out_exactly_is_no_figure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def loses(*arguments: object) -> object:
        result = fold_cycle(*arguments)  # type: ignore[arg-type]
        result.attributions = [replace(row, amount="0") for row in result.attributions]
        return result

    monkeypatch.setattr(traces, "fold_cycle", loses)
    with pytest.raises(FaultError, match="not shared out"):
        run_traces(NOON_US, events=6_000, seed=1, rounds=1)
