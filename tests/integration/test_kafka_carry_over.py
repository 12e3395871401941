"""Another installation is taken over on a broker that asks who its clients are: what an operator
needs for it, and what it is told where that is missing."""

import asyncio
import contextlib
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.topics import PAID_CATALOGUE, TOPICS
from streams.adapters.compacted import append_latest
from streams.adapters.positions import InboundPositions
from streams.app.addresses import kafka_bootstrap
from streams.app.administration import tell
from streams.app.installation import create_topics, import_prices
from streams.app.rights import acls, carry_acls, give
from streams.settings import Settings
from tests.embedded_waiting import until_async
from tests.secured import ADMINISTRATOR
from tests.secured_roles import WAIT_SECONDS, Command, Roles, command_in, refused, secured_roles


@pytest.fixture
def roles(stack: Any, tmp_path: Path) -> Iterator[Roles]:
    with secured_roles(stack.endpoints(), tmp_path) as made:
        yield made


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return command_in(monkeypatch, capsys)


@contextlib.contextmanager
def worker_of(roles: Roles, settings: Settings) -> Iterator[None]:
    """A worker with every right, which is asked to stop at the end."""
    process = roles.spawn("worker", settings)
    try:
        yield
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_SECONDS) == 0, roles.logs()[-3000:]
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


async def all_decided(settings: Settings) -> None:
    """Returns when the workers have committed everything that was told to them."""
    bootstrap, prefix = kafka_bootstrap(settings), settings.topic_prefix
    async with InboundPositions(
        bootstrap, prefix, settings.app_id, settings.partitions
    ) as positions:
        ends = {at: end for at, end in (await positions.end_offsets()).items() if end}
        assert ends
        at: dict[tuple[str, int], int] = {}

        async def decided() -> bool:
            at.update(await positions.committed())
            return all(at.get(place, 0) >= end for place, end in ends.items())

        await until_async(decided, lambda: f"committed {ends}, but {at}", WAIT_SECONDS, 0.1)


@pytest.mark.timeout(600)
def test_an_operator_is_told_which_rights_a_carry_over_needs_and_with_them_it_works(
    roles: Roles, run: Command
) -> None:
    prefixes = {"old": "old.", "new": "new."}
    all_of = {
        name: roles.of(
            ADMINISTRATOR, topic_prefix=prefix, app_id=name, state_dir=roles.settings.home / name
        )
        for name, prefix in prefixes.items()
    }
    old, new = all_of["old"], roles.of("operator", topic_prefix="new.", app_id="new")
    asyncio.run(create_topics(old))
    asyncio.run(import_prices(old))
    item = {b"customer/1": b'{"kind":"customer"}'}
    asyncio.run(append_latest(kafka_bootstrap(old), "old.", PAID_CATALOGUE, item))
    asyncio.run(tell(old, "grant", "acme", {"denomination": "usd", "amount": "3"}))
    with worker_of(roles, old):
        asyncio.run(all_decided(old))
    operator = acls(new, "operator", "tollgate-operator")
    asyncio.run(give(all_of["new"], operator))
    asyncio.run(create_topics(new))
    named = ("--from-prefix", "old.", "--from-app-id", "old")
    carry = ("topics", "carry-over", *named, "--json")
    rights = ("topics", "acls", "--role", "operator", *named)

    def refused_for(lacking: str) -> None:
        code, out, error = run(new, *carry)
        told = " ".join(error.split())
        assert (code, out) == (2, ""), out + error
        assert lacking in told
        assert " ".join(("tollgate topics acls --role operator --user USER", *named)) in told

    needed = carry_acls(new, "tollgate-operator", "old.", "old")
    refused_for("no topic old.catalog, or this user of Kafka may not see it")
    seen = tuple(acl for acl in needed if acl.kind == "topic" and acl.operation == "Describe")
    asyncio.run(give(all_of["new"], seen))
    refused_for("catalog cannot be read")
    reads = tuple(acl for acl in needed if acl.kind == "topic" and acl.operation == "Read")
    asyncio.run(give(all_of["new"], reads))
    refused_for("GroupAuthorizationFailedError")
    asyncio.run(give(all_of["new"], tuple(acl for acl in needed if acl.kind == "group")))
    refused_for("did not acknowledge every record: TopicAuthorizationFailedError")

    assert run(all_of["new"], *rights, "--apply")[0] == 0
    code, out, error = run(new, *carry)
    assert (code, json.loads(out)["state"]) == (0, "written"), error
    with worker_of(roles, all_of["new"]):
        asyncio.run(all_decided(all_of["new"]))
        code, out, error = run(new, *carry)
        assert (code, json.loads(out)["state"]) == (0, "complete"), out + error
    forbidden = [topic.full_name("old.") for topic in TOPICS]
    access = roles.broker.access("tollgate-operator")
    assert asyncio.run(refused(access, forbidden)) == set(forbidden)
