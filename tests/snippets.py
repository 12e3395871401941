"""The snippets of docs/bi.md, run as they stand by a Python of choice, as the embedded analyst."""

import re
import subprocess
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

from streams.adapters.clickhouse import ClickHouse
from tests.guard.repository import ROOT

SECONDS_MAX: Final = 120


def snippet(heading: str) -> str:
    """The Python under a heading of the page."""
    page = (ROOT / "docs/bi.md").read_text(encoding="utf-8")
    part = re.split(rf"^#+ {re.escape(heading)}$", page, flags=re.MULTILINE)[1]
    found = re.search(r"```python\n(.*?)```", part, re.DOTALL)
    assert found is not None, f"no Python under {heading}"
    return found[1]


def run(heading: str, python: Path | str, analyst: ClickHouse) -> str:
    """What the snippet prints."""
    address = analyst.address
    parts = urlsplit(address.url)
    environment = {
        "TOLLGATE_HOST": parts.hostname or "",
        "TOLLGATE_PORT": str(parts.port),
        "TOLLGATE_PASSWORD": address.password,
        "TOLLGATE_SQLALCHEMY": f"clickhousedb://{address.user}:{quote(address.password, safe='')}"
        f"@{parts.netloc}/{address.database}",
    }
    made = subprocess.run(
        [python, "-W", "ignore", "-c", snippet(heading)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
    )
    assert made.returncode == 0, made.stderr
    return made.stdout
