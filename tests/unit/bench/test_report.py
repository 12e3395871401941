"""The form of every benchmark's result."""

import json
from pathlib import Path

from streams.bench.report import MEASURED, MISSED, Report, at_least, at_most


def report() -> Report:
    made = Report({"cores": 2})
    made.add("full path", 61_234.5, "events/CPU s")
    made.add("full path, times stock Faust", 58.2, "×", at_least(30))
    return made


def test_a_report_in_which_every_target_is_met_ends_well() -> None:
    assert report().exit_code == MEASURED
    assert not report().missed


def test_one_missed_target_is_named_and_decides_the_exit_code() -> None:
    made = report()
    made.add("full path, times the anchor", 5.01, "×", at_most(5))
    assert made.exit_code == MISSED
    assert [result.name for result in made.missed] == ["full path, times the anchor"]
    assert made.text().splitlines()[-1].split()[-1] == "NO"


def test_a_figure_on_its_bound_meets_the_target() -> None:
    made = Report({})
    made.add("a", 5.0, "×", at_most(5))
    made.add("b", 30, "×", at_least(30))
    assert not made.missed


def test_the_json_has_the_form_that_every_benchmark_keeps(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    report().write(path)
    assert json.loads(path.read_text("utf-8")) == {
        "machine": {"cores": 2},
        "results": [
            {
                "name": "full path",
                "value": 61_234.5,
                "unit": "events/CPU s",
                "target": None,
                "ok": True,
            },
            {
                "name": "full path, times stock Faust",
                "value": 58.2,
                "unit": "×",
                "target": "≥ 30",
                "ok": True,
            },
        ],
    }


def test_the_columns_of_the_table_stand_below_each_other() -> None:
    head, rule, *rows = report().text().splitlines()
    assert head.index("unit") == rows[0].index("events/CPU s") == rows[1].index("×")
    assert set(rule) == {"─", " "}
