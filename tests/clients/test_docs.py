"""The examples of the guides to the clients' protocols run as they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.node import node_project, program
from tests.clients.sdk import AgentBillClient
from tests.clients.whole import Target, job_when

ROOT = Path(__file__).parents[2]
SECONDS_MAX = 60


def blocks(name: str, language: str) -> list[str]:
    text = (ROOT / "docs" / name).read_text("utf-8")
    found = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert found, f"{name} has no block of {language}"
    return found


def run(command: list[str], target: Target, folder: Path) -> str:
    environment = os.environ | {
        "AGENTBILL_API_KEY": target.key,
        "AGENTBILL_BASE_URL": target.url,
        "OPENAI_API_KEY": "x",
        "TOLLGATE_URL": target.url,
        "TOLLGATE_KEY": target.key,
        "KEY": target.key,
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS_MAX
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_python_example_holds_and_settles(target: Target, tmp_path: Path) -> None:
    [first] = blocks("agentbill.md", "python")
    [second] = blocks("agentbill.md", "python continued")
    assert "held 12 of" in run([sys.executable, "-c", first + second], target, tmp_path)
    client = AgentBillClient(target.key, base_url=target.url)
    job_when(client, "job-1", used_units=8, reserved_units=0)


def test_the_node_example_is_metered(target: Target, tmp_path: Path) -> None:
    [example] = blocks("agentbill.md", "javascript")
    project = node_project(tmp_path)
    (project / "example.mjs").write_text(example, encoding="utf-8")
    assert run([program("node"), "example.mjs"], target, project).strip() == "4"


def test_an_outcome_of_both_of_paid_s_clients_is_counted_once(
    target: Target, tmp_path: Path, paid_project: Path
) -> None:
    [python] = blocks("paid.md", "python")
    [traced] = blocks("paid.md", "python continued")
    [javascript] = blocks("paid.md", "javascript")
    told = run([sys.executable, "-c", python + traced], target, tmp_path)
    assert told.split() == ["1", "0", "0", "True"]
    (paid_project / "example.mjs").write_text(javascript, encoding="utf-8")
    # The same outcome under the same key.
    assert "duplicates: 1" in run([program("node"), "example.mjs"], target, paid_project)


@pytest.mark.parametrize(
    ("document", "answer"),
    [
        ("agentbill.md", '"approved":true'),
        ("charge-tokens.md", '{"success":true}'),
        ("autohive.md", '"rounded":true'),
    ],
)
def test_the_curl_example_is_answered(
    target: Target, tmp_path: Path, document: str, answer: str
) -> None:
    [example] = blocks(document, "sh")
    assert answer in run(["sh", "-c", example], target, tmp_path)
