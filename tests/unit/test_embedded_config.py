"""What the embedded servers are told: the settings on which correctness or safety rests."""

import dataclasses
from pathlib import Path
from xml.etree import ElementTree

from streams.embedded.clickhouse import ClickHouseOptions, config_xml, users_xml
from streams.embedded.clickhouse_server import HOLDING_QUERY
from streams.embedded.home import Secrets
from streams.embedded.kafka import KafkaOptions, java_options, server_properties

KAFKA = KafkaOptions(folder=Path("kafka"), port=1111, controller_port=2222, cache_dir=Path("cache"))
CLICKHOUSE = ClickHouseOptions(folder=Path("a & b"), http_port=3333, tcp_port=4444)
SECRETS = Secrets("admin's password", "analyst's password")


def properties() -> dict[str, str]:
    lines = server_properties(KAFKA).splitlines()
    pairs = (line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return dict(pairs)


def user(name: str, *, with_analyst: bool = True) -> ElementTree.Element:
    found = ElementTree.fromstring(users_xml(SECRETS, with_analyst=with_analyst)).find(
        f"users/{name}"
    )
    assert found is not None
    return found


def test_the_broker_keeps_books_and_positions_and_creates_no_topic_by_itself() -> None:
    told = properties()
    assert told["log.retention.ms"] == told["log.retention.bytes"] == "-1"
    assert told["auto.create.topics.enable"] == "false"
    ten_years_minutes = 10 * 365 * 24 * 60
    assert int(told["offsets.retention.minutes"]) == ten_years_minutes


def test_an_abandoned_transaction_is_aborted_within_a_minute() -> None:
    told = properties()
    assert int(told["transaction.max.timeout.ms"]) <= 60_000
    assert told["transaction.abort.timed.out.transaction.cleanup.interval.ms"] == "1000"


def test_both_servers_listen_on_loopback_alone() -> None:
    told = properties()
    assert told["listeners"] == "PLAINTEXT://127.0.0.1:1111,CONTROLLER://127.0.0.1:2222"
    config = ElementTree.fromstring(config_xml(CLICKHOUSE))
    assert [element.text for element in config.findall("listen_host")] == ["127.0.0.1"]
    for name in ("default", "admin", "analyst"):
        assert [ip.text for ip in user(name).findall("networks/ip")] == ["::1", "127.0.0.1"]


def test_the_heap_is_the_one_that_was_chosen() -> None:
    assert "-Xmx768m" in java_options(768)


def test_clickhouse_forces_inserts_to_disk_unless_told_otherwise() -> None:
    config = ElementTree.fromstring(config_xml(CLICKHOUSE))
    assert config.findtext("merge_tree/fsync_after_insert") == "1"
    fast = dataclasses.replace(CLICKHOUSE, fsync=False)
    assert ElementTree.fromstring(config_xml(fast)).findtext("merge_tree/fsync_after_insert") == "0"


def test_no_password_is_written_in_the_clear() -> None:
    written = users_xml(SECRETS, with_analyst=True)
    assert "password</" not in written
    assert "s password" not in written


def test_the_user_without_a_password_can_only_hold_the_listeners() -> None:
    grants = {query.text for query in user("default").findall("grants/query")}
    assert grants == {"GRANT SYSTEM LISTEN ON *.*", "GRANT SELECT ON system.numbers"}
    assert user("default").findtext("profile") == "holding"
    assert "system.numbers" in HOLDING_QUERY


def test_the_analyst_is_granted_reading_and_nothing_else() -> None:
    grants = [query.text or "" for query in user("analyst").findall("grants/query")]
    assert "GRANT SELECT ON tollgate.*" in grants
    assert all(grant.split()[1] in {"SELECT", "SHOW", "dictGet"} for grant in grants)
    assert not any("*.*" in grant for grant in grants)


def test_without_confinement_there_is_no_analyst() -> None:
    users = ElementTree.fromstring(users_xml(SECRETS, with_analyst=False)).find("users")
    assert users is not None
    assert [element.tag for element in users] == ["default", "admin"]
