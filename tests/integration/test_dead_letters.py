"""Dead letters on the real broker and ClickHouse: listed, replayed, discarded, counted once."""

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from schemas import codec
from schemas.partitioner import partition_of
from schemas.structs import CycleEntry, UsageEntry
from schemas.topics import BUDGETS, USAGE
from streams.adapters.clickhouse import ClickHouse
from streams.embedded.endpoints import Endpoints
from tests.builders import json_of
from tests.embedded_waiting import until
from tests.installation import WAIT_SECONDS, Installation
from tests.whole import Command, command_of, with_tables

CUSTOMER: Final = "acme"
ASTRAY: Final = 1 - partition_of(CUSTOMER.encode(), 2)
"""The partition where no record of the customer belongs."""
SECRET: Final = "prompt-of-a-customer"


class Books:
    """An installation with a worker and a sink, and what its tables say."""

    def __init__(self, installation: Installation, clickhouse: ClickHouse) -> None:
        self.installation = installation
        self.clickhouse = clickhouse

    def start(self) -> None:
        """A worker that logs everything it can, and a sink."""
        self.installation.start_worker(log_level="debug")
        self.installation.start_sink()

    def settle(self) -> None:
        """Until everything on the inbound topics is decided, and every row is in its table."""
        self.installation.wait_consumed()
        entries = sum(map(len, self.installation.entries()))
        letters = len(self.installation.dead_letters())
        due = (entries, letters)
        until(
            lambda: (self._count("ledger"), self._count("dead_letters")) == due,
            "all rows",
            WAIT_SECONDS,
        )

    def _count(self, table: str) -> int:
        return int(self.clickhouse.query(f"SELECT count() FROM {table}").rows[0][0])

    def billed(self) -> list[tuple[str, str]]:
        """Event and entry id of all usage that counts."""
        found = [e for part in self.installation.entries() for e in part]
        return sorted((e.event_id, e.entry_id) for e in found if isinstance(e, UsageEntry))

    def budgets(self) -> list[Any]:
        """The records on `budgets`, with their partitions."""
        return [record for part in self.installation.read(BUDGETS.name) for record in part]


@pytest.fixture
def books(
    endpoints: Endpoints, topic_prefix: str, unique_name: str, tmp_path: Path
) -> Iterator[Books]:
    with with_tables(endpoints, unique_name, tmp_path / "home") as (installation, clickhouse):
        yield Books(installation, clickhouse)


@pytest.fixture
def tollgate(
    books: Books, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    monkeypatch.setattr(sys, "stdin", io.StringIO("no\n"))
    return command_of(books.installation, monkeypatch, capsys, "dead-letters")


def event(event_id: str, **fields: Any) -> bytes:
    return json_of(CUSTOMER, event_id, {"units": 1, "metadata": {"note": SECRET}} | fields)


def letters(tollgate: Command, *arguments: str) -> dict[str, dict[str, Any]]:
    """The listed letters by code."""
    _, out, _ = tollgate("list", "--json", *arguments)
    return {found["code"]: found for found in map(json.loads, out.splitlines())}


def test_letters_are_replayed_once_or_discarded_and_never_lost(
    books: Books, tollgate: Command
) -> None:
    inst = books.installation
    inst.produce(USAGE.name, [event("astray")], key=CUSTOMER, partition=ASTRAY)
    inst.produce(USAGE.name, [b"{" + SECRET.encode(), event("v2", schema_version=2)], key=CUSTOMER)
    inst.produce(USAGE.name, [event("keyed")], key="somebody", partition=0)
    books.start()
    books.settle()
    found = letters(tollgate)
    assert set(found) == {"wrong_partition", "malformed", "unknown_version", "wrong_key"}
    assert {one["state"] for one in found.values()} == {"open"}
    assert found["unknown_version"]["record_version"] == 2
    astray = found["wrong_partition"]["entry_id"]

    # --- nothing is appended by a dry run, nor without an answer
    code, out, _ = tollgate("replay", "--code", "wrong_partition", "--dry-run", "--json")
    assert (code, json.loads(out)["replayed"]) == (0, [astray])
    assert tollgate("replay", "--code", "wrong_partition")[0] == 1, "the answer was no"
    assert tollgate("replay", "--code", "wrong_partition")[0] == 130, "nobody answered"
    assert tollgate("replay")[0] == tollgate("replay", astray, "--topic", "usage")[0] == 2
    assert books.budgets() == []

    # --- a record that lay on a wrong partition is billed where its customer lives
    code, out, _ = tollgate("replay", "--code", "wrong_partition", "--yes")
    assert (code, "1 letters are on their way" in out) == (0, True)
    books.settle()
    assert books.billed() == [("astray", astray)]
    (sent,) = books.budgets()
    assert sent.partition == 1 - ASTRAY
    _, out, _ = tollgate("show", astray, "--json")
    shown = json.loads(out)
    assert (shown["state"], shown["partition"]) == ("replayed", ASTRAY)
    assert shown["resolved_at"] is not None

    # --- again it is left alone, and the same record sent once more is a duplicate
    code, out, _ = tollgate("replay", astray, "--yes")
    assert (code, f"left alone  {astray}  replayed" in out) == (1, True)
    inst.produce(BUDGETS.name, [sent.value], key=CUSTOMER)
    inst.produce(USAGE.name, [event("astray")], key=CUSTOMER)
    books.settle()
    assert books.billed() == [("astray", astray)]
    cycles = [e for part in inst.entries() for e in part if isinstance(e, CycleEntry)]
    assert sum(cycle.duplicates for cycle in cycles) == 2

    # --- what this release cannot read is said at once
    unread = found["unknown_version"]["entry_id"]
    code, out, _ = tollgate("replay", unread, "no-such-letter", "--yes", "--json")
    left = {one["letter_id"]: one["code"] for one in json.loads(out)["left"]}
    assert (code, left) == (1, {unread: "unknown_version", "no-such-letter": "unknown"})
    assert len(books.budgets()) == 2

    # --- the rest: a wrong key is replayed, a malformed record discarded
    broken, keyed = found["malformed"]["entry_id"], found["wrong_key"]["entry_id"]
    assert tollgate("replay", keyed, "--yes")[0] == 0
    assert tollgate("discard", "--code", "malformed", "--yes")[0] == 2, "a reason is required"
    assert tollgate("discard", broken, "--reason", "a load test", "--yes")[0] == 0
    books.settle()
    assert books.billed() == sorted([("astray", astray), ("keyed", keyed)])
    assert set(letters(tollgate)) == {"unknown_version"}
    states = {one["entry_id"]: one["state"] for one in letters(tollgate, "--all").values()}
    assert states == {astray: "replayed", keyed: "replayed", broken: "discarded", unread: "open"}
    discarded = letters(tollgate, "--state", "discarded")
    assert [one["note"] for one in discarded.values()] == ["a load test"]
    assert tollgate("discard", broken, "--reason", "again", "--yes")[0] == 1

    assert tollgate("show", "no-such-letter")[0] == 1
    assert_no_payload_is_shown(books, tollgate, astray)


def assert_no_payload_is_shown(books: Books, tollgate: Command, letter: str) -> None:
    """In no log, at its finest level, nor in what is printed without being asked for."""
    inst = books.installation
    assert "partition" in inst.log_text(), "the log was written"
    assert SECRET not in inst.log_text()
    assert SECRET not in (inst.settings.home / "sink.log").read_text("utf-8", "replace")
    assert SECRET not in tollgate("show", letter)[1]
    assert SECRET in tollgate("show", letter, "--payload")[1]


def test_a_replay_that_is_refused_again_is_resolved_with_its_first_letter(
    books: Books, tollgate: Command
) -> None:
    inst = books.installation
    inst.produce(USAGE.name, [event("e", units=2)], key=CUSTOMER, partition=ASTRAY)
    inst.produce(USAGE.name, [event("e", units=3)], key=CUSTOMER)
    books.start()
    books.settle()
    (first,) = letters(tollgate).values()
    assert tollgate("replay", first["entry_id"], "--yes")[0] == 0
    books.settle()
    found = letters(tollgate)
    again = found["conflict"]
    assert found.keys() == {"wrong_partition", "conflict"}
    assert (again["topic"], again["letter_id"]) == ("budgets", first["entry_id"])
    # Named by its second letter, the first one's record is what is sent, and discarded.
    assert tollgate("replay", again["entry_id"], "--yes")[0] == 0
    books.settle()
    bodies = [codec.decode_budget(record.value) for record in books.budgets()]
    assert bodies[0] == bodies[1]
    assert tollgate("discard", again["entry_id"], "--reason", "corrected", "--yes")[0] == 0
    books.settle()
    assert letters(tollgate) == {}
    assert len(books.billed()) == 1
    # By filters, what is resolved is not chosen.
    code, out, _ = tollgate("replay", "--since", "2026-01-01", "--dry-run", "--json")
    assert (code, json.loads(out)) == (0, {"dry_run": True, "replayed": [], "left": []})
