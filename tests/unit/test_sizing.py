"""What a load needs, by what was measured."""

import itertools
import json
import re

import pytest

from streams.bench.earlier import account_rows
from streams.cli import main
from streams.cli.plan import amount_text
from streams.sizing import ACCOUNT_BYTES, FIGURES, Load, doubts, plan
from tests.guard.repository import ROOT

LARGEST = Load(1_000_000, 100_000_000, average=1_000_000)
LOADS = (1_000, 10_000, 100_000, 1_000_000)


def amounts(load: Load) -> dict[str, float]:
    return {need.what: need.amount for need in plan(load)}


def test_a_small_load_needs_one_worker_and_the_copies_alone() -> None:
    found = amounts(Load(1_000, 10_000))
    assert (found["workers"], found["partitions"], found["brokers"]) == (1, 8, 3)
    assert found["ClickHouse shards"] == 1


def test_a_larger_load_never_needs_less() -> None:
    plans = [amounts(Load(rate, rate * 100)) for rate in LOADS]
    for less, more in itertools.pairwise(plans):
        assert all(more[what] >= less[what] for what in less)


def test_each_worker_gets_several_partitions() -> None:
    found = amounts(LARGEST)
    assert found["partitions"] >= 4 * found["workers"]


def test_what_nobody_has_measured_is_said() -> None:
    assert "store" in doubts(LARGEST)[0]
    assert doubts(Load(1, 1_000)) == []


def test_every_figure_says_who_measured_it() -> None:
    assert all(figure.value > 0 and figure.unit and figure.measured_by for figure in FIGURES)


def test_the_bytes_of_an_account_are_those_of_a_new_one() -> None:
    rows = list(account_rows(1_000, 8, 1))
    size = sum(len(row.key) + len(row.value) for row in rows) / len(rows)
    assert abs(size - ACCOUNT_BYTES.value) < 10


def test_the_guide_shows_what_the_command_says() -> None:
    guide = (ROOT / "docs/scale.md").read_text("utf-8")
    plans = guide.partition("\n## Plans\n")[2].partition("\n## ")[0]
    for need in plan(LARGEST):
        [row] = re.findall(rf"^\| {need.what} \|.*", plans, re.MULTILINE)
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        shown = [amount_text(amounts(Load(rate, rate * 100))[need.what]) for rate in LOADS]
        assert cells[1:5] == shown


def test_the_command_prints_a_table_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "--events-per-second", "100000", "--customers", "1000000"]
    assert main.run(words) == 0
    assert "workers" in capsys.readouterr().out
    assert main.run([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["needs"][0]["what"] == "workers"
