"""API keys on the real broker: made, seen by every gateway, rotated, revoked within 5 seconds."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.topics import CATALOG
from streams.adapters.catalog import append_catalog, read_catalog
from streams.adapters.clock import SystemClock
from streams.adapters.key_feed import KeyFeed
from streams.adapters.key_uses import read_key_uses
from streams.app import keys as app_keys
from streams.app.installation import create_topics
from streams.app.keys import (
    KeyWish,
    create_key,
    ending,
    keep_uses,
    key_ring,
    list_keys,
    revision,
    revoke_keys,
    rotate_key,
)
from streams.cli import main
from streams.embedded.endpoints import Endpoints
from streams.gateway.keys import BEHIND_SECONDS_MAX, KeyRing
from streams.gateway.ports import AuthError, Scope
from streams.gateway.rates import Rates
from streams.settings import Settings

PROMISED_SECONDS = 5.0
"""Within which a revocation counts everywhere (issue 6, point 7)."""

WISH = KeyWish(label="a test", scopes=["preflight", "read"])


class MovedClock(SystemClock):
    """The system's clock, moved by a test."""

    ahead_seconds = 0

    def now_us(self) -> int:
        return super().now_us() + self.ahead_seconds * 1_000_000


@pytest.fixture
def settings(endpoints: Endpoints, topic_prefix: str, tmp_path: Path) -> Settings:
    made = Settings(
        home=tmp_path,
        kafka_bootstrap=endpoints.kafka_bootstrap,
        topic_prefix=topic_prefix,
        app_id=topic_prefix.rstrip("."),
        partitions=2,
    )
    asyncio.run(create_topics(made))
    return made


@asynccontextmanager
async def following(settings: Settings, clock: SystemClock | None = None) -> AsyncIterator[KeyFeed]:
    """The catalog as a gateway follows it."""
    assert settings.kafka_bootstrap
    feed = KeyFeed(settings.kafka_bootstrap, settings.topic_prefix, clock or SystemClock())
    await feed.start()
    try:
        yield feed
    finally:
        await feed.stop()


async def until(true: Callable[[], bool]) -> float:
    """Waits until something holds and returns how long that took; fails after the promised time."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < PROMISED_SECONDS, "not within the promised time"
        await asyncio.sleep(0.005)
    return time.monotonic() - began


def code(ring: KeyRing, presented: str) -> str:
    """How a check for reading ends: `accepted`, or the code of its refusal."""
    try:
        ring.check(presented, Scope.READ, None)
    except AuthError as refused:
        return refused.code
    return "accepted"


async def test_a_key_is_accepted_and_after_its_revocation_refused_by_every_gateway_within_5_seconds(
    settings: Settings,
) -> None:
    async with following(settings) as one, following(settings) as two:
        rings = [key_ring(feed, open_until_first_key=False) for feed in (one, two)]
        made = await create_key(settings, WISH)
        await until(lambda: all(code(ring, made.text) == "accepted" for ring in rings))
        began = time.monotonic()
        (done,) = await revoke_keys(settings, [made.record.id])
        assert done.outcome == "done"
        await until(lambda: all(code(ring, made.text) == "key_revoked" for ring in rings))
        assert time.monotonic() - began < PROMISED_SECONDS
    async with following(settings) as late:
        assert code(key_ring(late, open_until_first_key=False), made.text) == "key_revoked"


async def test_a_local_gateway_closes_when_the_first_key_is_made(settings: Settings) -> None:
    async with following(settings) as feed:
        ring = key_ring(feed, open_until_first_key=True)
        assert code(ring, "agb_anything") == "accepted"
        await create_key(settings, WISH)
        await until(lambda: code(ring, "agb_anything") == "unauthorized")


async def test_a_rotation_leaves_no_moment_without_a_good_key(settings: Settings) -> None:
    clock = MovedClock()
    async with following(settings, clock) as feed:
        ring = KeyRing(feed, clock, Rates(time.monotonic))
        first = await create_key(settings, WISH)
        await until(lambda: code(ring, first.text) == "accepted")
        second, old = await rotate_key(settings, first.record.id, 3600)
        assert second.record.replaces == first.record.id == old.id
        assert second.record.scopes == first.record.scopes

        def handed_over() -> bool:
            assert code(ring, first.text) == "accepted"
            return code(ring, second.text) == "accepted"

        await until(handed_over)
        await until(lambda: feed.keys[old.id].expires_at == old.expires_at)
        assert code(ring, first.text) == "accepted"
        clock.ahead_seconds = 3601
        # The broker's answers are dated by the real clock: only the end of the old key is asked.
        feed.seconds_behind = lambda: 0.0  # type: ignore[method-assign]  # the time is moved
        assert code(ring, first.text) == "key_expired"
        assert code(ring, second.text) == "accepted"


async def test_two_commands_at_one_moment_stop_nobody_and_the_revocation_stands(
    settings: Settings,
) -> None:
    async with following(settings) as feed:
        ring = key_ring(feed, open_until_first_key=False)
        made = await create_key(settings, WISH)
        await until(lambda: code(ring, made.text) == "accepted")
        bootstrap, prefix = settings.kafka_bootstrap or "", settings.topic_prefix
        seen = [await read_catalog(bootstrap, prefix) for _ in range(3)]
        now_us = made.record.created_at + 1
        for view, next_version in zip(
            seen,
            (
                revision(made.record, revoked_at=now_us),
                revision(made.record, revoked_at=now_us + 1),
                ending(made.record, now_us, 3600),
            ),
            strict=True,
        ):
            # Each command has read the catalog before any of them appended.
            await append_catalog(bootstrap, prefix, view, [next_version])
        await until(lambda: code(ring, made.text) == "key_revoked")
        last = await create_key(settings, WISH)
        await until(lambda: code(ring, last.text) == "accepted")
        assert code(ring, made.text) == "key_revoked"


async def test_an_idle_catalog_is_heard_from_again_and_again(settings: Settings) -> None:
    clock = MovedClock()
    frozen = clock.now_us() + 100_000_000
    async with following(settings, clock) as feed:
        assert feed.seconds_behind() < BEHIND_SECONDS_MAX
        clock.now_us = lambda: frozen  # type: ignore[method-assign]  # only the feed's date moves
        first = feed.seconds_behind()
        await until(lambda: feed.seconds_behind() < first - 1.0)


async def test_a_gateway_that_no_longer_follows_the_catalog_accepts_no_key(
    settings: Settings,
) -> None:
    clock = MovedClock()
    made = await create_key(settings, WISH)
    async with following(settings, clock) as feed:
        ring = KeyRing(feed, clock, Rates(time.monotonic))
        assert code(ring, made.text) == "accepted"
    assert code(ring, made.text) == "accepted"
    clock.ahead_seconds = int(PROMISED_SECONDS)
    assert code(ring, made.text) == "unavailable"


async def test_a_key_stands_in_no_log_and_not_in_the_catalog(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("", "aiokafka", "streams"):
        # Whatever the levels are that another test or the machine's settings have left.
        caplog.set_level(logging.DEBUG, logger=name)
    async with following(settings) as feed:
        ring = key_ring(feed, open_until_first_key=False)
        made = await create_key(settings, WISH)
        await until(lambda: code(ring, made.text) == "accepted")
        code(ring, made.text + "0")
        newer, _ = await rotate_key(settings, made.record.id, 60)
        await revoke_keys(settings, [newer.record.id])
        await until(lambda: code(ring, newer.text) == "key_revoked")
    stored = b"".join(await catalog_bytes(settings))
    assert made.record.id.encode() in stored
    assert caplog.records
    logged = caplog.text
    for text in (made.text, newer.text):
        secret = text.rpartition("_")[2]
        assert secret not in logged
        assert secret.encode() not in stored
        assert bytes.fromhex(secret) not in stored


async def catalog_bytes(settings: Settings) -> list[bytes]:
    """Keys and values of the catalog as they lie there."""
    tp = TopicPartition(CATALOG.full_name(settings.topic_prefix), 0)
    found: list[bytes] = []
    async with AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap, enable_auto_commit=False
    ) as consumer:
        consumer.assign([tp])
        await consumer.seek_to_beginning(tp)
        end = (await consumer.end_offsets([tp]))[tp]
        while await consumer.position(tp) < end:
            for record in (await consumer.getmany(tp, timeout_ms=100)).get(tp, []):
                found += [record.key, record.value]
    return found


async def test_the_last_use_is_written_when_the_gateway_stops_and_listed(
    settings: Settings,
) -> None:
    made = await create_key(settings, WISH)
    (line,) = await list_keys(settings)
    assert (line.state, line.used_at_us) == ("active", None)
    async with following(settings) as feed:
        ring = key_ring(feed, open_until_first_key=False)
        keeping = asyncio.create_task(keep_uses(ring, settings.home, "127.0.0.1:0"))
        await asyncio.sleep(0)
        assert code(ring, made.text) == "accepted"
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
    (line,) = await list_keys(settings)
    assert line.used_at_us == ring.used_at_us()[made.record.id]


async def test_last_uses_are_written_now_and_then(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_keys, "USES_WRITE_SECONDS", 0.01)
    made = await create_key(settings, WISH)
    async with following(settings) as feed:
        ring = key_ring(feed, open_until_first_key=False)
        keeping = asyncio.create_task(keep_uses(ring, settings.home, "one"))
        code(ring, made.text)
        directory = settings.home / app_keys.USES_DIRECTORY
        await until(lambda: made.record.id in read_key_uses(directory))
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


# --- the command --------------------------------------------------------------------------------


class Shell:
    """`tollgate keys …` in this process, with what it prints."""

    def __init__(self, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
        self._options = [
            f"--home={settings.home}",
            f"--kafka-bootstrap={settings.kafka_bootstrap}",
            f"--topic-prefix={settings.topic_prefix}",
        ]
        self._capsys = capsys

    def run(self, *arguments: str) -> tuple[int, str, str]:
        exit_code = main.run(["keys", arguments[0], *self._options, *arguments[1:]])
        printed = self._capsys.readouterr()
        return exit_code, printed.out, printed.err

    def json(self, *arguments: str) -> Any:
        exit_code, out, err = self.run(*arguments, "--json")
        assert exit_code == 0, err
        return json.loads(out)


@pytest.fixture
def shell(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Shell:
    monkeypatch.setitem(main.COMMANDS, "keys", ("streams.cli.keys:keys", "API keys."))
    return Shell(settings, capsys)


def test_a_key_goes_to_stdout_alone_and_is_shown_once(shell: Shell) -> None:
    exit_code, out, err = shell.run("create", "--label=agents", "--scope=preflight")
    assert exit_code == 0
    text = out.removesuffix("\n")
    key_id = text.split("_")[1]
    assert (len(text), text[:4]) == (69, "agb_")
    assert key_id in err
    assert text not in err
    for arguments in (["list"], ["list", "--all"], ["list", "--json"], ["revoke", key_id]):
        _, out, err = shell.run(*arguments)
        assert key_id in out
        assert text[-48:] not in out + err


def test_the_commands_tell_a_script_what_they_did(shell: Shell) -> None:
    made = shell.json(
        "create",
        "--label=agents",
        "--scope=read",
        "--scope=ingest",
        "--customer=acme",
        "--expires-in-days=2",
        "--requests-per-second=9",
    )
    assert made["scopes"] == ["ingest", "read"]
    assert (made["customers"], made["requests_per_second"]) == (["acme"], 9)
    newer = shell.json("rotate", made["id"])
    assert newer["key"] != made["key"]
    assert (newer["replaces"], newer["replaced"]["id"]) == (made["id"], made["id"])
    assert newer["replaced"]["expires_at"] < made["expires_at"] <= newer["expires_at"]
    assert {line["id"]: line["state"] for line in shell.json("list")} == {
        made["id"]: "active",
        newer["id"]: "active",
    }
    assert shell.json("revoke", made["id"]) == [{"id": made["id"], "outcome": "done"}]
    assert shell.json("revoke", made["id"]) == [{"id": made["id"], "outcome": "already"}]
    assert [line["id"] for line in shell.json("list")] == [newer["id"]]
    lines = shell.json("list", "--all")
    assert [line["state"] for line in lines] == ["revoked", "active"]
    assert all("digest" not in line and "key" not in line for line in lines)
    last = shell.json("rotate", newer["id"], "--overlap-hours=0")
    assert last["replaced"]["revoked_at"] is not None
    assert [line["id"] for line in shell.json("list")] == [last["id"]]


def test_exit_codes_tell_what_was_wrong(shell: Shell) -> None:
    made = shell.json("create", "--label=a", "--scope=read")
    unknown = "0" * 16
    exit_code, out, err = shell.run("revoke", unknown, made["id"])
    assert (exit_code, made["id"] in out, unknown in err) == (1, True, True)
    assert shell.run("rotate", unknown)[0] == 2
    assert shell.run("rotate", made["id"])[0] == 2  # revoked
    for wrong in (
        ["create", "--label=a"],
        ["create", "--label=a", "--scope=root"],
        ["create", "--label=", "--scope=read"],
        ["create", "--label=a", "--scope=read", "--expires-at=tomorrow"],
        ["create", "--label=a", "--scope=read", "--expires-at=2001-01-01T00:00:00Z"],
        ["create", "--label=a", "--scope=read", "--expires-in-days=0"],
        [
            "create",
            "--label=a",
            "--scope=read",
            "--expires-in-days=1",
            "--expires-at=2101-01-01T00:00:00Z",
        ],
    ):
        assert shell.run(*wrong)[:2] == (2, ""), wrong
    assert shell.json("list") == []


def test_a_key_given_for_its_id_is_not_repeated(shell: Shell) -> None:
    made = shell.json("create", "--label=a", "--scope=read")
    for command in ("revoke", "rotate"):
        exit_code, out, err = shell.run(command, made["key"])
        assert (exit_code, out) == (2, "")
        assert made["key"][-48:] not in err
    assert [line["state"] for line in shell.json("list")] == ["active"]
