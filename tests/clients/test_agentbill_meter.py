"""`@meter` of AgentBill's Python and Node packages, each in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.clients.node import node_project, program
from tests.clients.sdk import AgentBillClient
from tests.clients.whole import Target, fresh, job_when

HERE = Path(__file__).parent
SECONDS_MAX = 60


def run(command: list[str], target: Target, cwd: Path) -> Any:
    """What the program prints."""
    environment = os.environ | {
        "AGENTBILL_API_KEY": target.key,
        "AGENTBILL_BASE_URL": target.url,
    }
    done = subprocess.run(
        command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=SECONDS_MAX
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_python_functions_are_metered_until_the_budget_is_spent(
    target: Target, client: AgentBillClient, tmp_path: Path
) -> None:
    customer, job = fresh("metered"), fresh("job")
    client.preflight("report", 0, task_ref=job, task_ceiling=10_000)
    found = run([sys.executable, str(HERE / "metered.py"), customer, job], target, tmp_path)
    # What crosses the end of the budget is recorded; 402 is for what comes after it.
    assert found.pop("beyond").startswith("Customer")
    assert found == {
        "async": customer,
        "sync": 3,
        "none": 0,
        "guarded": "ran",
        "to_the_end": 2_000,
        "blocked": customer,
        "ran": ["guarded"],
    }
    job_when(client, job, used_units=2_004)


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return node_project(tmp_path_factory.mktemp("node"))


def test_node_functions_are_metered_until_the_budget_is_spent(
    beside: Target, project: Path
) -> None:
    customer = fresh("metered")
    found = run([program("node"), str(project / "metered.mjs"), customer], beside, project)
    assert found == {
        "first": 3,
        "guarded": "ran",
        "to_the_end": 2_000,
        "beyond": "BudgetExhaustedError",
        "blocked": "BudgetExhaustedError",
    }
