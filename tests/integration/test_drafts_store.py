"""Drafts of a run in ClickHouse: what the view shows of them, and when."""

from collections.abc import Iterator
from typing import Any

import pytest

from schemas.money import PICO
from schemas.times import parse_time_us
from streams.adapters.clickhouse import ClickHouse
from streams.domain.invoices.documents import Document, Line
from streams.domain.months import month
from streams.invoicing import drafts_store
from streams.invoicing.drafts_store import DraftRun, store_drafts

OCTOBER = month(2030, 10)
MONDAY_US = parse_time_us("2030-10-07T08:00:00Z")


def line(number: int, amount_pico: int, **more: Any) -> Line:
    fields: dict[str, Any] = {
        "line": number,
        "line_kind": "usage",
        "label": "2030-10",
        "item": "calls",
        "title": 'Calls of "a", ü',
        "card": "pro@2",
        "group": "",
        "metric": "calls",
        "quantity_pico": 3 * PICO,
        "from_us": OCTOBER.from_us,
        "to_us": OCTOBER.to_us,
        "amount_pico": amount_pico,
        "currency": "USD",
    }
    return Line(**fields | more)


def draft_of(customer_id: str, *lines: Line) -> Document:
    return Document(
        document="draft",
        number="",
        customer_id=customer_id,
        label="2030-10",
        zone="UTC",
        period_from=OCTOBER.from_us,
        period_to=OCTOBER.to_us,
        cut=(1, 9),
        after=(0, 0),
        segments=(),
        lines=lines,
    )


def shown(clickhouse: ClickHouse) -> list[tuple[Any, ...]]:
    sql = "SELECT customer_id, line, toString(amount) FROM drafts ORDER BY customer_id, line"
    return [tuple(row) for row in clickhouse.query(sql).rows]


FIRST = [draft_of("acme", line(1, PICO), line(2, -(10**38) + 1)), draft_of("bolt")]


def test_the_view_shows_the_lines_of_the_latest_run(clickhouse: ClickHouse) -> None:
    assert store_drafts(clickhouse, "r1", MONDAY_US, FIRST) == DraftRun("r1", 2, 2)
    assert shown(clickhouse) == [
        ("acme", 1, "1"),
        ("acme", 2, f"-{'9' * 26}.{'9' * 12}"),
    ]
    later = [draft_of("bolt", line(1, 2 * PICO, corrects="bolt-0001", label="2030-09"))]
    store_drafts(clickhouse, "r0", MONDAY_US + 1, later)
    assert shown(clickhouse) == [("bolt", 1, "2")]
    (found,) = clickhouse.query("SELECT * FROM drafts").rows
    assert found[6:10] == ("usage", "bolt-0001", "2030-09", "calls")
    assert found[10] == 'Calls of "a", ü'


def test_a_run_that_breaks_off_is_not_shown(
    clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_drafts(clickhouse, "r1", MONDAY_US, FIRST)
    before = shown(clickhouse)
    monkeypatch.setattr(drafts_store, "LINES_AT_ONCE", 1)

    def broken() -> Iterator[Document]:
        yield draft_of("acme", line(1, 7 * PICO))
        raise RuntimeError("the power fails")

    with pytest.raises(RuntimeError):
        store_drafts(clickhouse, "r2", MONDAY_US + 5, broken())
    written = clickhouse.query("SELECT count() FROM draft_lines WHERE run = 'r2'").rows
    assert (written, shown(clickhouse)) == ([(1,)], before)


def test_an_insert_that_is_repeated_counts_once(
    clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drafts_store, "LINES_AT_ONCE", 1)
    for _ in range(2):
        store_drafts(clickhouse, "r1", MONDAY_US, FIRST)
    assert len(shown(clickhouse)) == 2
    assert clickhouse.query("SELECT customers, lines FROM draft_runs").rows == [(2, 2)]


def test_without_a_run_there_are_no_drafts(clickhouse: ClickHouse) -> None:
    assert shown(clickhouse) == []
