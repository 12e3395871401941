"""A sink that is paused in the middle of its insert: the real server, half a body, another sink.

Each of the three checks of an insert (guard, limit, token) is taken away once, to see that it is
needed: without it the rows are doubled.
"""

import contextlib
import http.client
import select
import socket
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import pytest

from schemas.codec import join_rows
from streams.adapters.clickhouse import ClickHouse
from streams.adapters.clickhouse_rows import (
    BODY_SECONDS_MAX,
    INSERT_SETTINGS,
    ClickHouseRows,
    describe,
    insert_statement,
)
from streams.adapters.memory_sink import EndOfLogError, MemoryLog
from streams.embedded.endpoints import Endpoints
from streams.errors import FaultError, TollgateError
from streams.limits import SINK_BATCH_BYTES_MAX, SINK_BATCH_ROWS_MAX
from streams.ports import NO_ROWS, OutboundRecord
from streams.sink.rows import BatchLimits
from tests.rows import rows
from tests.sinks import ClickHouseTable, drain, migrated_database

# The server reads this much of a body to find the end of the statement before it begins.
STATEMENT_BYTES: Final = 262_144
ROWS: Final = 4_000
ANSWER_SECONDS: Final = 30


@pytest.fixture
def table(endpoints: Endpoints, unique_name: str) -> Iterator[ClickHouseTable]:
    with migrated_database(endpoints, unique_name) as clickhouse:
        yield ClickHouseTable(clickhouse)


class PausedInsert:
    """An insert of rows 0 to ROWS - 1 under the mark of an empty table, whose body stops
    half-way."""

    def __init__(
        self,
        clickhouse: ClickHouse,
        *,
        guard: bool = True,
        token: bool = True,
        seconds_max: int = BODY_SECONDS_MAX,
    ) -> None:
        self.clickhouse = clickhouse
        statement = insert_statement("ledger", describe(clickhouse, "ledger"), 1, 0, NO_ROWS)
        assert f"INTERVAL {BODY_SECONDS_MAX} SECOND" in statement
        statement = statement.replace(
            f"INTERVAL {BODY_SECONDS_MAX} SECOND", f"INTERVAL {seconds_max} SECOND"
        )
        if not guard:
            before, _, after = statement.partition("WHERE (SELECT")
            statement = before + "WHERE 1 AND NOT" + after.partition("AND NOT")[2]
        self.body = join_rows(rows(range(ROWS)))
        assert len(self.body) > 3 * STATEMENT_BYTES
        self.half = len(self.body) // 2
        self.query_id = f"{clickhouse.address.database}-paused"
        self.parameters = {
            "query": statement,
            "query_id": self.query_id,
            "database": clickhouse.address.database,
            "user": clickhouse.address.user,
            "password": clickhouse.address.password,
            "wait_end_of_query": "1",
            **{name: str(value) for name, value in INSERT_SETTINGS.items()},
        }
        if token:
            self.parameters["insert_deduplication_token"] = f"ledger:1:0:{NO_ROWS}"
        address = urllib.parse.urlsplit(clickhouse.address.url)
        self.socket = socket.create_connection((address.hostname, address.port), ANSWER_SECONDS)

    def begin(self) -> None:
        """Send the first half, and return when the server has begun to insert."""
        self.send_half()
        self.wait(
            lambda: self.ask(
                # Once the pipeline stands, the guard has been evaluated.
                "SELECT count() FROM system.processes WHERE query_id = {id:String} "
                "AND ProfileEvents['QueryPipelineBuildMicroseconds'] > 0",
                {"id": self.query_id},
            )
        )

    def send_half(self) -> None:
        """Send the first half."""
        head = (
            f"POST /?{urllib.parse.urlencode(self.parameters)} HTTP/1.1\r\n"
            f"Host: localhost\r\nContent-Length: {len(self.body)}\r\n\r\n"
        )
        self.socket.sendall(head.encode() + self.body[: self.half])

    def finish(self) -> int:
        """Send the rest and return the HTTP status."""
        self.socket.sendall(self.body[self.half :])
        return self.answer()

    def answer(self) -> int:
        """The HTTP status of the server's answer."""
        with self.socket, contextlib.closing(http.client.HTTPResponse(self.socket)) as response:
            response.begin()
            response.read()
            return response.status

    def ask(self, sql: str, parameters: dict[str, Any] | None = None) -> Any:
        """The one value of a query."""
        return self.clickhouse.query(sql, parameters).rows[0][0]

    def wait(self, condition: Callable[[], object]) -> None:
        """Until a condition holds; the server's answer in between would be a failure."""
        while not condition():
            readable, _, _ = select.select([self.socket], [], [], 0.05)
            assert not readable, self.socket.recv(4096)


async def another_sink(table: ClickHouseTable, last: int) -> None:
    """What the sink does that got the partition meanwhile."""
    target = ClickHouseRows(table.clickhouse)
    await target.insert("ledger", 1, 0, NO_ROWS, join_rows(rows(range(last + 1))))
    assert await target.mark("ledger", 1, 0) == last


@pytest.mark.parametrize("last", [0, 10, ROWS - 1, ROWS + 5])
async def test_a_sink_that_wakes_in_the_middle_of_its_insert_adds_nothing(
    table: ClickHouseTable, last: int
) -> None:
    paused = PausedInsert(table.clickhouse)
    paused.begin()
    await another_sink(table, last)
    assert paused.finish() == 200
    assert table.sequences() == list(range(last + 1))


async def test_without_its_token_the_same_insert_would_count_twice(table: ClickHouseTable) -> None:
    paused = PausedInsert(table.clickhouse, token=False)
    paused.begin()
    await another_sink(table, 10)
    paused.finish()
    assert len(table.sequences()) == 11 + ROWS


async def test_a_sink_that_wakes_before_its_insert_adds_nothing_though_its_token_is_forgotten(
    table: ClickHouseTable,
) -> None:
    await another_sink(table, 10)
    table.forget_tokens()
    late = PausedInsert(table.clickhouse)
    late.send_half()  # The server sees the guard fail and answers without waiting for the rest.
    assert late.answer() == 200
    assert table.sequences() == list(range(11))


async def test_without_its_guard_the_same_insert_would_count_twice(table: ClickHouseTable) -> None:
    await another_sink(table, 10)
    table.forget_tokens()
    paused = PausedInsert(table.clickhouse, guard=False)
    paused.begin()
    paused.finish()
    assert len(table.sequences()) == 11 + ROWS


async def test_a_body_that_takes_too_long_is_refused_so_that_no_token_can_be_forgotten_meanwhile(
    table: ClickHouseTable,
) -> None:
    paused = PausedInsert(table.clickhouse, seconds_max=1)
    paused.begin()
    began = paused.ask("SELECT toUnixTimestamp(now())")
    await another_sink(table, 10)
    table.forget_tokens()
    paused.wait(lambda: paused.ask("SELECT toUnixTimestamp(now())") > began + 2)
    assert paused.finish() != 200
    assert table.sequences() == list(range(11))


async def test_without_the_limit_the_same_insert_would_count_twice(table: ClickHouseTable) -> None:
    paused = PausedInsert(table.clickhouse)
    paused.begin()
    await another_sink(table, 10)
    table.forget_tokens()
    paused.finish()
    assert len(table.sequences()) == 11 + ROWS


async def test_a_sink_that_slept_through_more_inserts_than_the_window_adds_nothing(
    table: ClickHouseTable,
) -> None:
    """Its token is forgotten by then; the guard remembers nothing and needs nothing."""
    target = ClickHouseRows(table.clickhouse)
    await target.insert("ledger", 1, 0, NO_ROWS, join_rows(rows([0])))
    window = 5
    table.clickhouse.execute(
        f"ALTER TABLE ledger MODIFY SETTING non_replicated_deduplication_window = {window}"
    )
    for mark in range(3 * window):
        await target.insert("ledger", 1, 0, mark, join_rows(rows([mark + 1])))
    for mark in (NO_ROWS, 0, window, 3 * window - 1):
        late = join_rows(rows(range(mark + 1, mark + 4)))
        await target.insert("ledger", 1, 0, mark, late)
    assert table.sequences() == list(range(3 * window + 1))


# --- one insert is one block (S3) ----------------------------------------------------------------


async def test_the_largest_insert_that_the_limits_allow_is_one_block(
    table: ClickHouseTable,
) -> None:
    values: list[bytes] = []
    size = 0
    while size < SINK_BATCH_BYTES_MAX - 1_000:
        values += rows(range(len(values), len(values) + 10_000))
        size = sum(map(len, values[-10_000:])) + size
    body = join_rows(values)[:SINK_BATCH_BYTES_MAX]
    body = body[: body.rindex(b"\n")]
    count = body.count(b"\n") + 1
    await ClickHouseRows(table.clickhouse).insert("ledger", 1, 0, NO_ROWS, body)
    assert await ClickHouseRows(table.clickhouse).mark("ledger", 1, 0) == count - 1 > 200_000
    assert table.batches() == 1


async def test_an_insert_beyond_the_limits_is_refused_before_it_is_sent(
    table: ClickHouseTable,
) -> None:
    target = ClickHouseRows(table.clickhouse)
    with pytest.raises(FaultError, match="could become several blocks"):
        await target.insert("ledger", 1, 0, NO_ROWS, b"\n" * SINK_BATCH_ROWS_MAX)
    with pytest.raises(FaultError, match="could become several blocks"):
        await target.insert("ledger", 1, 0, NO_ROWS, b"{}\n" + b" " * SINK_BATCH_BYTES_MAX)
    assert table.sequences() == []


async def test_a_log_longer_than_one_block_goes_into_several_inserts_and_is_there_once(
    table: ClickHouseTable,
) -> None:
    """1.2 million rows: more than ClickHouse puts into one block, whatever the sink's settings."""
    small = rows([0])[0]
    count = 1_200_000

    class LongLog(MemoryLog):
        async def take(self, rows_max: int, bytes_max: int) -> Sequence[OutboundRecord]:
            begin = self._position
            end = min(begin + rows_max, count)
            if begin == end:
                raise EndOfLogError
            self._position = end
            head, tail = small.split(b'"sequence":0', 1)
            return [
                OutboundRecord(n, b'%b"sequence":%d%b' % (head, n, tail)) for n in range(begin, end)
            ]

        async def bounds(self) -> tuple[int, int]:
            return 0, count

        async def peek(self, offset: int) -> OutboundRecord | None:
            head, tail = small.split(b'"sequence":0', 1)
            return OutboundRecord(offset, b'%b"sequence":%d%b' % (head, offset, tail))

    limits = BatchLimits(SINK_BATCH_ROWS_MAX, SINK_BATCH_BYTES_MAX)
    await drain(LongLog("ledger", 0), table.target, limits)
    answer = table.clickhouse.query(
        "SELECT count(), uniqExact(sequence), max(sequence) FROM ledger"
    )
    assert tuple(map(int, answer.rows[0])) == (count, count, count - 1)
    assert 3 <= table.batches() <= 5


async def test_an_insert_of_several_blocks_would_not_be_there_whole_or_not_at_all(
    table: ClickHouseTable,
) -> None:
    """Why one insert is one block: what a smaller block size of a profile would do."""
    statement = insert_statement("ledger", describe(table.clickhouse, "ledger"), 1, 0, NO_ROWS)
    small = dict.fromkeys(
        ("max_insert_block_size", "min_insert_block_size_rows", "max_block_size"), 100
    )
    broken = [*rows(range(500)), b"{broken"]
    with pytest.raises(TollgateError):
        table.clickhouse.send(
            statement,
            join_rows(broken),
            INSERT_SETTINGS | small | {"min_insert_block_size_bytes": 1},
        )
    assert 0 < len(table.sequences()) < 501
    table.clickhouse.execute("TRUNCATE TABLE ledger")
    with pytest.raises(TollgateError):
        await table.target.insert("ledger", 1, 0, NO_ROWS, join_rows(broken))
    assert table.sequences() == []
