"""`make soak SEEDS=N FROM=K`: N schedules of troubles on a real Kafka and ClickHouse, then the
books.

A seed gives the same schedule and the same events; in which step a signal meets a process is the
machine's affair, so a seed that fails may pass the next time. Exit code 1 where anything was lost,
doubled or wrong.
"""

import argparse
import dataclasses
import json
import logging
import secrets
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.brokers import COPIES, three_brokers
from tests.integration.embedded_stack import running_stack
from tests.soak.run import Report, run_schedule
from tests.soak.schedule import KINDS, THREE_BROKERS, make_schedule

HEAD: Final = (
    f"{'seed':>6} {'events':>7} {'accepted':>8} {'dupl.':>6} {'letters':>7} "
    f"{'shares':>6} {'late':>6} {'voided':>6} {'lost':>5} {'doubled':>7} {'sums':>5} {'s':>5}  "
)
RESTARTS_MAX: Final = 1_000
"""Of the servers, over all seeds of a run: they are killed on purpose."""


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="how many schedules")
    parser.add_argument("--from", type=int, default=1, dest="first", help="the first seed")
    parser.add_argument("--kind", choices=("all", *KINDS, THREE_BROKERS), default="all")
    parser.add_argument("--json", type=Path, help="write a report to this file")
    parser.add_argument("--keep", type=Path, help="where logs of failed seeds are kept")
    return parser.parse_args()


def line(report: Report) -> str:
    """One schedule in one line."""
    found = report.verdict
    return (
        f"{report.seed:6d} {found.events:7d} {found.accepted:8d} {found.duplicates:6d} "
        f"{found.letters:7d} {found.shares:6d} {found.late:6d} {found.voided:6d} "
        f"{found.lost:5d} {found.doubled:7d} {found.wrong_sums:5d} "
        f"{report.seconds:5.0f}  {'ok' if report.ok else 'FAULT'}  audit: {report.audit}"
        + (f", orphans ended: {report.orphans}" if report.orphans else "")
    )


def as_json(report: Report) -> dict[str, object]:
    """A report for machines."""
    return dataclasses.asdict(report) | {"ok": report.ok}


def main() -> int:
    """Runs the schedules one after another; returns the exit code."""
    given = arguments()
    # The load's own client tells of every failed connection to a broker that was killed on purpose.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    root = Path(tempfile.mkdtemp(prefix="tollgate-soak-"))
    keep = given.keep or root / "failed"
    reports: list[Report] = []
    try:
        (root / "stack").mkdir()
        three = given.kind == THREE_BROKERS
        started, more = (
            (three_brokers, {"replication_factor": COPIES}) if three else (running_stack, {})
        )
        with started(root / "stack", restart_limit=RESTARTS_MAX) as stack:
            for seed in range(given.first, given.first + given.seeds):
                schedule = make_schedule(seed, given.kind)
                folder = root / f"seed-{seed}"
                print(f"seed {seed}: {', '.join(map(str, schedule.actions))}", file=sys.stderr)
                name = f"soak{seed}_{secrets.token_hex(3)}"
                report = run_schedule(stack, schedule, folder, name, **more)
                if not report.ok:
                    report.logs = str(keep / folder.name)
                    keep.mkdir(parents=True, exist_ok=True)
                    shutil.copytree(folder, report.logs, dirs_exist_ok=True)
                    for log in (root / "stack" / "logs").glob("*.log"):
                        shutil.copy(log, report.logs)
                shutil.rmtree(folder, ignore_errors=True)
                reports.append(report)
                print(HEAD + "\n" + line(report), flush=True)
                for fault in report.verdict.faults:
                    print(f"        {fault}", flush=True)
                if given.json is not None:
                    given.json.write_text(json.dumps([as_json(r) for r in reports], indent=1))
    finally:
        if all(report.ok for report in reports):
            shutil.rmtree(root, ignore_errors=True)
        else:
            shutil.rmtree(root / "stack", ignore_errors=True)
    return summary(reports)


def summary(reports: list[Report]) -> int:
    """Prints the table of all schedules; 1 where one of them failed."""
    print("\n" + HEAD)
    for report in reports:
        print(line(report))
    bad = [report for report in reports if not report.ok]
    events = sum(report.verdict.events for report in reports)
    print(
        f"{len(reports)} schedules, {events} events: {sum(r.verdict.lost for r in reports)} lost, "
        f"{sum(r.verdict.doubled for r in reports)} doubled, "
        f"{sum(r.verdict.wrong_sums for r in reports)} wrong sums; {len(bad)} with faults"
    )
    for report in bad:
        print(f"seed {report.seed}: logs in {report.logs}; again: make soak FROM={report.seed}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
