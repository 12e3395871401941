"""Invoices, budgets and dead letters as ClickHouse computes them, compared with the domain's own
fold."""

import json
import random
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

import pytest

from schemas import codec
from schemas.envelope import SCHEMA_VERSION
from schemas.errors import RejectCode
from schemas.structs import DeadLetter, LedgerEntry
from schemas.times import format_time
from streams.adapters.clickhouse import ClickHouse
from streams.adapters.clickhouse_rows import ClickHouseRows
from streams.adapters.memory_sink import MemoryLog
from streams.domain.budget import Account, available
from streams.domain.drafts import draft
from streams.domain.months import Period, month
from streams.invoicing.balance import budget_report
from streams.invoicing.dead_letters import DeadLetterFilter, list_dead_letters
from streams.invoicing.draft import draft_invoice
from streams.ports import NO_ROWS
from tests.builders import DAY_US, NOON_US, cycle, fact, grant, state, usage
from tests.property.logs import Folded, fold, random_log
from tests.property.seed import SEED
from tests.rows import row
from tests.sinks import drain

EVENTS = 500
EVERYTHING = Period(0, 0, 0, 2**52)
JANUARY, FEBRUARY = month(2026, 1), month(2026, 2)


async def load(clickhouse: ClickHouse, values: Sequence[bytes], table: str = "ledger") -> None:
    """The rows, by the sink."""
    log = MemoryLog(table, 0)
    for value in values:
        log.append(value)
    await drain(log, ClickHouseRows(clickhouse))


def random_ledger(number: int) -> Folded:
    few_cycles = [{"budgets": 9, "signals": 9, "usage": 60}] * 6
    return fold(random_log(random.Random(SEED + number), EVENTS), few_cycles)


# --- the queries and the domain agree ------------------------------------------------------------


@pytest.mark.parametrize("number", range(3))
async def test_invoices_and_budgets_are_what_the_domain_makes_of_the_same_entries(
    clickhouse: ClickHouse, number: int
) -> None:
    folded = random_ledger(number)
    await load(clickhouse, [codec.encode(entry) for entry in folded.entries])
    assert len(folded.state.accounts) > 3
    lines = 0
    for account in folded.state.accounts.values():
        for period in (JANUARY, FEBRUARY, EVERYTHING):
            found = draft_invoice(clickhouse, account.customer_id, period)
            assert found is not None
            assert found.draft == draft(folded.entries, account.customer_id, period)
            lines += len(found.draft.lines)
        assert_same_budget(clickhouse, account, folded.state.progress.domain_time_us)
    assert lines > 50


def assert_same_budget(clickhouse: ClickHouse, account: Account, now_us: int) -> None:
    report = budget_report(clickhouse, account.customer_id)
    assert report is not None
    assert report.now_us == now_us
    for balance in report.balances:
        assert balance.left == available(account, balance.denomination, now_us)
        parts = balance.burnt + balance.expired + balance.later + balance.left
        assert parts == balance.granted
    used, charged = report.used, dict(report.used.charged_pico)
    assert (used.events, used.signals) == (account.events, account.signals)
    assert (used.units, used.tokens) == (account.used_units, account.used_tokens)
    assert charged.pop("USD", 0) == account.used_pico_usd
    assert charged == account.used_other


@pytest.mark.parametrize("last_day", [0, 3, 5, 11, 40])
async def test_of_a_grant_that_resets_the_report_shows_the_present_period(
    clickhouse: ClickHouse, last_day: int
) -> None:
    """Also the last period of one that has expired on the fifth day."""
    into, entries = state(), []
    ends = format_time(NOON_US + 5 * DAY_US)
    for day in sorted({0, 1, 2, 3, last_day}):
        at_us = NOON_US + day * DAY_US
        facts = [fact(usage(event_id=f"e{day}", units=70 + day), day + 5, at_us)]
        if day == 0:
            facts += [
                fact(grant(event_id=f"g{n}", resets=resets, **more), n, at_us)
                for n, (resets, more) in enumerate(
                    (("day", {"expires_at": ends}), ("week", {}), ("month", {}), (None, {}))
                )
            ]
        entries += cycle(into, *facts, at_us=at_us).entries
    await load(clickhouse, [codec.encode(entry) for entry in entries])
    account = into.accounts["acme"]
    assert_same_budget(clickhouse, account, into.progress.domain_time_us)
    report = budget_report(clickhouse, "acme")
    assert report is not None
    assert {one.resets for one in report.grants} == {"day", "week", "month", ""}
    assert all(0 <= one.left <= one.granted for one in report.grants)


async def test_sums_beyond_38_digits_do_not_wrap(clickhouse: ClickHouse) -> None:
    largest = "9" * 26 + "." + "9" * 12
    costs = [largest, largest, largest, "-0.000000000001"]
    values = [
        json.dumps(json.loads(row(sequence)) | {"cost": cost}).encode()
        for sequence, cost in enumerate(costs)
    ]
    await load(clickhouse, values)
    found = draft_invoice(clickhouse, "acme", JANUARY)
    assert found is not None
    assert found.draft.cost_by_currency() == {"USD": 3 * (10**38 - 1) - 1}


async def test_a_report_says_as_of_which_entry_of_the_customers_partition_it_is(
    clickhouse: ClickHouse,
) -> None:
    rows = ClickHouseRows(clickhouse)
    for partition in (0, 3):
        values = [row(n, partition=partition, customer=f"c{partition}") for n in range(4)]
        await rows.insert("ledger", 1, partition, NO_ROWS, codec.join_rows(values))
    found = draft_invoice(clickhouse, "c3", JANUARY)
    assert found is not None
    assert [(mark.partition, mark.sequence) for mark in found.as_of] == [(3, 3)]
    assert draft_invoice(clickhouse, "nobody", JANUARY) is None
    assert budget_report(clickhouse, "nobody") is None


async def test_rows_inserted_while_a_report_is_made_are_not_in_it(clickhouse: ClickHouse) -> None:
    rows = ClickHouseRows(clickhouse)
    await rows.insert("ledger", 1, 0, NO_ROWS, codec.join_rows([row(0), row(1)]))

    class Interrupted:
        """A warehouse into which the sink inserts right after the marks were read."""

        asked = 0

        def query(self, sql: str, parameters: Any = None) -> Any:
            answer = clickhouse.query(sql, parameters)
            self.asked += 1
            if self.asked == 1:
                rows._insert("ledger", 1, 0, 1, codec.join_rows([row(2), row(3)]))
            return answer

    found = draft_invoice(Interrupted(), "acme", JANUARY)
    assert found is not None
    assert found.draft.totals().calls == 2
    assert found.as_of[0].sequence == 1


def test_every_kind_of_entry_is_among_the_random_ones() -> None:
    kinds = {type(entry).__name__ for entry in random_ledger(0).entries}
    assert kinds == {"CycleEntry", "UsageEntry", "SignalEntry", "GrantEntry"}


async def test_an_entry_comes_back_from_the_table_as_it_was_written(clickhouse: ClickHouse) -> None:
    entries = random_ledger(0).entries
    await load(clickhouse, [codec.encode(entry) for entry in entries])
    for entry in entries:
        assert read_back(clickhouse, entry) == codec.to_plain(entry), entry


def read_back(clickhouse: ClickHouse, entry: LedgerEntry) -> dict[str, Any]:
    """The row of an entry as the wire would have it, reduced to the fields that the entry wrote."""
    found = json.loads(
        clickhouse.text(
            f"SELECT * REPLACE ({_MICROS}) FROM ledger WHERE sequence = {entry.sequence}",
            "JSONEachRow",
        )
    )
    return {name: found[name] for name in codec.to_plain(entry)}


_MICROS = ", ".join(
    f"toUnixTimestamp64Micro({name}) AS {name}"
    for name in (
        *("decided_at", "appended_at", "occurred_at", "effective_at", "expires_at"),
        "watermark",
    )
)


# --- dead letters --------------------------------------------------------------------------------


def dead_letter(sequence: int, code: RejectCode, *, value: bytes | None, **more: Any) -> bytes:
    fields: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "entry_id": f"1-usage-0-{sequence}-0",
        "generation": 1,
        "partition": 0,
        "sequence": sequence,
        "cycle": 1,
        "decided_at": NOON_US + sequence,
        "code": code,
        "reason": f"reason {sequence}",
        "topic": "usage",
        "source_offset": 10 * sequence,
        "appended_at": NOON_US,
        "record_value": None if value is None else b64encode(value).decode(),
    }
    return codec.encode(DeadLetter(**fields | more))


LETTERS = [
    dead_letter(0, RejectCode.MALFORMED, value=b"{not json"),
    dead_letter(1, RejectCode.EMPTY, value=None),
    dead_letter(2, RejectCode.CONFLICT, value=b'{"customer_id":"acme"}'),
    dead_letter(3, RejectCode.MALFORMED, value=b"\xff\x00", topic="budgets"),
    dead_letter(4, RejectCode.INVALID_FIELD, value=b'{"customer_id":"bolt"}', field="units"),
]


@pytest.mark.parametrize(
    ("wanted", "sequences"),
    [
        (DeadLetterFilter(), [4, 3, 2, 1, 0]),
        (DeadLetterFilter(code="malformed"), [3, 0]),
        (DeadLetterFilter(topic="budgets"), [3]),
        (DeadLetterFilter(since_us=NOON_US + 3), [4, 3]),
        (DeadLetterFilter(customer="acme"), [2]),
        (DeadLetterFilter(code="malformed", topic="usage"), [0]),
        (DeadLetterFilter(customer="nobody"), []),
    ],
)
async def test_dead_letters_are_listed_newest_first_as_asked_for(
    clickhouse: ClickHouse, wanted: DeadLetterFilter, sequences: list[int]
) -> None:
    await load(clickhouse, LETTERS, "dead_letters")
    found = list_dead_letters(clickhouse, wanted, 10)
    assert [line.offset for line in found.lines] == [10 * sequence for sequence in sequences]
    assert sum(found.counts.values()) == len(sequences)


async def test_a_limit_shortens_the_list_and_not_the_counts(clickhouse: ClickHouse) -> None:
    await load(clickhouse, LETTERS, "dead_letters")
    found = list_dead_letters(clickhouse, DeadLetterFilter(), 2, payload=True)
    assert [line.size for line in found.lines] == [22, 2]
    assert found.lines[1].record == {"record_key": None, "record_value": "/wA="}
    assert found.counts == {"malformed": 2, "conflict": 1, "empty": 1, "invalid_field": 1}


# --- the commands --------------------------------------------------------------------------------


async def test_an_invoice_is_printed_exactly_for_people_and_for_scripts(
    clickhouse: ClickHouse, tollgate: Any
) -> None:
    await load(clickhouse, [row(n) for n in range(3)])
    code, out, _ = tollgate("invoice", "usage", "acme", "--period", "2026-01", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["totals"]["cost"] == {"USD": "0.000000000003"}
    assert (found["totals"]["calls"], found["totals"]["units_beyond"]) == (3, 3)
    assert found["as_of"][0]["sequence"] == 2
    code, out, _ = tollgate("invoice", "usage", "acme", "--period", "2026-01")
    assert code == 0
    assert out.count("0.000000000003 ") == 2
    assert "units: 3, covered by grants: 0, beyond: 3" in out


async def test_an_empty_month_is_an_empty_invoice_and_a_stranger_is_exit_code_1(
    clickhouse: ClickHouse, tollgate: Any
) -> None:
    await load(clickhouse, [row(0)])
    code, out, _ = tollgate("invoice", "usage", "acme", "--period", "2026-02")
    assert (code, "no usage in this month" in out) == (0, True)
    for command in (["invoice", "usage"], ["budget"]):
        code, out, err = tollgate(*command, "nobody")
        assert (code, out) == (1, "")
        assert "nobody" in err


def test_a_month_that_is_none_is_a_usage_error(tollgate: Any) -> None:
    code, _, err = tollgate("invoice", "usage", "acme", "--period", "2026-13")
    assert code == 2
    assert "2026-13" in err


async def test_a_budget_is_printed_exactly_for_people_and_for_scripts(
    clickhouse: ClickHouse, tollgate: Any
) -> None:
    folded = random_ledger(0)
    await load(clickhouse, [codec.encode(entry) for entry in folded.entries])
    code, out, _ = tollgate("budget", "c1", "--json")
    found, account = json.loads(out), folded.state.accounts["c1"]
    assert code == 0
    assert found["used"]["units"] == account.used_units
    assert set(found["balances"]) == {"unit", "token", "usd"}
    code, out, _ = tollgate("budget", "c1")
    assert code == 0
    assert f"{account.events:,} events" in out


async def test_sql_prints_rows_as_clickhouse_writes_them(
    clickhouse: ClickHouse, tollgate: Any
) -> None:
    await load(clickhouse, [row(0)])
    query = "SELECT customer_id, cost, expires_at FROM ledger;"
    assert tollgate("sql", query)[1].split()[-3:] == ["acme", "0.000000000001", "null"]
    assert tollgate("sql", query, "--format", "csv")[1].splitlines() == [
        '"customer_id","cost","expires_at"',
        '"acme",0.000000000001,\\N',
    ]
    assert json.loads(tollgate("sql", query, "--format", "json")[1])["cost"] == "0.000000000001"


@pytest.mark.parametrize(
    "statement", ["TRUNCATE TABLE ledger", "INSERT INTO ledger (sequence) VALUES (7)", "SET a = 1"]
)
async def test_sql_changes_nothing(clickhouse: ClickHouse, tollgate: Any, statement: str) -> None:
    await load(clickhouse, [row(0)])
    code, _, err = tollgate("sql", statement)
    assert (code, "error:" in err) == (1, True)
    assert clickhouse.query("SELECT count() FROM ledger").rows == [(1,)]


async def test_dead_letters_are_printed_with_their_counts(
    clickhouse: ClickHouse, tollgate: Any
) -> None:
    await load(clickhouse, LETTERS, "dead_letters")
    code, out, _ = tollgate("dead-letters", "list", "--code", "malformed", "--limit", "1")
    assert code == 0
    assert "reason 3" in out
    assert "1 of 2 open dead letters: 2 malformed" in out
    _, out, _ = tollgate("dead-letters", "list", "--since", "2026-01-15", "--json")
    assert json.loads(out.splitlines()[0])["code"] == "invalid_field"
    assert len(out.splitlines()) == len(LETTERS)


def test_migrate_says_what_it_did_and_that_nothing_is_left(tollgate: Any) -> None:
    code, out, _ = tollgate("migrate", "--json")
    found = json.loads(out)
    assert (code, found["applied"]) == (0, [])
    assert found["known"][0] == "0001_ledger"


def test_a_time_that_is_none_is_a_usage_error(tollgate: Any) -> None:
    code, _, err = tollgate("dead-letters", "list", "--since", "yesterday")
    assert (code, "yesterday" in err) == (2, True)
