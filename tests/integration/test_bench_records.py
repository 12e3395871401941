"""`tollgate bench preflight` measures records on a real worker, and finds all in the ledger."""

import time
from pathlib import Path

import pytest
import uvloop

from streams.bench import preflight
from streams.bench.events import Workload, yesterday_us
from streams.bench.ground import open_ground
from streams.bench.loaded import install
from streams.bench.preflight import PreflightOptions, run_scenarios
from streams.bench.preflight_plan import IN_WORKER, Scenario
from streams.bench.preflight_records import Recorders
from streams.bench.preflight_stack import running
from streams.embedded.endpoints import Endpoints
from streams.settings import Settings

RECORDS = Scenario("records", connections=5, rate=None, budgets=3, records=True)


def test_every_record_is_answered_from_its_entry_and_counted_once(
    endpoints: Endpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "WARM_SECONDS", 0.2)
    settings = Settings(home=tmp_path, kafka_bootstrap=endpoints.kafka_bootstrap)
    with open_ground(settings, lambda _line: None, pinned=False) as ground:
        begins = yesterday_us(time.time_ns() // 1_000)  # noqa: TID251
        loaded = install(ground, Workload(0, begins, partitions=2))
        with running(ground, loaded.settings, IN_WORKER) as stack:
            [done], books = uvloop.run(
                run_scenarios(
                    loaded, stack, PreflightOptions(seconds=1, partitions=2), IN_WORKER, [RECORDS]
                )
            )
        assert done.measured.sent >= RECORDS.connections
        assert isinstance(done.agents, Recorders)
        assert done.agents.unrecorded(done.measured.sent) == []
        assert done.agents.miscounted(books) == 0
        assert books.used_units(done.agents.customers) == done.measured.sent
