"""Catalog records into ClickHouse: the `CatalogTarget`, under the checks of `clickhouse_rows`.

The mark is the largest offset in the table. It does what a dense sequence does for other tables:
of all inserts under one mark the first counts, whatever records the others hold (decision 028)."""

import asyncio
import json
from collections.abc import Sequence
from typing import Final

from streams.adapters.clickhouse import ClickHouse
from streams.adapters.clickhouse_rows import (
    TableShape,
    describe,
    guarded_insert,
    insert_settings,
    require_one_block,
)
from streams.errors import FaultError
from streams.ports import NO_ROWS, CatalogPlace

TABLE: Final = "catalog_records"

READ_MARK: Final = f"SELECT if(count() = 0, {NO_ROWS}, toInt64(max(offset))) FROM {TABLE}"  # noqa: S608 - constants
"""The mark in SQL; `max` of nothing would be 0, where the first record stands."""


class ClickHouseCatalog:
    """The table `catalog_records`."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        """Take a connection; the table is looked at when it is first written to."""
        self._clickhouse = clickhouse
        self._shape: TableShape | None = None

    async def mark(self) -> int:
        """See `ports.CatalogTarget`."""
        return await asyncio.to_thread(self._mark)

    async def newest(self, count: int) -> Sequence[CatalogPlace]:
        """See `ports.CatalogTarget`."""
        return await asyncio.to_thread(self._newest, count)

    async def insert(self, mark: int, rows: Sequence[tuple[CatalogPlace, bytes]]) -> None:
        """See `ports.CatalogTarget`."""
        await asyncio.to_thread(self._insert, mark, rows)

    def _mark(self) -> int:
        answer = self._clickhouse.query(
            f"SELECT ({READ_MARK}), count(), uniqExact(offset) FROM {TABLE}"  # noqa: S608 - constants
        )
        mark, count, different = map(int, answer.rows[0])
        if count != different:
            raise FaultError(
                f"{TABLE} holds {count} rows of {different} records: some are doubled",
                action=f"Stop the sinks, run `TRUNCATE TABLE {TABLE}`, and start them again: they "
                "fill it from the log.",
            )
        return mark

    def _newest(self, count: int) -> list[CatalogPlace]:
        answer = self._clickhouse.query(
            "SELECT offset, toUnixTimestamp64Micro(appended_at), kind, id, version "  # noqa: S608
            f"FROM {TABLE} ORDER BY offset DESC LIMIT {{count:UInt32}}",
            {"count": count},
        )
        return [
            CatalogPlace(int(offset), int(at), str(kind), str(id_), str(version))
            for offset, at, kind, id_, version in answer.rows
        ]

    def _insert(self, mark: int, rows: Sequence[tuple[CatalogPlace, bytes]]) -> None:
        body = b"\n".join(_line(place, value) for place, value in rows)
        require_one_block(TABLE, body)
        if self._shape is None:
            self._shape = describe(self._clickhouse, TABLE)
        sql = guarded_insert(TABLE, self._shape, READ_MARK, mark)
        self._clickhouse.send(sql, body, insert_settings(self._shape, f"{TABLE}:{mark}"))


def _line(place: CatalogPlace, value: bytes) -> bytes:
    row = {
        "offset": place.offset,
        "appended_at": place.appended_at_us,
        "kind": place.kind,
        "id": place.id,
        "version": place.version,
        "body": value.decode(),
    }
    return json.dumps(row, ensure_ascii=False).encode()
