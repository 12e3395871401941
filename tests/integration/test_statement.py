"""A customer's entries page by page out of ClickHouse, while the sink goes on."""

from streams.adapters.clickhouse import ClickHouse
from streams.adapters.clickhouse_rows import ClickHouseRows
from streams.adapters.memory_sink import MemoryLog
from streams.gateway.messages import EntryLine
from streams.invoicing.statement import NEWEST, entries_before
from tests.rows import row
from tests.sinks import drain


async def test_pages_neither_repeat_nor_leave_out(clickhouse: ClickHouse) -> None:
    log = MemoryLog("ledger", 0)
    for sequence in range(10):
        log.append(row(sequence, customer="acme" if sequence % 2 else "other"))
    await drain(log, ClickHouseRows(clickhouse))
    first = entries_before(clickhouse, "acme", NEWEST, 3)
    assert [entry["place"] for entry in first] == ["1-9", "1-7", "1-5"]
    for entry in first:
        EntryLine.model_validate(entry)
        assert set(entry) == set(EntryLine.model_fields)
    assert (first[0]["cost"], first[0]["units"], first[0]["agent_id"]) == (
        "0.000000000001",
        1,
        None,
    )
    log.append(row(10, customer="acme"))
    await drain(log, ClickHouseRows(clickhouse))
    second = entries_before(clickhouse, "acme", (1, 5), 3)
    assert [entry["place"] for entry in second] == ["1-3", "1-1"]
    assert entries_before(clickhouse, "' OR 1 --", NEWEST, 3) == []
