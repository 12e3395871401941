"""`tollgate bench preflight` finds what a decider does wrong, in the log alone, and finds nothing
where everything is right."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from streams.bench import agents, preflight
from streams.bench.events import Workload, yesterday_us
from streams.bench.ground import open_ground
from streams.bench.loaded import install
from streams.bench.preflight import Done, PreflightOptions, run_scenarios
from streams.bench.preflight_books import Verdict
from streams.bench.preflight_plan import IN_WORKER, Scenario
from streams.bench.preflight_stack import Stack
from streams.embedded.endpoints import Endpoints
from streams.settings import Settings
from tests.integration.decider import Decider

ONE = Scenario("one budget", connections=10, rate=400.0)
SEVERAL = Scenario("several budgets", connections=10, rate=400.0, budgets=5)


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "WARM_SECONDS", 0.5)
    monkeypatch.setattr(preflight, "CLOSING_SECONDS_MAX", 6.0)
    monkeypatch.setattr(agents, "TTL_SECONDS", 1)


def bench(
    endpoints: Endpoints, home: Path, scenarios: list[Scenario], **wrong: Any
) -> tuple[list[Done], list[Verdict]]:
    settings = Settings(home=home, kafka_bootstrap=endpoints.kafka_bootstrap)
    with open_ground(settings, lambda _line: None, pinned=False) as ground:
        begins = yesterday_us(time.time_ns() // 1_000)  # noqa: TID251
        loaded = install(ground, Workload(0, begins, partitions=2))

        async def run() -> tuple[list[Done], list[Verdict]]:
            async with Decider(loaded, **wrong).running() as port:
                stack = Stack(loaded.settings, [], port)
                options = PreflightOptions(seconds=1, partitions=2)
                done, books = await run_scenarios(loaded, stack, options, IN_WORKER, scenarios)
            return done, [books.judge(each.agents.told, each.agents.customers) for each in done]

        return asyncio.run(run())


def test_of_a_decider_that_is_right_nothing_is_wrong(endpoints: Endpoints, tmp_path: Path) -> None:
    lookups = Scenario("lookups", connections=10, rate=400.0, lookups=True, ingest=2_000.0)
    done, verdicts = bench(endpoints, tmp_path, [ONE, SEVERAL, lookups])
    assert all(verdict.is_right for verdict in verdicts), verdicts
    for each, verdict in zip(done[:2], verdicts, strict=False):
        assert each.measured.statuses == {200: 600}
        assert verdict.approved + verdict.refused == 600
        assert verdict.refused > 0  # the budget ran out, so it could have been overspent
        assert len(each.measured.latencies_ms) == 400
    assert done[2].measured.statuses == {200: 600}
    assert done[2].ingested == 3_000


def test_answers_that_were_lost_are_asked_again_and_found(
    endpoints: Endpoints, tmp_path: Path
) -> None:
    (done,), (verdict,) = bench(endpoints, tmp_path, [ONE], drops_one_in=20)
    assert done.measured.lost > 10
    assert done.asked_again == done.measured.lost
    assert len(done.agents.told) == 600
    assert verdict.is_right, verdict


@pytest.mark.parametrize(
    ("wrong", "what"),
    [("overspends", "overspent_units"), ("leaks", "leaked_holds"), ("lies", "void_answers")],
)
def test_what_a_decider_does_wrong_is_found(
    endpoints: Endpoints, tmp_path: Path, wrong: str, what: str
) -> None:
    _, (verdict,) = bench(endpoints, tmp_path, [ONE], **{wrong: True})
    assert getattr(verdict, what) > 0
