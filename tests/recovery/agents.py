"""What the recovery tests with agents share: a gateway of its own before one installation, waiting
for an owner, and the books of its decisions."""

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Final

import requests

from schemas.topics import LEDGER
from streams.bench.preflight_books import DecisionBooks, Told
from streams.bench.preflight_stack import probes
from tests.embedded_waiting import until
from tests.installation import Installation
from tests.recovery.cases import STEP_SECONDS

CALL_SECONDS: Final = 30.0
"""A deadline for one request; gateways give up long before."""

AUDIT_SECONDS: Final = 300.0


def call(url: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Status and body of one answer; status 0 where the connection was refused or lost."""
    try:
        answer = requests.request(method, url + path, json=body, timeout=CALL_SECONDS)
        return answer.status_code, answer.json()
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
        return 0, None


def wait_answering(
    installation: Installation, url: str, timeout_seconds: float = STEP_SECONDS
) -> None:
    """Returns when a gateway gets answers about every partition."""
    customers = probes(installation.settings.partitions)
    until(
        lambda: all(
            call(url, "GET", f"/v1/customers/{customer}/budget")[0] == 200 for customer in customers
        ),
        f"{url} answers for every partition",
        timeout_seconds,
    )


def decision_books(installation: Installation) -> DecisionBooks:
    """The ledger, added up by something that shares nothing with who decided."""
    books = DecisionBooks()
    for partition, records in enumerate(installation.read(LEDGER.name)):
        for record in records:
            books.take(partition, record.key, record.value, record.timestamp)
    return books


def check_decisions(
    installation: Installation, told: Mapping[tuple[str, str], Told]
) -> DecisionBooks:
    """Fails where the log contradicts an answer, overspends, leaks, or decided anything twice."""
    books = decision_books(installation)
    verdict = books.judge(told)
    assert verdict.is_right, verdict
    return books


def check_audit(installation: Installation) -> None:
    """Fails where `tollgate audit` finds a difference."""
    done = subprocess.run(
        [sys.executable, "-m", "streams", "audit", "--no-clickhouse", "--jobs", "1"],
        env=os.environ | installation.settings.environment(),
        capture_output=True,
        text=True,
        timeout=AUDIT_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def kinds_of(installation: Installation, kind: type) -> list[Any]:
    """The ledger's entries of one kind."""
    return [entry for part in installation.entries() for entry in part if isinstance(entry, kind)]
