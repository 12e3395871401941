"""What is decided from rows waits for all of them: a cycle's own row, which says how far `budgets`
was consumed, may be in the table before the entries that followed from it."""

import asyncio
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from schemas.structs import CycleEntry
from schemas.topics import BUDGETS, LEDGER
from streams.adapters.clickhouse_rows import ClickHouseRows
from streams.adapters.memory_sink import MemoryLog
from streams.app import caught_up
from streams.app.caught_up import CONSUMED_SQL, MARKS_SQL, await_rows
from streams.embedded.endpoints import Endpoints
from streams.errors import TransientError
from streams.ports import Answer
from tests.builders import json_of
from tests.recovery.cases import one_partition
from tests.sinks import drain, migrated_database


class Looked:
    """A database that is asked, and is filled further at each look at its marks."""

    def __init__(self, asked: Any, parts: list[MemoryLog]) -> None:
        self._asked = asked
        self._parts = parts
        self.looks: list[str] = []

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Answer:
        answer: Answer = self._asked.query(sql, parameters)
        self.looks.append(sql)
        if sql == MARKS_SQL and self._parts:
            asyncio.run(drain(self._parts.pop(0), ClickHouseRows(self._asked)))
        return answer


def log_of(values: list[bytes]) -> MemoryLog:
    log = MemoryLog(LEDGER.name, 0)
    for value in values:
        log.append(value)
    return log


def test_what_a_cycle_consumed_is_waited_for_as_well_as_its_own_row(
    endpoints: Endpoints, unique_name: str, tmp_path: Path
) -> None:
    with (
        one_partition(endpoints, unique_name, tmp_path) as installation,
        migrated_database(endpoints, unique_name) as clickhouse,
    ):
        grant = {"kind": "grant", "denomination": "usd", "amount": "1"}
        grants = [json_of("a", f"grant-{number}", grant) for number in range(9)]
        installation.produce(BUDGETS.name, grants, key="a")
        worker = installation.start_worker()
        installation.wait_consumed()
        assert installation.stop(worker) == 0
        [records] = installation.read(LEDGER.name)
        values = [record.value for record in records]
        [entries] = installation.entries()
        cycle = max(at for at, entry in enumerate(entries) if isinstance(entry, CycleEntry))
        assert cycle + 2 < len(entries), "entries followed from the last cycle"
        asyncio.run(drain(log_of(values[: cycle + 1]), ClickHouseRows(clickhouse)))
        looked = Looked(clickhouse, [log_of(values[: cycle + 2]), log_of(values)])
        asyncio.run(await_rows(installation.settings, looked, 1, 1))
        assert looked.looks.count(MARKS_SQL) == 3, "twice something was missing"
        assert looked.looks.count(CONSUMED_SQL) >= 1
        [[rows]] = clickhouse.query("SELECT count() FROM ledger").rows
        assert rows == len(values)


async def test_rows_that_do_not_come_are_told_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(caught_up, "POLL_SECONDS", 0)
    clock = count(0.0, 30.0)
    with pytest.raises(TransientError) as told:
        await caught_up.reached(lambda: {0: 1}, {0: 2}, "budgets", lambda: next(clock))
    assert "budgets/0 up to 1, the topic goes up to 2" in told.value.message
    assert "workers and sinks" in told.value.action
