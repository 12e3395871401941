"""`tollgate reconcile` against rows in a real ClickHouse, each kind of difference planted."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from schemas.structs import AdjustmentEntry, UsageEntry
from streams.adapters.clickhouse import ClickHouse
from tests.planted import Planted

MAPPING = {
    "format": "tollgate-reconcile/1",
    "providers": ["openai"],
    "day": {"column": "day"},
    "model": {"column": "model"},
    "amount": {"column": "cost"},
    "currency": {"column": "currency"},
    "tokens": {"input": ["input"], "cache_read": ["cached"], "output": ["output"]},
}


class Ledger(Planted):
    """Usage and what corrects it, told by what matters to a comparison."""

    def used(self, at: str, model: str, cost: str, **more: Any) -> None:
        """A call."""
        fields = {"provider": "openai", "cost_basis": "priced", "price_version": "p@1"}
        self.entry(UsageEntry, at, model=model, cost=cost, **fields | more)

    def adjusted(self, at: str, model: str, cost: str, **more: Any) -> None:
        """A correction of a call."""
        fields: dict[str, Any] = {
            "provider": "openai",
            "adjusted_entry": "1-usage-0-0-0",
            "charged_at": 0,
            "charged_generation": 1,
            "charged_sequence": 0,
            "cost_basis": "adjusted",
        }
        self.entry(AdjustmentEntry, at, model=model, cost=cost, **fields | more)


def export(folder: Path, rows: Sequence[str]) -> str:
    path = folder / "costs.csv"
    head = "day,model,cost,currency,input,cached,output"
    path.write_text("\n".join([head, *rows]) + "\n")
    return str(path)


@pytest.fixture
def mapping(tmp_path: Path) -> str:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(MAPPING))
    return str(path)


async def test_each_planted_difference_is_found_with_its_reason(
    clickhouse: ClickHouse, tollgate: Any, tmp_path: Path, mapping: str
) -> None:
    ledger = Ledger()
    # Equal: a snapshot and its family, corrected by an adjustment; an outer span, other providers.
    ledger.used("2026-10-01T09:00:00Z", "gpt-4o-2024-08-06", "1.5", input_tokens=10)
    ledger.used("2026-10-01T23:59:59.999999Z", "gpt-4o", "0.5", input_tokens=5)
    ledger.adjusted("2026-10-01T09:00:00Z", "gpt-4o-2024-08-06", "-0.25")
    ledger.used("2026-10-01T10:00:00Z", "gpt-4o", "0", flags=["outer_span"], cost_basis="none")
    ledger.used("2026-10-01T10:00:00Z", "claude-opus-4-1", "9", provider="anthropic")
    rows = ["2026-10-01,gpt-4o,1.75,usd,15,0,0"]
    # Unpriced: one call has been rated since, one has not.
    ledger.used("2026-10-02T09:00:00Z", "gpt-4o-mini", "0", cost_basis="unpriced", input_tokens=7)
    ledger.used("2026-10-02T09:00:00Z", "gpt-4o-mini", "0", cost_basis="unpriced", input_tokens=7)
    ledger.adjusted("2026-10-02T09:00:00Z", "gpt-4o-mini", "1", was_unpriced=True)
    rows += ["2026-10-02,gpt-4o-mini,2,usd,14,0,0"]
    # Missing on either side.
    rows += ["2026-10-03,o3-mini,1,usd,1,0,0"]
    ledger.used("2026-10-03T09:00:00Z", "gpt-4.1", "2", input_tokens=1)
    ledger.used("2026-10-03T09:00:00Z", "gpt-4o", "3", input_tokens=1)
    # A batch; cached tokens; another price.
    ledger.used("2026-10-04T09:00:00Z", "gpt-4o", "4", input_tokens=11)
    rows += ["2026-10-04,gpt-4o,2,usd,12,0,0"]
    ledger.used("2026-10-06T09:00:00Z", "gpt-4o", "4", input_tokens=100)
    rows += ["2026-10-06,gpt-4o,3,usd,40,60,0"]
    ledger.used("2026-10-08T09:00:00Z", "gpt-4o", "4", output_tokens=60, reasoning_tokens=40)
    rows += ["2026-10-08,gpt-4o,5,usd,0,0,100"]
    # A call shortly before midnight, which the export counts to the day after.
    ledger.used("2026-10-10T23:30:00Z", "gpt-4o", "6", input_tokens=1)
    ledger.used("2026-10-11T09:00:00Z", "gpt-4o", "1", input_tokens=1)
    rows += ["2026-10-11,gpt-4o,7,usd,2,0,0"]
    # Another currency.
    ledger.used("2026-10-13T09:00:00Z", "gpt-4o", "1", currency="EUR", cost_basis="reported")
    rows += ["2026-10-13,gpt-4o,1.1,usd,1,0,0"]
    await ledger.load(clickhouse)

    code, out, err = tollgate("reconcile", export(tmp_path, rows), "--mapping", mapping, "--json")
    assert code == 1, err
    found = json.loads(out)
    reasons = {
        (one["day"][-2:], one["model"], one["currency"]): one["reasons"][0]["reason"]
        for one in found["differences"]
    }
    assert reasons == {
        ("02", "gpt-4o-mini", "USD"): "unpriced",
        ("03", "o3-mini", "USD"): "model_not_in_ledger",
        ("03", "gpt-4.1", "USD"): "model_not_in_export",
        ("03", "gpt-4o", "USD"): "day_not_in_export",
        ("04", "gpt-4o", "USD"): "batch",
        ("06", "gpt-4o", "USD"): "cached_tokens",
        ("08", "gpt-4o", "USD"): "price_version",
        ("10", "gpt-4o", "USD"): "time_zone",
        ("11", "gpt-4o", "USD"): "time_zone",
        ("13", "gpt-4o", "USD"): "currency",
        ("13", "gpt-4o", "EUR"): "currency",
    }
    assert (found["from"], found["to"], found["compared"]) == ("2026-10-01", "2026-10-14", 12)
    assert found["totals"]["USD"] == {
        "provider": "22.85",
        "ledger": "26.75",
        "difference": "-3.9",
    }
    assert found["totals"]["EUR"] == {"provider": "0", "ledger": "1", "difference": "-1"}


async def test_in_the_time_zone_of_the_export_its_days_are_equal(
    clickhouse: ClickHouse, tollgate: Any, tmp_path: Path, mapping: str
) -> None:
    ledger = Ledger()
    ledger.used("2026-10-24T22:30:00Z", "gpt-4o", "6")  # 00:30 on the 25th in Berlin
    ledger.used("2026-10-25T22:30:00Z", "gpt-4o", "1")  # 23:30 on the same day, an hour longer
    await ledger.load(clickhouse)
    path = export(tmp_path, ["2026-10-25,gpt-4o,7,USD,0,0,0"])
    code, out, _ = tollgate("reconcile", path, "--mapping", mapping)
    assert code == 1
    assert "2026-10-25 to before 2026-10-26, days of UTC" in out
    code, out, _ = tollgate("reconcile", path, "--mapping", mapping, "--zone", "Europe/Berlin")
    assert code == 0
    assert "USD in all: provider 7, ledger 7, difference 0" in out
    assert "1 days and models compared, 0 differ" in out


async def test_days_that_were_not_asked_for_are_not_compared(
    clickhouse: ClickHouse, tollgate: Any, tmp_path: Path, mapping: str
) -> None:
    ledger = Ledger()
    for day in (1, 2, 3):
        ledger.used(f"2026-10-0{day}T12:00:00Z", "gpt-4o", "1")
    await ledger.load(clickhouse)
    path = export(tmp_path, ["2026-10-01,gpt-4o,9,USD,0,0,0", "2026-10-02,gpt-4o,1,USD,0,0,0"])
    span = ("--from", "2026-10-02", "--to", "2026-10-03")
    code, out, _ = tollgate("reconcile", path, "--mapping", mapping, *span)
    assert code == 0
    assert "2 rows: 0 without an amount, 0 filtered out, 1 of other days, 0 bad" in out
    code, out, _ = tollgate("reconcile", path, "--mapping", mapping, "--csv", "--to", "2026-10-04")
    assert code == 1
    assert [(row["day"], row["difference"]) for row in csv.DictReader(io.StringIO(out))] == [
        ("2026-10-01", "8"),
        ("2026-10-03", "-1"),
    ]


async def test_rows_that_cannot_be_read_are_listed_and_leave_the_answer_open(
    clickhouse: ClickHouse, tollgate: Any, tmp_path: Path, mapping: str
) -> None:
    ledger = Ledger()
    ledger.used("2026-10-01T12:00:00Z", "gpt-4o", "1")
    await ledger.load(clickhouse)
    rows = ["2026-10-01,gpt-4o,1,USD,0,0,0", "2026-10-01,gpt-4o,a lot,USD,0,0,0"]
    code, out, err = tollgate("reconcile", export(tmp_path, rows), "--mapping", mapping)
    assert code == 3
    assert err == "line 3: cost: not a decimal number: 'a lot'\n"
    assert "1 bad" in out


async def test_rounding_to_cents_is_no_difference(
    clickhouse: ClickHouse, tollgate: Any, tmp_path: Path
) -> None:
    ledger = Ledger()
    more = {"provider": "anthropic", "cost_basis": "reported", "price_version": ""}
    ledger.used("2026-10-01T12:00:00Z", "claude-haiku-4-5-20251001", "0.1249", **more)
    await ledger.load(clickhouse)
    path = tmp_path / "console.csv"
    head = "usage_date_utc,model,workspace,token_type,cost_usd\n"
    path.write_text(
        f"{head}2026-10-01,Claude Haiku 4.5,Default,input_no_cache,0.10\n"
        "2026-10-01,Claude Haiku 4.5,Default,output,0.03\n"
    )
    code, out, err = tollgate("reconcile", str(path), "--mapping", "anthropic-console")
    assert code == 0, out + err
    code, out, _ = tollgate(
        "reconcile", str(path), "--mapping", "anthropic-console", "--tolerance", "0"
    )
    assert code == 0
    path.write_text(f"{head}2026-10-01,Claude Haiku 4.5,Default,output,0.14\n")
    code, out, _ = tollgate("reconcile", str(path), "--mapping", "anthropic-console")
    assert code == 1
    assert "claude-haiku-4-5" in out


async def test_an_export_without_models_is_compared_by_day(
    clickhouse: ClickHouse, tollgate: Any, tmp_path: Path
) -> None:
    ledger = Ledger()
    ledger.used("2026-10-01T12:00:00Z", "gpt-4o", "1")
    ledger.used("2026-10-01T12:00:00Z", "o3-mini", "2")
    await ledger.load(clickhouse)
    path = tmp_path / "daily.csv"
    path.write_text(
        "start_time,amount_value,amount_currency\n1790812800,3.0000,usd\n1790899200,,\n"
    )
    code, out, err = tollgate("reconcile", str(path), "--mapping", "openai-costs-daily")
    assert code == 0, out + err


def test_a_file_without_a_day_has_nothing_to_differ(
    tollgate: Any, tmp_path: Path, mapping: str
) -> None:
    code, out, _ = tollgate("reconcile", export(tmp_path, []), "--mapping", mapping)
    assert (code, out.splitlines()[0]) == (0, "no day to compare, days of UTC")


def test_what_cannot_be_read_at_all_is_a_wrong_setup(
    tollgate: Any, tmp_path: Path, mapping: str
) -> None:
    empty = export(tmp_path, [])
    for arguments, message in (
        ((str(tmp_path / "gone.csv"), "--mapping", mapping), "cannot read the export"),
        ((empty, "--mapping", "nonesuch"), "there is no mapping 'nonesuch'"),
        ((empty, "--mapping", mapping, "--zone", "Nowhere"), "not a time zone or tolerance"),
        ((empty, "--mapping", mapping, "--tolerance", "x"), "not a time zone or tolerance"),
        ((empty, "--mapping", "openai-costs"), "has no column"),
        ((empty, "--mapping", mapping, "--from", "yesterday"), "is no day"),
        ((empty, "--mapping", mapping, "--json", "--csv"), "exclude each other"),
    ):
        code, _, err = tollgate("reconcile", *arguments)
        assert code == 2
        assert message in " ".join(err.split())


async def test_the_guide_shows_what_the_command_prints(
    clickhouse: ClickHouse, tollgate: Any, tmp_path: Path, mapping: str
) -> None:
    ledger = Ledger()
    ledger.used("2026-10-01T09:00:00Z", "gpt-4o", "1.75")
    ledger.used("2026-10-02T09:00:00Z", "gpt-4o-mini", "1")
    ledger.used("2026-10-02T09:00:00Z", "gpt-4o-mini", "0", cost_basis="unpriced")
    ledger.used("2026-10-03T09:00:00Z", "gpt-4.1", "2.5")
    ledger.used("2026-10-04T09:00:00Z", "gpt-4o", "4")
    await ledger.load(clickhouse)
    rows = [
        "2026-10-01,gpt-4o-2024-08-06,1.75,usd,0,0,0",
        "2026-10-02,gpt-4o-mini-2024-07-18,2.0004,usd,0,0,0",
        "2026-10-04,gpt-4o-2024-08-06,2,usd,0,0,0",
    ]
    _, out, _ = tollgate("reconcile", export(tmp_path, rows), "--mapping", mapping)
    guide = (Path(__file__).parents[2] / "docs/reconciliation.md").read_text()
    shown = [line.removeprefix("    ") for line in guide.splitlines()]
    first = shown.index(out.splitlines()[0])
    printed = [line.rstrip() for line in out.splitlines()]
    assert printed == shown[first : first + len(printed)]
