"""`tollgate rates` on the real broker: what is appended to the catalog and to `budgets`, what is
shown, and what a month's invoices would have been."""

import asyncio
import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas import codec
from schemas.partitioner import partition_of
from schemas.structs import Terms, UsageEntry
from schemas.times import parse_time_us
from schemas.topics import BUDGETS
from streams.app.rates import read_rate_shelf
from streams.embedded.endpoints import Endpoints
from tests.guard.repository import ROOT
from tests.installation import Installation
from tests.random_ledger import insert_entries
from tests.rows import row
from tests.whole import Command, command_of, with_tables

CARD = """\
kind: rate_card
id: pro
title: Pro
effective_from: 2030-01-01
items:
  - {id: calls, title: Calls, metric: calls, included: 100, price: 0.01}
"""
PLAN = "---\nkind: rate_plan\nid: default\ncard: pro\n"


@pytest.fixture
def installation(endpoints: Endpoints, topic_prefix: str, tmp_path: Path) -> Iterator[Installation]:
    with Installation.create(endpoints, topic_prefix, tmp_path / "home") as created:
        yield created


@pytest.fixture
def rates(
    installation: Installation,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Command:
    return command_of(installation, monkeypatch, capsys, "rates")


def catalog(installation: Installation) -> list[str]:
    """The cards and plans of the catalog, cards first, in their order."""
    shelf = asyncio.run(read_rate_shelf(installation.settings))
    plans = [f"{one.id}@{one.version}" for one in shelf.plan_records]
    return [*shelf.cards, *plans]


def test_files_become_versions_that_can_be_shown_and_the_same_files_change_nothing(
    installation: Installation, rates: Command, tmp_path: Path
) -> None:
    path = tmp_path / "pro.yaml"
    path.write_text(CARD + PLAN, encoding="utf-8")
    code, out, _ = rates("apply", str(path), "--dry-run")
    assert (code, out.splitlines()[-1]) == (0, "2 versions would be appended")
    assert catalog(installation) == []

    assert rates("apply", str(path))[0] == 0
    assert catalog(installation) == ["pro@1", "default@1"]
    code, out, _ = rates("apply", str(path))
    assert out.splitlines() == [
        "unchanged  rate card pro@1",
        "unchanged  plan default@1",
        "0 versions appended",
    ]

    path.write_text(CARD.replace("0.01", "0.02").replace("2030", "2031"), encoding="utf-8")
    code, out, _ = rates("apply", str(path))
    assert code == 0
    assert out.splitlines() == [
        "new        rate card pro@2  from 2031-01-01T00:00:00.000000Z, against pro@1",
        "  ~ items.calls.price: 0.01 -> 0.02",
        ("  ~ effective_from: 2030-01-01T00:00:00.000000Z -> 2031-01-01T00:00:00.000000Z"),
        "1 versions appended",
    ]
    assert len(catalog(installation)) == 3

    _, out, _ = rates("show", "pro", "--at", "2030-06-01", "--json")
    shown = json.loads(out)
    assert (shown["version"], shown["in_force"]) == ("1", True)
    _, out, _ = rates("show", "pro", "--version", "2")
    assert "Calls" in out
    assert "0.02" in out
    code, _, err = rates("show", "pro")
    assert code == 1
    assert "its versions are 1, 2" in err
    _, out, _ = rates("show")
    assert "2 versions of rate cards" in out
    _, out, _ = rates("plans", "--json")
    assert [json.loads(line)["card"] for line in out.splitlines()] == ["pro"]


def test_what_changes_the_past_is_refused_unless_it_is_meant(
    installation: Installation, rates: Command, tmp_path: Path
) -> None:
    path = tmp_path / "pro.yaml"
    path.write_text(CARD.replace("2030", "2020"), encoding="utf-8")
    assert rates("apply", str(path))[0] == 0
    path.write_text(CARD.replace("2030", "2020").replace("0.01", "0.02"), encoding="utf-8")
    code, _, err = rates("apply", str(path))
    assert code == 2
    assert "Closed invoices keep" in " ".join(err.split())
    assert "effective from a time in the past; nothing was appended" in " ".join(err.split())
    assert len(catalog(installation)) == 1
    code, _, err = rates("apply", str(path), "--backdated", "--json")
    assert code == 0
    assert "warning: rate card pro@2" in err
    assert catalog(installation) == ["pro@1", "pro@2"]


def test_a_file_with_a_fault_appends_nothing_and_names_all_of_them(
    installation: Installation, rates: Command, tmp_path: Path
) -> None:
    path = tmp_path / "pro.yaml"
    path.write_text(CARD.replace("0.01", "-1").replace("calls, price", "calls, pric"))
    code, _, err = rates("apply", str(path))
    assert code == 2
    assert f"{path}:6:" in err
    assert catalog(installation) == []
    code, out, _ = rates("validate", str(path), "--json")
    assert code == 1
    assert all(json.loads(line)["level"] == "fault" for line in out.splitlines())


def test_an_assignment_is_a_fact_about_the_customer(
    installation: Installation, rates: Command, tmp_path: Path
) -> None:
    assert (
        rates("apply", *(str(one) for one in sorted((ROOT / "deploy/rates").glob("*.yaml"))))[0]
        == 0
    )
    code, _, err = rates("assign", "acme", "--plan", "gold")
    assert code == 2
    assert "there is no plan gold; there are: default, team" in " ".join(err.split())
    assert rates("assign", "acme")[0] == 2
    words = ("--zone", "Europe/Berlin", "--anchor-day", "15", "--from", "2026-11-01", "--id", "one")
    code, out, _ = rates("assign", "acme", "--plan", "team", *words, "--json")
    assert (code, json.loads(out)) == (0, {"event_id": "one", "customer_id": "acme"})
    facts = [
        codec.decode_budget(record.value)
        for partition in installation.read(BUDGETS.name)
        for record in partition
    ]
    (terms,) = facts
    assert isinstance(terms, Terms)
    assert (terms.plan, terms.card, terms.zone, terms.anchor_day) == (
        "team",
        None,
        "Europe/Berlin",
        15,
    )
    assert terms.effective_from == parse_time_us("2026-11-01T00:00:00Z")
    code, _, err = rates("assign", "acme", "--card", "per-call", "--zone", "Mars/Base")
    assert code == 2
    assert len([1 for part in installation.read(BUDGETS.name) for _ in part]) == 1


def test_a_preview_says_what_each_customer_would_have_been_charged(
    endpoints: Endpoints,
    topic_prefix: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = topic_prefix.rstrip(".").replace("-", "_")
    path = tmp_path / "pro.yaml"
    path.write_text(CARD.replace("effective_from: 2030-01-01\n", "") + PLAN, encoding="utf-8")
    with with_tables(endpoints, name, tmp_path / "home") as (installation, clickhouse):
        rates = command_of(installation, monkeypatch, capsys, "rates")
        assert rates("apply", str(path))[0] == 0
        entries = [
            codec.decode_entry(row(at, customer=customer, partition=partition))
            for partition, (customer, calls) in enumerate((("acme", 150), ("bolt", 20)))
            for at in range(calls)
        ]
        assert all(
            one.partition == partition_of(one.customer_id.encode(), 2)
            for one in entries
            if isinstance(one, UsageEntry)
        )
        asyncio.run(insert_entries(clickhouse, entries))
        path.write_text(CARD.replace("0.01", "0.05").replace("included: 100, ", ""))
        before = len(catalog(installation))
        code, out, err = rates("preview", str(path), "--period", "2026-01", "--csv")
        assert code == 0, err
        told = {one["customer_id"]: one for one in csv.DictReader(io.StringIO(out))}
        assert (told["acme"]["old"], told["acme"]["new"]) == ("0.5", "7.5")
        assert (told["bolt"]["old"], told["bolt"]["new"]) == ("0", "1")
        assert len(catalog(installation)) == before
        _, out, _ = rates("preview", str(path), "--period", "2026-01", "--customer", "acme")
        assert "+7.00" in out
        assert "1 of 1 would change" in out
