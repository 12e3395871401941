"""`tollgate audit` on real servers: an installation that was killed is equal, and each planted
fault is found and named.

One installation for all tests. A fault is put back after it was found, so that the next test finds
its own alone; the one that cannot be, a record appended to the ledger, comes last.
"""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from schemas import codec
from schemas.structs import UsageEntry
from schemas.times import format_time
from schemas.topics import ACCOUNTS_CHANGELOG, BUDGETS, LEDGER, SIGNALS, USAGE
from streams.adapters.clickhouse import ClickHouse
from streams.app.audit import AuditOptions, run_audit
from streams.audit.replay import Scope
from streams.audit.report import PartitionReport, exit_code
from streams.audit.row_check import TABLES
from streams.ports import Table
from tests.builders import json_of
from tests.embedded_waiting import until
from tests.installation import Installation
from tests.tampering import alter_record, altered_store
from tests.whole import with_tables

if TYPE_CHECKING:
    from streams.embedded.stack import EmbeddedStack

WAIT_SECONDS: Final = 60.0
CUSTOMERS: Final = ("acme", "globex", "initech")
EVENTS: Final = 150
"""Per customer and half of the load."""


@dataclass
class Audited:
    """An installation with everything decided and in ClickHouse, its worker and sink stopped."""

    installation: Installation
    clickhouse: ClickHouse
    segments: Path

    @property
    def state(self) -> Path:
        """The tables of its worker."""
        return self.installation.settings.home / "state"

    def audit(self, *stores: Path, **scope: Any) -> list[PartitionReport]:
        """All partitions' reports."""
        options = AuditOptions(Scope(**scope), stores, wait_seconds=0)
        result = run_audit(self.installation.settings, options, lambda _done, _total: None)
        return result.partitions

    def differences(self, *stores: Path) -> list[str]:
        """What differs, a line each; the exit code must agree."""
        reports = self.audit(*stores)
        lines = [d.text(r.partition) for r in reports for d in r.differences]
        assert exit_code(reports) == (1 if lines else 0), [r.cannot_tell for r in reports]
        return lines

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command in a process of its own."""
        return subprocess.run(
            [sys.executable, "-m", "streams", "audit", *arguments],
            env=os.environ | self.installation.settings.environment(),
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS,
        )

    def usage_entry(self) -> UsageEntry:
        """An entry that cost something."""
        return next(
            entry
            for part in self.installation.entries()
            for entry in part
            if isinstance(entry, UsageEntry) and entry.cost == "1.25"
        )

    @contextmanager
    def spoilt(self, *statements: str) -> Iterator[None]:
        """Changes rows in ClickHouse, and puts all of them back afterwards."""
        ch = self.clickhouse
        for table in TABLES.values():
            ch.execute(f"CREATE TABLE kept_{table} AS {table}")
            ch.execute(f"INSERT INTO kept_{table} SELECT * FROM {table}")
        try:
            for statement in statements:
                changes = statement.startswith("ALTER")
                ch.execute(statement + (" SETTINGS mutations_sync = 2" if changes else ""))
            yield
        finally:
            for table in TABLES.values():
                ch.execute(f"TRUNCATE TABLE {table} SYNC")
                ch.execute(f"INSERT INTO {table} SELECT * FROM kept_{table}")
                ch.execute(f"DROP TABLE kept_{table} SYNC")

    def rows(self) -> int:
        """How many rows the ledger has in ClickHouse."""
        return int(self.clickhouse.query("SELECT count() FROM ledger").rows[0][0])


def load(half: int) -> dict[str, dict[str, list[bytes]]]:
    """By topic and customer: grants, signals, usage, duplicates, conflicts, malformed records."""
    made: dict[str, dict[str, list[bytes]]] = {USAGE.name: {}, SIGNALS.name: {}, BUDGETS.name: {}}
    for customer in CUSTOMERS:
        amount = {"kind": "grant", "denomination": "usd", "amount": "9"}
        made[BUDGETS.name][customer] = [json_of(customer, f"g{half}", amount)]
        made[SIGNALS.name][customer] = [json_of(customer, f"s{half}", {"name": "closed"})]
        events = [
            json_of(customer, f"e{half}-{n}", {"units": 1, "cost": "1.25"}) for n in range(EVENTS)
        ]
        wrong = [b"{", json_of(customer, f"e{half}-0", {"units": 2})]
        made[USAGE.name][customer] = [*events, *events[:20], *wrong]
    return made


@pytest.fixture(scope="module")
def audited(stack: "EmbeddedStack", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    endpoints = stack.endpoints()
    name = f"audit_{secrets.token_hex(4)}"
    home = tmp_path_factory.mktemp(name) / "home"
    with with_tables(endpoints, name, home) as (installation, clickhouse):
        found = Audited(installation, clickhouse, stack.home.root / "kafka" / "data")
        _fill(found)
        yield found


def _fill(audited: Audited) -> None:
    """Two halves of a load; the worker is killed between them."""
    installation = audited.installation
    sink = installation.start_sink()
    try:
        first = installation.start_worker()
        _produce(installation, load(0))
        until(installation.consumed, "a first cycle", WAIT_SECONDS)
        first.kill()
        first.wait()
        worker = installation.start_worker()
        _produce(installation, load(1))
        installation.wait_consumed()
        assert installation.stop(worker) == 0
        due = sum(len(part) for part in installation.entries())
        until(lambda: audited.rows() == due, "all rows", WAIT_SECONDS)
    finally:
        sink.kill()
        sink.wait()


def _produce(installation: Installation, records: dict[str, dict[str, list[bytes]]]) -> None:
    for topic, customers in records.items():
        for customer, values in customers.items():
            installation.produce(topic, values, key=customer)


def test_an_installation_that_was_killed_is_equal(audited: Audited) -> None:
    outcome = audited.command("--json", "--state-dir", str(audited.state))
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    said = json.loads(outcome.stdout)
    assert said["verdict"] == "equal"
    total = {
        name: sum(part[name] for part in said["partitions"])
        for name in ("accepted", "duplicates", "refused", "given", "differences_total", "waiting")
    }
    accepted = 2 * len(CUSTOMERS) * (EVENTS + 2)
    assert total == {
        "accepted": accepted,
        "duplicates": 2 * len(CUSTOMERS) * 20,
        "refused": 2 * len(CUSTOMERS) * 2,
        "given": 0,
        "differences_total": 0,
        "waiting": 0,
    }
    for part in said["partitions"]:
        ledger = [rows for rows in part["clickhouse"] if rows["table"] == "ledger"]
        assert sum(rows["rows"] for rows in ledger) == part["entries"]
        assert [rows["cost"] for rows in ledger] == [part["cost"]["USD"]]
    assert all(len(part["tables"]) == 3 for part in said["partitions"])


def test_the_report_for_a_person_has_a_line_per_partition_and_a_verdict(audited: Audited) -> None:
    outcome = audited.command("--jobs", "2")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    lines = outcome.stdout.splitlines()
    assert lines[-1].endswith("tables compared: equal")
    assert [line.split()[0] for line in lines[2:4]] == ["0", "1"]


def row(entry: UsageEntry, what: str) -> str:
    """The line that names a row of an entry."""
    place = f"generation 1, sequence {entry.sequence}, {entry.entry_id}"
    return f"partition {entry.partition}, ClickHouse ledger, {place}: {what}"


def test_a_removed_row_is_named(audited: Audited) -> None:
    entry = audited.usage_entry()
    with audited.spoilt(f"ALTER TABLE ledger DELETE WHERE entry_id = '{entry.entry_id}'"):
        assert audited.differences() == [row(entry, "the row is missing")]


def test_a_doubled_row_is_named(audited: Audited) -> None:
    entry = audited.usage_entry()
    doubled = f"SELECT * FROM ledger WHERE entry_id = '{entry.entry_id}'"
    with audited.spoilt(f"INSERT INTO ledger {doubled}"):
        assert audited.differences() == [row(entry, "a row too many")]


def test_an_altered_amount_is_named(audited: Audited) -> None:
    entry = audited.usage_entry()
    change = "ALTER TABLE ledger UPDATE cost = cost + 0.000000000001 WHERE entry_id = "
    with audited.spoilt(f"{change}'{entry.entry_id}'"):
        what = "cost is '1.250000000001', due is '1.25'"
        assert audited.differences() == [row(entry, what)]


def test_an_altered_dead_letter_and_rows_that_the_log_lacks_are_named(audited: Audited) -> None:
    letter = next(
        found for found in audited.installation.dead_letters() if found.code == "conflict"
    )
    with audited.spoilt(
        f"ALTER TABLE dead_letters UPDATE reason = 'x' WHERE entry_id = '{letter.entry_id}'",
        "INSERT INTO ledger SELECT * REPLACE (7 AS generation) FROM ledger WHERE sequence = 3",
    ):
        lines = audited.differences()
    assert len(lines) == 3
    assert sum("generation 7: rows up to sequence 3, the log" in line for line in lines) == 2
    assert any(f"{letter.entry_id}: reason is 'x', due is" in line for line in lines), lines


def test_an_altered_record_of_the_ledger_is_named(audited: Audited) -> None:
    entry = audited.usage_entry()
    prefix = audited.installation.settings.topic_prefix
    directory = audited.segments / f"{prefix}{LEDGER.name}-{entry.partition}"
    due = codec.encode(entry)
    altered = due.replace(b'"cost":"1.25"', b'"cost":"1.75"')
    alter_record(directory, due, altered)
    lines = audited.differences()
    assert any(
        "ledger, offset" in line and f"{entry.entry_id}: cost is '1.75', due is '1.25'" in line
        for line in lines
    ), lines
    assert row(entry, "cost is '1.25', due is '1.75'") in lines
    assert len(lines) == 2
    alter_record(directory, altered, due)


def test_a_forged_account_in_the_changelog_is_named(audited: Audited) -> None:
    topic = ACCOUNTS_CHANGELOG.name
    partition, value = next(
        (number, record.value)
        for number, part in enumerate(audited.installation.read(topic))
        for record in reversed(part)
        if record.key == b"acme"
    )
    forged = value.replace(b'"used_units":300', b'"used_units":299')
    assert forged != value
    audited.installation.produce(topic, [forged], key="acme", partition=partition)
    assert audited.differences() == [
        f"partition {partition}, accounts changelog, customer 'acme': used_units is 299, due is 300"
    ]
    audited.installation.produce(topic, [value], key="acme", partition=partition)


def test_an_account_changed_by_hand_in_a_local_table_is_named(audited: Audited) -> None:
    entry = audited.usage_entry()
    path = audited.state / "v1" / "tables" / f"{Table.ACCOUNTS.value}-{entry.partition}.db"
    found, instead = b'"used_units":300', b'"used_units":301'
    with altered_store(path, entry.customer_id.encode(), found, instead):
        (line,) = audited.differences(audited.state)
    assert line.startswith(f"partition {entry.partition}, store {audited.state}, customer ")
    assert line.endswith("used_units is 301, due is 300")
    assert audited.differences(audited.state) == []


def test_a_customer_and_a_range_are_audited_alone(audited: Audited) -> None:
    (report,) = audited.audit(customer="globex")
    assert exit_code([report]) == 0
    leases = 2  # of the partition's two owners: they have no key, and decide what counts
    assert report.records == 2 * (EVENTS + 2 + 20 + 2) + leases
    assert [rows.rows for rows in report.rows] == [2 * (EVENTS + 2) + 1]
    middle = max(e.decided_at for part in audited.installation.entries() for e in part)
    reports = audited.audit(since_us=middle)
    assert exit_code(reports) == 0
    everything = sum(report.records for report in audited.audit())
    assert 0 < sum(report.records for report in reports) < everything
    outcome = audited.command("--until", format_time(middle), "--no-clickhouse")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "not compared" in outcome.stdout


def test_a_wrong_setup_ends_with_status_2(audited: Audited) -> None:
    outcome = audited.command("--state-dir", "/nowhere")
    assert outcome.returncode == 2
    assert "no state directory of a worker" in outcome.stderr


def test_a_broker_that_does_not_answer_is_no_difference(audited: Audited) -> None:
    outcome = audited.command("--kafka-bootstrap", "127.0.0.1:1")
    assert outcome.returncode == 3, outcome.stdout + outcome.stderr
    assert "error: " in outcome.stderr


def test_a_record_that_a_stranger_appended_to_the_ledger_is_named(audited: Audited) -> None:
    entry = audited.usage_entry()
    value = next(
        record.value
        for record in audited.installation.read(LEDGER.name)[entry.partition]
        if entry.entry_id.encode() in record.value
    )
    audited.installation.produce(LEDGER.name, [value], key=entry.customer_id)
    outcome = audited.command()
    assert outcome.returncode == 1, outcome.stdout + outcome.stderr
    assert f"nothing in the log demands this record, '{entry.entry_id}'" in outcome.stdout
    assert outcome.stdout.splitlines()[-1].endswith("differences")
