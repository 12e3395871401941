"""`tollgate grants` and `tollgate limits` on the real broker: what they append, and exit codes."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from schemas import codec
from schemas.partitioner import partition_of
from schemas.structs import Grant, Limit
from schemas.topics import BUDGETS
from streams.app.administration import tell
from streams.embedded.endpoints import Endpoints
from streams.errors import TransientError
from tests.installation import Installation
from tests.whole import Command, command_of


@pytest.fixture
def installation(endpoints: Endpoints, topic_prefix: str, tmp_path: Path) -> Installation:
    return Installation.create(endpoints, topic_prefix, tmp_path)


@pytest.fixture
def tollgate(
    installation: Installation,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Command:
    return command_of(installation, monkeypatch, capsys)


def budgets(installation: Installation) -> list[tuple[int, bytes, Any]]:
    """Partition, key and body of each record of `budgets`."""
    return [
        (partition, record.key, codec.decode_budget(record.value))
        for partition, records in enumerate(installation.read(BUDGETS.name))
        for record in records
    ]


def test_the_commands_append_what_they_were_told_where_the_customer_lives(
    installation: Installation, tollgate: Command
) -> None:
    code, out, err = tollgate(
        *("grants", "add", "acme", "--amount=12.50", "--denomination=usd", "--priority=3"),
        *("--reason=a gift", "--resets=month", "--rollover-max=1", "--id=g-1", "--json"),
    )
    assert (code, err) == (0, "")
    assert json.loads(out) == {"event_id": "g-1", "customer_id": "acme"}
    bound = ("acme", "--denomination=token", "--agent=a1")
    assert tollgate("limits", "set", *bound, "--amount=500", "--resets=day")[0] == 0
    assert tollgate("limits", "lift", *bound)[0] == 0
    found = budgets(installation)
    assert {(at, key) for at, key, _ in found} == {(partition_of(b"acme", 2), b"acme")}
    grant, limit, lifted = (body for _, _, body in found)
    assert isinstance(grant, Grant)
    assert (grant.event_id, grant.amount, grant.priority) == ("g-1", "12.50", 3)
    assert (grant.reason, grant.resets, grant.rollover_max) == ("a gift", "month", "1")
    assert isinstance(limit, Limit)
    assert isinstance(lifted, Limit)
    assert (limit.agent_id, limit.denomination, limit.amount) == ("a1", "token", "500")
    assert (limit.resets, lifted.agent_id, lifted.amount) == ("day", "a1", None)
    assert len({grant.event_id, limit.event_id, lifted.event_id}) == 3


def test_what_no_worker_would_accept_is_not_appended(
    installation: Installation, tollgate: Command
) -> None:
    for wrong in (
        ("grants", "add", "acme", "--amount=much", "--denomination=usd"),
        ("grants", "add", "acme", "--amount=1.5", "--denomination=unit"),
        ("grants", "add", "", "--amount=1", "--denomination=unit"),
        ("grants", "add", "acme", "--amount=1", "--denomination=euro"),
        ("grants", "add", "acme", "--amount=1", "--denomination=usd", "--expires-at=soon"),
        ("limits", "set", "acme", "--amount=-1", "--denomination=usd"),
        ("limits", "set", "acme", "--denomination=usd"),
    ):
        code, out, err = tollgate(*wrong)
        assert (code, out) == (2, ""), wrong
        assert err
    assert budgets(installation) == []


def test_a_grant_that_was_not_acknowledged_says_under_which_id_to_repeat_it(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*_: object) -> None:
        raise TransientError("no acknowledgement", action="Again.")

    # The outcome is unknown to the caller only in the moment in which a broker dies.
    monkeypatch.setattr("streams.app.administration.append_facts", lost)
    told = tell(installation.settings, "grant", "acme", {"denomination": "unit", "amount": "1"})
    with pytest.raises(TransientError) as failed:
        asyncio.run(told)
    assert "--id grant-" in failed.value.action
