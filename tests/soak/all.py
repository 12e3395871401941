"""`make soak-all MINUTES=20`: everything under load and faults, and a report.

Ends by itself: the load after its minutes, everything after it under deadlines. Exit code 1 where
anything was lost, doubled, wrong, unanswered or not flat.
"""

import argparse
import json
import logging
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.integration.embedded_stack import running_stack
from tests.soak.all_plan import make_plan
from tests.soak.all_report import as_json, as_markdown
from tests.soak.all_run import run_everything

RESTARTS_MAX: Final = 1_000
"""Of the servers: they are killed on purpose."""
MINUTES_MAX: Final = 24 * 60.0
"""The checks at the end read everything into memory."""


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.all", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0, help="how long the load lasts")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--report", type=Path, help="folder for soak.md and soak.json, and the logs of a fault"
    )
    given = parser.parse_args()
    if not 0 < given.minutes <= MINUTES_MAX:
        parser.error(f"--minutes is more than 0 and at most {MINUTES_MAX:.0f}")
    return given


def main() -> int:
    """Runs it; returns the exit code."""
    given = arguments()
    # The load's own clients tell of every failed connection to a broker that was killed on purpose.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    root = Path(tempfile.mkdtemp(prefix="tollgate-soak-"))
    report: Path = given.report or Path(tempfile.mkdtemp(prefix="tollgate-soak-report-"))
    report.mkdir(parents=True, exist_ok=True)
    try:
        with running_stack(root / "stack", restart_limit=RESTARTS_MAX) as stack:
            plan = make_plan(given.seed, given.minutes * 60)
            result = run_everything(stack, plan, root / "logs", "soak", say)
        markdown = as_markdown(result)
        (report / "soak.md").write_text(markdown, "utf-8")
        (report / "soak.json").write_text(json.dumps(as_json(result), indent=1), "utf-8")
        if not result.ok:
            for log in [*(root / "logs").glob("*.log"), *(root / "stack" / "logs").glob("*.log")]:
                shutil.copy(log, report)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print(markdown)
    print(f"the report is in {report}")
    return 0 if result.ok else 1


def say(line: str) -> None:
    """Progress, while it runs."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
