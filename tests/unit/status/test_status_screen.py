"""The screen fits, and the form of --json is what docs/status.schema.json says."""

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from streams.cli.status_screen import WARNINGS_SHOWN, WIDTH, screen
from streams.status.making import make_report
from streams.status.report import Report
from streams.status.seen import Group, Look
from streams.status.warning import Since
from tests.guard.repository import ROOT
from tests.looks import ADDRESSES, WORKERS, log, look, member

LINES = 40


def shown(report: Report, *, partitions: bool = False) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=WIDTH).print(screen(report, partitions=partitions))
    return out.getvalue().splitlines()


def killed() -> Look:
    left = Group("Stable", tuple(member(n, some) for n, some in enumerate(WORKERS) if n != 1))
    return look(log(2, workers=left), answers=dict.fromkeys(ADDRESSES, False))


@pytest.mark.parametrize("now", [look(log(2)), killed()])
def test_three_workers_and_eight_partitions_fit_one_screen(now: Look) -> None:
    lines = shown(make_report(look(), now, Since()))
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= WIDTH


def test_the_screen_shows_owners_lag_decisions_and_what_to_do() -> None:
    text = "\n".join(shown(make_report(look(), killed(), Since()), partitions=True))
    for part in ("needs attention", "0-2", "6-7", "no owner", "budget_exhausted 1/s", "gone"):
        assert part in text
    assert "! partitions 3, 4, 5 have no owner" in text


def test_many_warnings_leave_room_for_the_figures() -> None:
    report = make_report(None, look(), Since())
    [one] = make_report(None, replace(look(), log=None, log_fault="away"), Since()).warnings
    lines = shown(report.model_copy(update={"warnings": [one] * 9}))
    assert f"and {9 - WARNINGS_SHOWN} further warnings; --json has all" in lines[-1]


def test_every_report_is_one_of_the_published_form() -> None:
    for now in (look(log(2)), killed(), replace(look(), log=None, log_fault="away")):
        report = make_report(look(), now, Since())
        assert Report.model_validate_json(report.model_dump_json()) == report


def test_the_form_of_version_1_only_grows() -> None:
    published = json.loads((ROOT / "docs/status.schema.json").read_text("utf-8"))
    assert published["properties"]["version"]["const"] == 1
    fields = {name: sorted(part["properties"]) for name, part in published["$defs"].items()}
    assert set(fields["Warn"]) >= {"action", "code", "message", "partitions"}
    assert set(fields["Partition"]) >= {
        "entries",
        "lag",
        "last_entry_at",
        "lease",
        "lease_generation",
        "owner",
        "partition",
        "rows",
        "rows_behind",
        "since",
        "state",
    }
    assert set(published["properties"]) >= {
        "asked_at",
        "clickhouse",
        "dead_letters",
        "decisions",
        "gateways",
        "installation",
        "kafka",
        "open_holds",
        "partitions",
        "sampled_seconds",
        "sink",
        "topics",
        "verdict",
        "version",
        "warnings",
        "workers",
    }
