"""What a newer release has left behind is refused by this one, which says what to do."""

import asyncio
import json
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from schemas import codec
from schemas.topics import ACCOUNTS_CHANGELOG, CATALOG, USAGE
from streams.adapters.archive import FORMAT as ARCHIVE_FORMAT
from streams.adapters.archive import MANIFEST, Manifest, read_manifest, write_manifest
from streams.adapters.databases import FORMAT as STORE_FORMAT
from streams.adapters.databases import STAMP, Database
from streams.agents.wholeness import check_versions
from streams.app.restoring import restore
from streams.domain.appends import decode_progress, encode_progress
from streams.domain.context import RULES_VERSION
from streams.domain.decoding import RESERVED_KEY
from streams.domain.state import ROWS_VERSION, Progress
from streams.embedded.endpoints import Endpoints
from streams.errors import FaultError, SetupError
from streams.settings import Settings
from streams.shipped import clickhouse_migrations
from streams.sink.migrations import read_migrations, refuse_newer
from tests.builders import json_of
from tests.installation import WAIT_SECONDS, Installation
from tests.sinks import migrated_database


def test_a_partition_that_newer_rules_decided_or_newer_rows_describe_is_not_taken() -> None:
    check_versions(0, Progress())
    with pytest.raises(FaultError, match="decided by version 5 of the rules, this release has"):
        check_versions(0, Progress(rules_version=RULES_VERSION + 1))
    with pytest.raises(FaultError, match="written as version 2 of the rows") as raised:
        check_versions(0, Progress(rows_version=ROWS_VERSION + 1))
    assert "run that one, or a newer one" in raised.value.action


def test_what_this_release_decides_is_written_as_before() -> None:
    # Newer versions are written; this one is the default, so that older logs are what they were.
    assert b"version" not in encode_progress(Progress(cycle=3))
    newer = Progress(rules_version=RULES_VERSION + 1)
    assert decode_progress(encode_progress(newer)).rules_version == RULES_VERSION + 1


def test_a_worker_stops_at_a_changelog_and_a_catalog_of_a_newer_release(
    endpoints: Endpoints, topic_prefix: str, tmp_path: Path
) -> None:
    with Installation.create(endpoints, topic_prefix, tmp_path / "home") as installation:
        installation.produce(USAGE.name, [json_of("acme", "e1", {"units": 1})], key="acme")
        worker = installation.start_worker()
        installation.wait_consumed()
        installation.stop(worker)
        records = installation.read(ACCOUNTS_CHANGELOG.name)
        partition = next(p for p, part in enumerate(records) if part)
        progress = decode_progress(records[partition][-1].value)
        progress.rules_version = RULES_VERSION + 1
        asyncio.run(append(installation, partition, encode_progress(progress)))
        newer = installation.start_worker()
        assert newer.wait(WAIT_SECONDS) == 70
        assert "was last decided by version 5 of the rules" in installation.log_text()

        future = {"kind": "hologram", "id": "x", "version": "1", "schema_version": 1}
        installation.produce(CATALOG.name, [codec.encode(future)], key="hologram/x/1", partition=0)
        installation.start_worker().wait(WAIT_SECONDS)
        assert "If a newer release of Tollgate wrote it" in installation.log_text()


async def append(installation: Installation, partition: int, value: bytes) -> None:
    """Into the accounts' changelog, as a cycle's last record."""
    topic = ACCOUNTS_CHANGELOG.full_name(installation.settings.topic_prefix)
    bootstrap = installation.settings.kafka_bootstrap
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        await producer.send_and_wait(topic, value, key=RESERVED_KEY, partition=partition)


def test_a_newer_store_is_not_opened_and_stays_where_it_is(tmp_path: Path) -> None:
    store = Database(tmp_path / "accounts-0.db", expires=False)
    store.open(b"any").close()
    stamp = store.path / STAMP
    stamp.write_text(json.dumps({"format": STORE_FORMAT + 1, "changelog": None}))
    with pytest.raises(SetupError, match="this release knows up to") as raised:
        store.open(b"any")
    assert "empty TOLLGATE_STATE_DIR" in raised.value.action
    assert stamp.exists(), "a newer release can go on with it"


def test_a_newer_archive_is_neither_read_nor_restored(tmp_path: Path) -> None:
    write_manifest(tmp_path, Manifest("t.", 2, 1, {}, taken_at="2026-01-01T00:00:00Z"))
    manifest = read_manifest(tmp_path)
    manifest.rules_version = RULES_VERSION + 1
    write_manifest(tmp_path, manifest)
    settings = Settings(home=tmp_path, partitions=2)
    with pytest.raises(SetupError, match="written with version 5 of the rules"):
        restore(settings, tmp_path, "", lambda _done, _total: None)
    plain = json.loads((tmp_path / MANIFEST).read_bytes())
    (tmp_path / MANIFEST).write_text(json.dumps(plain | {"format": ARCHIVE_FORMAT + 1}))
    with pytest.raises(SetupError, match="has format 2, this release knows format 1") as raised:
        read_manifest(tmp_path)
    assert "the release of Tollgate that wrote it, or a later one" in raised.value.action


def test_a_sink_refuses_a_database_that_a_newer_release_has_migrated(
    endpoints: Endpoints, unique_name: str
) -> None:
    known = read_migrations(clickhouse_migrations())
    with migrated_database(endpoints, unique_name) as clickhouse:
        refuse_newer(clickhouse, known)
        row = {"number": len(known) + 1, "name": "later", "sha256": "0" * 64}
        clickhouse.record("migrations", row, token="later")
        with pytest.raises(SetupError, match="_later, which this release does not know"):
            refuse_newer(clickhouse, known)
