"""Issued documents out of ClickHouse become the objects that their documents become."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from streams.adapters.clickhouse import ClickHouse
from streams.adapters.clickhouse_rows import ClickHouseRows
from streams.adapters.memory_sink import MemoryLog
from streams.cli.invoice.export import export
from streams.domain.invoices.documents import Document, credit_note, digest
from streams.errors import SetupError
from streams.invoicing.issued import Wanted, issued_documents
from streams.papers.handover import Issued, handover
from tests.invoice_entries import close_entry, issue_entry, row_of
from tests.papers import ISSUED, line, rich_document
from tests.sinks import drain

HOUR_US = 3_600_000_000


def documents() -> list[Document]:
    """An invoice, its credit note and its reissue, and another customer's invoice, in the order in
    which they are issued."""
    invoice = rich_document()
    odd = 'quo"te\\, [1] tab\tü'
    other = rich_document(
        number="~aaaaaaaaaaaaaaaa-0001",
        customer_id=odd,
        zone="UTC",
        lines=(line(line=1, cents=-5, title=odd, group=odd, item=odd),),
    )
    note = credit_note(invoice, {"number": "acme-0003", "note": "wrong"})
    again = rich_document(number="acme-0004", reissues="acme-0002")
    return [invoice, other, note, again]


async def load(clickhouse: ClickHouse) -> list[Issued]:
    """The entries of the documents in the ledger, and what is to be found there."""
    log, expected = MemoryLog("ledger", 0), []
    sequence = 0
    for place, document in enumerate(documents()):
        at_us = ISSUED + place * HOUR_US
        if document.document == "invoice":
            log.append(row_of(close_entry(document, sequence, at_us)))
            sequence += 1
        log.append(row_of(issue_entry(document, sequence, at_us)))
        sequence += 1
        expected.append(Issued(document.plain(), digest(document), at_us))
    await drain(log, ClickHouseRows(clickhouse))
    return expected


@pytest.fixture
def command(tollgate: object, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs `tollgate invoice export` with words and returns its message."""

    def run(*words: str) -> str:
        export.main(words, standalone_mode=False)
        return capsys.readouterr().err.strip()

    return run


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def objects(found: list[Issued]) -> list[dict[str, Any]]:
    return [one for issued in found for one in handover(issued)]


@pytest.mark.parametrize("page", [1, 2, 500])
async def test_issued_documents_become_what_their_documents_become(
    clickhouse: ClickHouse, page: int
) -> None:
    expected = await load(clickhouse)
    found = list(issued_documents(clickhouse, Wanted(), page=page))
    assert [one.digest for one in found] == [one.digest for one in expected]
    assert objects(found) == objects(expected)


async def test_an_invoice_and_its_credit_note_come_to_nothing(clickhouse: ClickHouse) -> None:
    await load(clickhouse)
    found = objects(list(issued_documents(clickhouse, Wanted("acme"))))
    sums = {"usd": 0, "eur": 0}
    for one in found:
        if one["number"] in ("acme-0002", "acme-0003"):
            sums[one["currency"]] += one["amount"]
    assert sums == {"usd": 0, "eur": 0}


async def test_documents_are_chosen_by_customer_and_time_of_issue(clickhouse: ClickHouse) -> None:
    await load(clickhouse)

    def numbers(wanted: Wanted) -> list[str]:
        return [str(one.plain["number"]) for one in issued_documents(clickhouse, wanted)]

    assert numbers(Wanted("acme")) == ["acme-0002", "acme-0003", "acme-0004"]
    assert numbers(Wanted("nobody")) == []
    assert numbers(Wanted(since_us=ISSUED + 2 * HOUR_US)) == ["acme-0003", "acme-0004"]
    assert numbers(Wanted(until_us=ISSUED + HOUR_US)) == ["acme-0002"]


async def test_the_command_writes_the_same_bytes_again(
    clickhouse: ClickHouse, command: Callable[..., str], tmp_path: Path
) -> None:
    expected = objects(await load(clickhouse))
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    assert command("--to", str(first)) == "objects: 7, documents: 4"
    command("--to", str(second))
    assert first.read_bytes() == second.read_bytes()
    assert [json.loads(text) for text in first.read_text().splitlines()] == expected
    whole = tmp_path / "whole.json"
    command("--to", str(whole), "--array")
    assert json.loads(whole.read_text()) == expected
    assert names(tmp_path) == ["first.jsonl", "second.jsonl", "whole.json"]


async def test_the_command_takes_days_and_bounds_items(
    clickhouse: ClickHouse, command: Callable[..., str], tmp_path: Path
) -> None:
    await load(clickhouse)
    path = tmp_path / "some.jsonl"
    days = ("--since", "2026-11-01", "--until", "2026-11-02T00:00:00.000001Z")
    assert command("--to", str(path), *days, "--items-max", "3") == "objects: 2, documents: 1"
    found = [json.loads(text) for text in path.read_text().splitlines()]
    assert [len(one["items"]) for one in found] == [3, 1]
    assert command("--to", str(path), "--until", "2026-11-01") == "objects: 0, documents: 0"
    assert path.read_bytes() == b""
    with pytest.raises(click.BadParameter, match="not an RFC 3339 time"):
        command("--to", "-", "--since", "yesterday")


def test_a_file_that_cannot_be_written_is_told(
    clickhouse: ClickHouse, command: Callable[..., str], tmp_path: Path
) -> None:
    with pytest.raises(SetupError, match="cannot be written"):
        command("--to", str(tmp_path / "no" / "such" / "directory"))
