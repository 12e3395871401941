"""What the clients were recorded to send is accepted, and answered with every field that the
recorded answers had.

A recording is a line: the request, the status and the field names of the answer that a stand-in
gave, and the reservation that it named, which later requests refer to.
"""

import json
from pathlib import Path
from typing import Any, Final

import requests

from tests.clients.whole import Target

RECORDING: Final = Path(__file__).parent / "recordings" / "agentbill.jsonl"

NOT_READ: Final = frozenset({"created_at", "updated_at", "monthly_calls", "free_tier_limit"})
"""Fields of the stand-in's answers that no client reads, and that Tollgate does not keep."""

OUR_KEY: Final = "ik"
"""Stands in the recordings for a key that counts, as does none."""

OTHERWISE: Final[dict[tuple[str, str | None], int]] = {
    ("/preflight", "preflight_in_progress"): 200,  # the stand-in pretended to be deciding
    ("/events", "budget_exhausted"): 200,  # recorded first: 402 is for the event after it
    ("/events", "research_run_ac0c6b641fdb2b9ae55b94c031"): 402,  # which is this one
}
"""What Tollgate answers otherwise than the stand-in did, by error or idempotency key."""


def expected_status(line: dict[str, Any]) -> int:
    body = line["body"] or {}
    names = (line.get("error"), body.get("idempotency_key"))
    for name in names:
        if (line["path"], name) in OTHERWISE:
            return OTHERWISE[line["path"], name]
    return int(line["status"])


def replay(target: Target, line: dict[str, Any], reservations: dict[str, str]) -> Any:
    """Sends a recorded request, with our reservations in place of the recorded ones."""
    body = line["body"]
    if body is not None and body.get("reservation_id") in reservations:
        body = body | {"reservation_id": reservations[body["reservation_id"]]}
    recorded = line.get("headers") or {"Authorization": f"Bearer {line.get('key', OUR_KEY)}"}
    headers = {name: value.replace(OUR_KEY, target.key) for name, value in recorded.items()}
    answer = requests.request(
        line["method"], target.url + line["path"], json=body, headers=headers, timeout=5
    )
    assert answer.status_code == expected_status(line), (line, answer.text)
    told = answer.json()
    if "gives" in line and told.get("reservation_id"):
        reservations[line["gives"]] = told["reservation_id"]
    return told


def test_every_recorded_request_is_answered_with_every_recorded_field(target: Target) -> None:
    lines = [json.loads(line) for line in RECORDING.read_text(encoding="utf-8").splitlines()]
    assert len(lines) > 50
    compared = 0
    limited = requests.put(
        f"{target.url}/v1/customers/tiny/limits",
        json={"denomination": "unit", "amount": "10"},
        headers={"Authorization": f"Bearer {target.key}"},
        timeout=5,
    )
    assert limited.status_code == 200, limited.text
    reservations: dict[str, str] = {}
    for line in lines:
        told = replay(target, line, reservations)
        if told.get("error") == line.get("error") and told.get("reason") == line.get("reason"):
            missing = set(line["fields"]) - told.keys() - NOT_READ
            assert not missing, (line, told)
            compared += 1
    assert compared >= len(lines) - 6
