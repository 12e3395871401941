"""The table of roles and topics: complete, and closed where it has to be."""

from pathlib import Path

import pytest

from schemas.topics import ASKS, SIGNALS, TOPICS, USAGE
from streams.adapters.acls import Acl
from streams.app.rights import (
    RIGHTS,
    ROLES,
    Role,
    acls,
    carry_acls,
    command_lines,
    topic_rights,
)
from streams.cli import main
from streams.settings import Settings
from tests.kafka_guide import head, rights_table

SETTINGS = Settings(home=Path("/nowhere"), topic_prefix="t.", app_id="app")


def writers(topic: str) -> set[str]:
    return {role for role in ROLES if "Write" in topic_rights(topic, role)}


def test_every_topic_has_a_row_and_every_role_a_column() -> None:
    assert set(RIGHTS) == {topic.name for topic in TOPICS}
    assert {len(row.split()) for row in RIGHTS.values()} == {len(ROLES)}


def test_the_guide_shows_the_table() -> None:
    assert rights_table() == RIGHTS
    assert head() == list(ROLES)


def test_what_only_a_worker_may_say_only_a_worker_and_a_restore_can_write() -> None:
    for topic in (
        "preflights",
        "owners",
        "transfers",
        "ledger",
        "attributions",
        "dead-letters",
        "accounts-changelog",
        "claims-changelog",
    ):
        assert writers(topic) == {"worker", "restore"}, topic


def test_a_producer_writes_facts_and_asks_and_nothing_else() -> None:
    written = {topic for topic in RIGHTS if "producer" in writers(topic)}
    assert written == {USAGE.name, SIGNALS.name, ASKS.name}


def test_only_administration_writes_the_catalog() -> None:
    assert writers("catalog") == {"operator", "restore"}


def test_who_works_on_the_log_sees_every_topic() -> None:
    for role in ("worker", "gateway", "sink", "operator"):
        assert all("Describe" in topic_rights(topic.name, role) for topic in TOPICS)


def test_only_a_worker_begins_transactions_and_a_restore() -> None:
    kinds = {role: {acl.kind for acl in acls(SETTINGS, role, "u")} for role in ROLES}
    assert {r for r, k in kinds.items() if "transactional-id" in k} == {"worker", "restore"}


@pytest.mark.parametrize(
    ("role", "group"), [("worker", "app"), ("gateway", "app-asks"), ("sink", "app-sink")]
)
def test_each_role_joins_its_own_group(role: Role, group: str) -> None:
    found = [acl for acl in acls(SETTINGS, role, "u") if acl.kind == "group"]
    assert [(acl.name, acl.operation, acl.prefixed) for acl in found] == [(group, "Read", False)]


def test_who_carries_over_reads_the_old_installation_and_writes_only_in_the_new_one() -> None:
    given = carry_acls(SETTINGS, "u", "old.", "old")
    of_old = {(acl.kind, acl.name): set[str]() for acl in given if acl.name.startswith("old")}
    for acl in given:
        if acl.name.startswith("old"):
            of_old[acl.kind, acl.name].add(acl.operation)
    assert of_old.pop(("group", "old")) == {"Describe"}
    assert of_old == {("topic", f"old.{topic.name}"): {"Read", "Describe"} for topic in TOPICS}
    assert [acl for acl in given if not acl.name.startswith("old")] == [
        Acl("User:u", "topic", "t.paid-catalogue", "Write")
    ]


@pytest.mark.parametrize(
    "words",
    [
        ("--from-prefix=old.", "--from-app-id=old"),
        ("--from-prefix=old.", "--role=operator"),
        ("--from-app-id=old", "--role=operator"),
        ("--from-prefix=old.", "--from-app-id=old", "--role=worker"),
        ("--from-prefix=old.", "--from-app-id=old", "--role=operator", "--role=worker"),
    ],
)
def test_rights_for_a_carry_over_are_those_of_an_operator_over_a_named_installation(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["topics", "acls", *words]) == 2
    assert "go with --role operator alone" in " ".join(capsys.readouterr().err.split())


def test_a_thing_that_gets_rights_for_two_reasons_is_one_line() -> None:
    given = acls(SETTINGS, "operator", "u") + carry_acls(SETTINGS, "u", "old.", "old")
    (line,) = [one for one in command_lines(given, "k:9092") if one.endswith(" t.paid-catalogue")]
    assert "--operation Read " in line
    assert "--operation Write " in line


def test_the_lines_are_what_kafka_acls_takes() -> None:
    lines = list(command_lines(acls(SETTINGS, "worker", "w"), "k:9092"))
    begin = "kafka-acls.sh --bootstrap-server k:9092 --command-config admin.properties --add "
    assert all(line.startswith(begin + "--allow-principal User:w ") for line in lines)
    told = [line.removeprefix(begin + "--allow-principal User:w ") for line in lines]
    assert "--operation Read --operation Write --operation Describe --topic t.ledger" in told
    assert "--operation Read --group app" in told
    assert (
        "--operation Write --operation Describe --transactional-id app- "
        "--resource-pattern-type prefixed" in told
    )
