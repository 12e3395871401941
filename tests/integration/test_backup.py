"""What is lost and comes back on real servers: from an archive of the log alone, ClickHouse, the
stores, both, Kafka whole and its tail.

One installation for all tests, which stand in the order in which things happen to it.
"""

import asyncio
import json
import re
import secrets
import shutil
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from schemas import codec
from schemas.topics import (
    ACCOUNTS_CHANGELOG,
    ATTRIBUTIONS,
    BUDGETS,
    DEAD_LETTERS,
    LEDGER,
    PREFLIGHTS,
    SIGNALS,
    TRANSFERS,
    UNASSIGNED,
    USAGE,
)
from streams.adapters.clock import SystemClock
from tests.billed import CARD, DAY, FIRST, IN_FIRST, IN_SECOND, Billed, no_grace
from tests.builders import DAY_US, json_of
from tests.installation import Installation, drop_topics
from tests.nameless import binding, nameless_usage
from tests.restored import budget, documents, positions, without_anything
from tests.whole import Command, command_of, with_tables

if TYPE_CHECKING:
    from streams.adapters.clickhouse import ClickHouse
    from streams.embedded.stack import EmbeddedStack

POSITIONS = (USAGE, SIGNALS, BUDGETS, PREFLIGHTS, UNASSIGNED, TRANSFERS, LEDGER, ATTRIBUTIONS)
CUSTOMERS = ("acme", "globex")
SECRET = "jane.doe@example.com"


@pytest.fixture(scope="module")
def billed(stack: "EmbeddedStack", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Billed]:
    name = f"kept_{secrets.token_hex(4)}"
    home = tmp_path_factory.mktemp(name) / "home"
    with with_tables(stack.endpoints(), name, home) as (installation, clickhouse):
        asyncio.run(no_grace(installation))
        installation.start_sink()
        installation.start_worker()
        yield Billed(installation, clickhouse, stack.home.root / "kafka" / "data")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("archives") / "archive"


@pytest.fixture
def tollgate(
    billed: Billed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    return command_of(billed.installation, monkeypatch, capsys)


def json_out(tollgate: Command, *arguments: str) -> Any:
    code, out, err = tollgate(*arguments, "--json")
    assert code == 0, out + err
    return json.loads(out)


def rows(billed: Billed, kind: str) -> int:
    sql = f"SELECT count() FROM ledger WHERE kind = '{kind}'"
    return int(billed.clickhouse.query(sql).rows[0][0])


def work(billed: Billed, tollgate: Command, name: str, of: Any) -> None:
    """Calls of tasks and of nobody yet, outcomes, repeats and nonsense, under a name of their
    own."""
    usage = rows(billed, "usage")
    for customer in CUSTOMERS:
        about = {"metadata": {"written by": f"{customer} {SECRET}"}}
        for number in range(3):
            task = {"task_ref": f"job-{number}"}
            billed.call(customer, f"{name}-{number}", of, cost="0.015", **task, **about)
        billed.call(customer, f"{name}-0", of, cost="0.015", task_ref="job-0", **about)
        billed.signal(customer, f"{name}-met", of)
    installation = billed.installation
    traces = [f"{name}-{customer}".ljust(32, "0") for customer in CUSTOMERS]
    for trace, customer in zip(traces, CUSTOMERS, strict=True):
        secret = {"written by": f"{customer} {SECRET}"}
        call = nameless_usage(trace, f"{trace}-call", cost="0.5", metadata=secret)
        bodies = (call, binding(trace, customer))
        installation.produce(UNASSIGNED.name, map(codec.encode, bodies), key=trace)
    refused = {"units": -1, "metadata": {"written by": f"acme {SECRET}"}}
    lengthy = {"metadata": {"written by": f"acme {SECRET}" * 1000}}
    bad = [b"nonsense", json_of("acme", "x", refused), json_of("acme", "y", lengthy)]
    installation.produce(USAGE.name, bad, key="acme")
    billed.wait_rows("usage", usage + 8)
    installation.wait_consumed()


def test_a_backup_of_a_running_installation_is_whole_and_goes_on_where_the_last_ended(
    billed: Billed, tollgate: Command, archive: Path, tmp_path: Path
) -> None:
    card = tmp_path / "pro.yaml"
    card.write_text(CARD)
    assert tollgate("rates", "apply", str(card))[0] == 0
    for customer in CUSTOMERS:
        terms = ("--card", "pro", "--anchor-day", str(DAY))
        assert tollgate("rates", "assign", customer, *terms)[0] == 0
    work(billed, tollgate, "one", IN_FIRST)
    first = json_out(tollgate, "backup", "--to", str(archive))
    assert first["records"] == first["archive_records"] > 0
    assert tollgate("invoice", "close", "acme", "--period", FIRST)[0] == 0
    work(billed, tollgate, "two", IN_SECOND)
    assert tollgate("invoice", "close", "--all")[0] == 0
    second = json_out(tollgate, "backup", "--to", str(archive))
    assert 0 < second["records"] == second["archive_records"] - first["archive_records"]
    again = json_out(tollgate, "backup", "--to", str(archive))
    assert again["archive_records"] - again["records"] == second["archive_records"]
    found = json_out(tollgate, "backup", "verify", str(archive))
    assert (found["faults"], found["records"]) == ([], again["archive_records"])


def test_the_audit_decides_again_from_the_archive_alone(
    billed: Billed, tollgate: Command, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOLLGATE_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    code, out, err = tollgate("audit", "--archive", str(archive), "--json", "--jobs=1")
    found = json.loads(out)
    assert (code, found["verdict"]) == (0, "equal"), out + err
    assert found["invoices"]["documents"] == 4
    assert sum(one["records"] for one in found["partitions"]) > 30


def test_from_the_archive_alone_come_the_same_positions_documents_and_budgets(
    billed: Billed,
    archive: Path,
    stack: "EmbeddedStack",
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tollgate = command_of(billed.installation, monkeypatch, capsys)
    installation = billed.installation
    for worker in installation.workers:
        assert installation.stop(worker) == 0
    json_out(tollgate, "backup", "--to", str(archive))
    due_documents = documents(tollgate)
    due_budgets = {customer: budget(tollgate, customer) for customer in CUSTOMERS}
    due = {topic.name: positions(installation, topic.name) for topic in POSITIONS}
    due_letters = positions(installation, DEAD_LETTERS.name)
    assert len(due_documents) == 4
    assert any(due[TRANSFERS.name])
    assert any(due_letters)

    name = f"anew_{secrets.token_hex(4)}"
    with without_anything(stack.endpoints(), name, tmp_path / "home") as (anew, clickhouse):
        tollgate = command_of(anew, monkeypatch, capsys)
        done = json_out(tollgate, "restore", "--from", str(archive), "--reason", "a test")
        assert (done["cut"], done["clickhouse_ahead"]) == (0, [])
        for topic, records in due.items():
            assert positions(anew, topic) == records, topic
        assert positions(anew, DEAD_LETTERS.name) == due_letters
        code, out, _ = tollgate("restore", "--from", str(archive))
        assert code == 2
        anew.start_sink()
        anew.start_worker()
        restored = Billed(anew, clickhouse, billed.segments)
        restored.wait_rows("usage", 16)
        restored.until(lambda: len(documents(tollgate)) == 4, "documents")
        assert documents(tollgate) == due_documents
        assert {customer: budget(tollgate, customer) for customer in CUSTOMERS} == due_budgets
        work(restored, tollgate, "three", IN_SECOND)
        billed_again = restored.issues()
        assert len(billed_again) == 4
        code, out, err = tollgate("audit", "--json", "--jobs=1")
        assert (code, json.loads(out)["verdict"]) == (0, "equal"), out + err
    shutil.rmtree(tmp_path / "home")


def held_by(installation: Installation, clickhouse: "ClickHouse", secret: bytes) -> set[str]:
    """The topics and tables that hold a text somewhere, also in base64."""

    def holds(value: bytes) -> bool:
        texts = [value, *(b64decode(one) for one in re.findall(rb'"([A-Za-z0-9+/]{32,}=*)"', value)
                          if len(one) % 4 == 0)]  # fmt: skip
        return any(secret in text for text in texts)

    found = {
        topic.name
        for topic in (*POSITIONS, DEAD_LETTERS, ACCOUNTS_CHANGELOG)
        for part in installation.read(topic.name)
        for record in part
        if holds(record.value or b"")
    }
    for (value,) in clickhouse.query("SELECT record_value FROM dead_letters").rows:
        if secret in b64decode(value or ""):
            found.add("dead_letters rows")
    return found


def test_a_customer_is_forgotten_and_kafka_lost_under_rows_and_disks_that_stay_goes_on_in_place(
    billed: Billed, tollgate: Command, archive: Path
) -> None:
    installation = billed.installation
    due = documents(tollgate)
    acme, globex = f"acme {SECRET}".encode(), f"globex {SECRET}".encode()
    # Where an event had to wait for its customer, the accounts' changelog holds it as well.
    where = {USAGE.name, UNASSIGNED.name, DEAD_LETTERS.name}
    assert held_by(installation, billed.clickhouse, acme) >= where | {"dead_letters rows"}
    found = json_out(tollgate, "customer", "forget", "acme", "--archive", str(archive))
    assert where <= set(found["records"]) <= where | {ACCOUNTS_CHANGELOG.name}
    assert found["rows"] == 4
    assert len(found["left"]) == 4, "nonsense, twice, and the letters about it"
    again = json_out(tollgate, "customer", "forget", "acme", "--archive", str(archive))
    assert (again["records"], again["rows"]) == ({}, 0)
    assert json_out(tollgate, "backup", "verify", str(archive))["faults"] == []

    drop_topics(installation.settings)
    done = json_out(tollgate, "restore", "--from", str(archive))
    assert done["clickhouse_ahead"] == []
    assert held_by(installation, billed.clickhouse, acme) == set()
    assert USAGE.name in held_by(installation, billed.clickhouse, globex)
    installation.start_sink()
    installation.start_worker()
    work(billed, tollgate, "after", IN_SECOND)
    assert documents(tollgate) == due
    code, out, err = tollgate("audit", "--json", "--jobs=1")
    assert (code, json.loads(out)["verdict"]) == (0, "equal"), out + err
    assert sum(one["given"] for one in json.loads(out)["partitions"]) == 0


def test_what_is_archived_may_go_and_documents_and_sums_stay(
    billed: Billed, tollgate: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, due = tmp_path / "anew", documents(tollgate)
    budgets = {customer: budget(tollgate, customer) for customer in CUSTOMERS}
    apply = ("retention", "apply", "--archive", str(archive))
    json_out(tollgate, "backup", "--to", str(archive))
    assert "nothing is archived, decided and older" in tollgate(*apply)[1]
    in_a_year = SystemClock().now_us() + 365 * DAY_US
    with monkeypatch.context() as later:
        later.setattr(SystemClock, "now_us", lambda _clock: in_a_year)
        code, out, _ = tollgate(*apply)
        assert (code, "would delete usage/0" in out) == (0, True)
        assert all(billed.installation.read(USAGE.name))
        assert tollgate(*apply, "--yes")[0] == 0
    assert not any(billed.installation.read(USAGE.name))
    assert documents(tollgate) == due
    assert {customer: budget(tollgate, customer) for customer in CUSTOMERS} == budgets
    for from_archive, given in ((["--archive", str(archive)], False), ([], True)):
        code, out, err = tollgate("audit", "--json", "--jobs=1", *from_archive)
        assert code == 0, out + err
        assert given == any(one["given"] for one in json.loads(out)["partitions"])


def test_with_kafkas_tail_lost_rows_are_ahead_and_made_anew(
    billed: Billed, tollgate: Command, archive: Path
) -> None:
    installation = billed.installation
    due = documents(tollgate)
    for worker in installation.workers[-2:]:
        assert installation.stop(worker) == 0
    drop_topics(installation.settings)
    done = json_out(tollgate, "restore", "--from", str(archive))
    assert any(where.startswith("ledger") for where in done["clickhouse_ahead"])
    assert tollgate("rebuild")[0] == 2
    assert tollgate("rebuild", "--yes")[0] == 0
    shutil.rmtree(installation.settings.home / "state")
    installation.start_sink()
    installation.start_worker()
    billed.wait_rows("usage", 16)
    billed.until(lambda: len(documents(tollgate)) == len(due), "documents")
    assert documents(tollgate) == due
    assert rows(billed, "usage") == 16, "what came after the archive is lost, and nothing else"
    code, out, err = tollgate("audit", "--json", "--jobs=1")
    assert (code, json.loads(out)["verdict"]) == (0, "equal"), out + err
