"""Known holes in what is locked: `make audit-dependencies`.

pip-audit asks an advisory service about every version. It says "No known vulnerabilities found" and
ends with 0 also where it could look nothing up, so its report is read here: what was not looked up
is no good news.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.guard.repository import ROOT

LOCKS: Final = ("build.txt", "base.txt", "embedded.txt", "dev.txt")
SERVICES: Final = ("pypi", "osv")
"""Asked in this order, the second where the first knows less than everything."""

ASKING_SECONDS: Final = 600
"""For one lock file and one service; 150 versions are asked one after the other."""

CLEAN, HOLES, UNCHECKED = 0, 1, 2
"""How the command ends."""


def verdict(reports: Mapping[str, Mapping[str, Any] | None]) -> tuple[int, list[str]]:
    """How the command ends and what it says, by reports of pip-audit (JSON) by lock file; None for
    one that could not be made."""
    said: list[str] = []
    checked: set[str] = set()
    holes: set[str] = set()
    unchecked: set[str] = set()
    for lock, report in reports.items():
        if report is None:
            unchecked.add(f"all of {lock}")
            continue
        for found in report["dependencies"]:
            if "skip_reason" in found:
                unchecked.add(found["name"])
                continue
            checked.add(found["name"])
            for hole in found["vulns"]:
                fixed = ", ".join(hole["fix_versions"]) or "no version"
                names = " ".join([hole["id"], *hole.get("aliases", [])])
                holes.add(f"{found['name']} {found['version']}: {names}; repaired in {fixed}")
    said += sorted(holes)
    if unchecked:
        said.append(
            f"not looked up: {len(unchecked)} ({', '.join(sorted(unchecked)[:5])}…). Nothing is "
            "known about these: run this where the advisory service can be reached."
        )
    said.append(f"looked up: {len(checked)} packages, {len(holes)} known holes")
    return (HOLES if holes else UNCHECKED if unchecked or not checked else CLEAN), said


def ask(tool: Path, lock: str, service: str) -> Mapping[str, Any] | None:
    """The report of one lock file by one service; None where there is none."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "report.json"
        words = ["--disable-pip", "--require-hashes", "--progress-spinner", "off"]
        words += ["--vulnerability-service", service, "--format", "json", "--output", str(target)]
        try:
            subprocess.run(
                [str(tool), *words, "--requirement", str(ROOT / "requirements" / lock)],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=ASKING_SECONDS,
            )
            report: Mapping[str, Any] = json.loads(target.read_text(encoding="utf-8"))
        except (OSError, ValueError, subprocess.TimeoutExpired):
            return None
        return report


def is_whole(report: Mapping[str, Any] | None) -> bool:
    """Whether a report says something about every package."""
    return report is not None and all(
        "skip_reason" not in found for found in report["dependencies"]
    )


def main(words: Sequence[str]) -> int:
    """Asks about every lock file, and prints what there is to say."""
    reports: dict[str, Mapping[str, Any] | None] = {}
    for lock in LOCKS:
        for service in SERVICES:
            report = ask(Path(words[0]), lock, service)
            if reports.get(lock) is None or is_whole(report):
                reports[lock] = report
            if is_whole(report):
                break
    status, said = verdict(reports)
    print("\n".join(said))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
