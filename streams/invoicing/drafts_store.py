"""Drafts of a whole run, kept for analysts: rows of `draft_lines`, read through the view `drafts`.

    invoice draft --all --store ─▶ store_drafts ─▶ draft_lines, then draft_runs ─▶ drafts

Owns these rows and when a run counts: once its last line is there. They are no books; nothing but
the view reads them.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from schemas.times import format_time
from streams.domain.invoices.documents import Document, Line

LINES_AT_ONCE: Final = 20_000
"""Lines of one insert: some 10 MB of JSON, of which a run of any size holds one at a time."""

_SETTINGS: Final = {
    "async_insert": 0,
    # One insert is one block, so that its token covers all of it.
    "max_threads": 1,
    "max_insert_threads": 1,
    "input_format_parallel_parsing": 0,
    "date_time_input_format": "best_effort",
}


class RowStore(Protocol):
    """Where rows are inserted."""

    def send(self, sql: str, body: bytes, settings: Mapping[str, Any]) -> None:
        """Runs an INSERT whose rows are the body; returns when it is finished."""
        ...


@dataclass(frozen=True, slots=True)
class DraftRun:
    """A run that has been stored."""

    run: str
    customers: int
    lines: int


def store_drafts(
    store: RowStore, run: str, drawn_at_us: int, documents: Iterable[Document]
) -> DraftRun:
    """Stores the drafts of a run, one document for each customer; `run` is an id that no other has.

    The view shows them when all are there: a run that breaks off changes nothing for its readers.
    An insert that is repeated counts once. Raises what `store` raises.
    """
    drawn_at = format_time(drawn_at_us)
    customers = lines = number = 0
    batch: list[str] = []
    for document in documents:
        customers += 1
        for line in document.lines:
            batch.append(json.dumps(_row(document, line) | {"run": run, "drawn_at": drawn_at}))
            if len(batch) == LINES_AT_ONCE:
                _insert(store, "draft_lines", batch, f"draft:{run}:{number}")
                lines, number, batch = lines + len(batch), number + 1, []
    if batch:
        _insert(store, "draft_lines", batch, f"draft:{run}:{number}")
        lines += len(batch)
    ended = {"run": run, "drawn_at": drawn_at, "customers": customers, "lines": lines}
    _insert(store, "draft_runs", [json.dumps(ended)], f"draft:{run}")
    return DraftRun(run, customers, lines)


def _insert(store: RowStore, table: str, rows: list[str], token: str) -> None:
    sql = f"INSERT INTO {table} ({', '.join(_columns(rows[0]))}) FORMAT JSONEachRow"
    store.send(sql, "\n".join(rows).encode(), {**_SETTINGS, "insert_deduplication_token": token})


def _columns(row: str) -> Iterator[str]:
    return (f"`{name}`" for name in json.loads(row))


def _row(document: Document, line: Line) -> dict[str, Any]:
    plain = line.plain()
    return {
        "customer_id": document.customer_id,
        "period": document.label,
        "period_from": format_time(document.period_from),
        "period_to": format_time(document.period_to),
        "from_at": format_time(plain.pop("from_us")),
        "to_at": format_time(plain.pop("to_us")),
        **plain,
    }
