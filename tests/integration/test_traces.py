"""Traces on real servers: what signals carry, in whatever order things come, in ClickHouse to the
pico-dollar; what the commands show of it; and that the audit finds what was altered.

One installation for all tests, which stand in the order in which things happen to it.
"""

import asyncio
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from schemas import codec
from schemas.structs import Attribution, replace
from schemas.topics import ATTRIBUTIONS, SIGNALS, USAGE
from streams.adapters.catalog import append_catalog, read_catalog
from streams.adapters.clickhouse import ClickHouse
from streams.app.audit import AuditOptions, run_audit
from streams.app.installation import default_rules
from streams.audit.replay import Scope
from tests.builders import json_of
from tests.embedded_waiting import until
from tests.installation import Installation
from tests.tampering import alter_record
from tests.whole import Command, command_of, with_tables

if TYPE_CHECKING:
    from streams.embedded.stack import EmbeddedStack

WAIT_SECONDS: Final = 90.0
CUSTOMER: Final = "acme"


@dataclass
class Traced:
    """An installation whose trace windows close at once, with a worker and a sink."""

    installation: Installation
    clickhouse: ClickHouse
    segments: Path

    def call(self, trace: str, event_id: str, cost: str, **more: Any) -> None:
        """A call that cost so much."""
        fields = {"trace_id": trace, "cost": cost, "provider": "openai", "model": "gpt-4o"} | more
        self.installation.produce(USAGE.name, [json_of(CUSTOMER, event_id, fields)], key=CUSTOMER)

    def signal(self, trace: str, event_id: str, name: str = "booked", **more: Any) -> None:
        """A signal that asks for cost."""
        fields = {"name": name, "trace_id": trace, "cost_tracing": True} | more
        self.installation.produce(SIGNALS.name, [json_of(CUSTOMER, event_id, fields)], key=CUSTOMER)

    def carried(self) -> dict[str, tuple[str, int, str]]:
        """Cost, number of costs and reason for none, by the event id of the signal."""
        rows = self.clickhouse.query(
            "SELECT event_id, toString(cost), costs, why_none FROM signal_costs "
            "JOIN (SELECT entry_id, event_id FROM ledger WHERE kind = 'signal') AS of_signal "
            "ON of_signal.entry_id = signal_costs.signal_entry "
            f"WHERE signal_costs.customer_id = '{CUSTOMER}'"
        ).rows
        return {str(event): (str(cost), int(costs), str(why)) for event, cost, costs, why in rows}

    def wait_carried(self, event_id: str, cost: str, costs: int) -> None:
        """Returns when the signal carries exactly this."""
        self.until(lambda: self.carried().get(event_id) == (cost, costs, ""), self.carried)

    def until(self, seen: Callable[[], bool], tell: Callable[[], object]) -> None:
        """Returns when it is so."""
        until(seen, tell, WAIT_SECONDS)

    def one(self, sql: str) -> tuple[Any, ...]:
        """The only row of a query."""
        (row,) = self.clickhouse.query(sql).rows
        return tuple(row)

    def rows(self) -> list[Attribution]:
        """The attributions in the log."""
        found = self.installation.read(ATTRIBUTIONS.name)
        return [codec.decode_attribution(r.value) for part in found for r in part]

    def differences(self, **scope: Any) -> list[str]:
        """What the audit finds, a line each."""
        options = AuditOptions(Scope(**scope), wait_seconds=30)
        result = run_audit(self.installation.settings, options, lambda _done, _total: None)
        assert not any(report.cannot_tell for report in result.partitions)
        return [d.text(r.partition) for r in result.partitions for d in r.differences]

    @contextmanager
    def spoilt(self, statement: str) -> Iterator[None]:
        """Changes the table, and puts all of it back afterwards."""
        ch = self.clickhouse
        ch.execute("CREATE TABLE kept AS attributions")
        ch.execute("INSERT INTO kept SELECT * FROM attributions")
        try:
            changes = statement.startswith("ALTER")
            ch.execute(statement + (" SETTINGS mutations_sync = 2" if changes else ""))
            yield
        finally:
            ch.execute("TRUNCATE TABLE attributions SYNC")
            ch.execute("INSERT INTO attributions SELECT * FROM kept")
            ch.execute("DROP TABLE kept SYNC")


@pytest.fixture(scope="module")
def traced(stack: "EmbeddedStack", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    endpoints, name = stack.endpoints(), f"traces_{secrets.token_hex(4)}"
    home = tmp_path_factory.mktemp(name) / "home"
    with with_tables(endpoints, name, home) as (installation, clickhouse):
        asyncio.run(close_at_once(installation))
        installation.start_sink()
        installation.start_worker()
        yield Traced(installation, clickhouse, stack.home.root / "kafka" / "data")


async def close_at_once(installation: Installation) -> None:
    settings = installation.settings
    assert settings.kafka_bootstrap is not None
    view = await read_catalog(settings.kafka_bootstrap, settings.topic_prefix)
    rules = replace(
        default_rules(), version="at once", trace_lateness_seconds=0, trace_grace_seconds=0
    )
    await append_catalog(settings.kafka_bootstrap, settings.topic_prefix, view, [rules])


@pytest.fixture
def tollgate(
    traced: Traced, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Command:
    return command_of(traced.installation, monkeypatch, capsys)


def test_a_signal_carries_the_exact_cost_of_its_traces_calls(
    traced: Traced, tollgate: Command
) -> None:
    traced.call("t1", "agent", "9", span_id="a1", outer=True, agent_id="helper")
    traced.call("t1", "c1", "0.012500000001", span_id="b1", parent_span_id="a1")
    traced.call("t1", "c2", "0.000000000001", span_id="b2", parent_span_id="a1")
    traced.call("t1", "c3", "1", span_id="b3", parent_span_id="elsewhere")
    traced.signal("t1", "s1")
    traced.wait_carried("s1", "1.012500000002", 3)
    # Either table may be a moment ahead of the other.
    traced.until(
        lambda: "3 calls, 1 signals" in tollgate("trace", "show", CUSTOMER, "t1")[1],
        lambda: tollgate("trace", "show", CUSTOMER, "t1"),
    )
    out = tollgate("trace", "show", CUSTOMER, "t1")[1]
    assert out.count("S1 100.0 %") == 3
    assert "├ openai/gpt-4o" in out
    assert "outer: counted by the calls inside" in out
    assert "cost 1.012500000002 USD = 1.012500000002 carried + 0.0" in out
    assert tollgate("trace", "show", CUSTOMER, "t9")[0] == 1


def test_costs_after_the_signal_in_several_cycles_count_once_each(traced: Traced) -> None:
    traced.signal("t2", "s2")
    traced.until(lambda: traced.carried().get("s2", ("", 0, ""))[2] == "no_cost", traced.carried)
    for number, total in enumerate(("0.1", "0.3", "0.6"), 1):
        cost = f"0.{number}"
        for _ in range(2):
            traced.call("t2", f"d{number}", cost)
        traced.wait_carried("s2", total, number)
    late = [row for row in traced.rows() if row.trace_id == "t2" and row.role == "share"]
    assert [row.flags for row in late] == [["late"]] * 3
    total = "SELECT calls, toString(cost) FROM trace_costs WHERE trace_id = 't2'"
    traced.until(lambda: traced.one(total) == (3, "0.6"), lambda: traced.one(total))


def test_two_signals_share_all_of_it_and_what_nobody_asks_for_is_shown(
    traced: Traced, tollgate: Command
) -> None:
    traced.call("t3", "e1", "0.00000000001", scope_id="77")
    traced.signal("t3", "s3a")
    traced.signal("", "s3b", name="closed", trace_id=None, scope_id="77", weight=2)
    traced.wait_carried("s3a", "0.000000000004", 1)
    traced.wait_carried("s3b", "0.000000000006", 1)
    traced.call("t4", "f1", "0.25")
    traced.signal("t4", "s4", cost_tracing=False)
    unattributed = "SELECT count(), any(toString(cost)) FROM unattributed_costs"
    traced.until(lambda: traced.one(unattributed) == (1, "0.25"), lambda: traced.one(unattributed))
    traced.until(
        lambda: traced.carried().get("s4", ("", 0, ""))[2] == "cost_tracing_off", traced.carried
    )
    code, out, _ = tollgate("trace", "show", CUSTOMER, "t4")
    assert code == 0
    assert "nobody 100.0 %" in out
    assert "cost 0.25 USD = 0.00 carried + 0.25 nobody's + 0.00 open" in out
    assert "S1 booked carries nothing: nobody asks for the cost of its trace" in out
    code, out, _ = tollgate("trace", "show", CUSTOMER, "77", "--scope", "--json")
    said = json.loads(out)
    assert code == 0
    assert [one["carries"] for one in said["signals"]] == [
        {"USD": "0.000000000004"},
        {"USD": "0.000000000006"},
    ]
    assert said["totals"]["USD"]["open"] == "0"


def test_a_signal_that_is_taken_back_gives_its_cost_to_the_others_or_to_nobody(
    traced: Traced, tollgate: Command
) -> None:
    listed = tollgate("signals", "list", CUSTOMER, "--json")[1].splitlines()
    entries = {
        f"{one['name']} {one['trace_id']}": one["entry_id"] for one in map(json.loads, listed)
    }
    closed, booked = entries["closed None"], entries["booked t3"]
    void = ("signals", "void", CUSTOMER)
    code, out, _ = tollgate(*void, closed, "--reason=cancelled", "--move", "--dry-run")
    assert code == 0
    assert "0.000000000006 USD of 1 costs goes to booked" in out
    assert tollgate(*void, closed, "--reason=cancelled", "--move")[0] == 0
    traced.wait_carried("s3a", "0.00000000001", 1)
    code, _, err = tollgate(*void, closed, "--reason=again")
    assert code == 1
    assert "was taken back" in err
    assert tollgate(*void, "1-signals-0-99-0", "--reason=x")[0] == 1
    assert tollgate(*void, booked, "--reason=cancelled too")[0] == 0
    traced.until(lambda: traced.carried()["s3a"][2] == "voided", traced.carried)
    out = tollgate("trace", "show", CUSTOMER, "t3")[1]
    assert "nobody 100.0 %" in out
    assert "(cancelled too): what it carried is nobody's now" in out
    assert traced.one("SELECT count() FROM signals") == (3,)
    assert traced.one("SELECT count() FROM voids") == (2,)
    assert traced.one(
        "SELECT count() FROM voids "
        "INNER JOIN (SELECT entry_id, occurred_at FROM ledger WHERE kind = 'signal') AS told "
        "ON told.entry_id = voids.signal_entry AND told.occurred_at = voids.occurred_at"
    ) == (2,), "a void belongs to the period of its signal"
    assert '"signals": 3' in tollgate("budget", CUSTOMER, "--json")[1]


def test_all_of_it_is_equal_to_the_log(traced: Traced) -> None:
    audit = subprocess.run(
        [sys.executable, "-m", "streams", "audit", "--json"],
        env=os.environ | traced.installation.settings.environment(),
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
    )
    assert audit.returncode == 0, audit.stdout + audit.stderr
    parts = json.loads(audit.stdout)["partitions"]
    audited = [
        rows["rows"] for part in parts for rows in part["clickhouse"] if "attr" in rows["table"]
    ]
    assert sum(audited) == len(traced.rows()) > 8
    assert any("trace windows" in line for part in parts for line in part["tables"])
    assert traced.differences(customer=CUSTOMER) == []


def place(row: Attribution) -> str:
    return (
        f"partition {row.partition}, ClickHouse attributions, generation 1, "
        f"sequence {row.sequence}, {row.entry_id}: "
    )


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("ALTER TABLE attributions DELETE WHERE entry_id = '{}'", "the row is missing"),
        (
            "ALTER TABLE attributions UPDATE amount = amount + 1 WHERE entry_id = '{}'",
            "amount is '1.000000000001', due is '0.000000000001'",
        ),
        (
            "INSERT INTO attributions SELECT * FROM attributions WHERE entry_id = '{}'",
            "a row too many",
        ),
    ],
)
def test_an_altered_row_is_found(traced: Traced, statement: str, says: str) -> None:
    row = next(row for row in traced.rows() if row.amount == "0.000000000001")
    with traced.spoilt(statement.format(row.entry_id)):
        assert traced.differences() == [place(row) + says]
        assert traced.differences(customer=CUSTOMER) == [place(row) + says]
    assert traced.differences() == []


def test_an_altered_record_of_the_log_is_found(traced: Traced) -> None:
    row = next(row for row in traced.rows() if row.amount == "0.25")
    prefix = traced.installation.settings.topic_prefix
    directory = traced.segments / f"{prefix}{ATTRIBUTIONS.name}-{row.partition}"
    due, altered = codec.encode(row), codec.encode(replace(row, amount="0.75"))
    alter_record(directory, due, altered)
    lines = traced.differences()
    assert len(lines) == 2
    assert lines[0].endswith(f"{row.entry_id}: amount is '0.75', due is '0.25'")
    assert lines[1] == place(row) + "amount is '0.25', due is '0.75'"
    alter_record(directory, altered, due)
    assert traced.differences() == []
