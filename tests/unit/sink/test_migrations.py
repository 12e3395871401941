"""Migrations as files and as a comparison; that they work is
tests/integration/test_clickhouse_migrations.py."""

from pathlib import Path

import pytest

from streams.errors import SetupError
from streams.shipped import clickhouse_migrations
from streams.sink.migrations import (
    Applied,
    Migration,
    missing,
    read_migrations,
    split_statements,
)

KNOWN = [Migration(1, "one", ("s",), "a" * 64), Migration(2, "two", ("s",), "b" * 64)]


def applied(*migrations: Migration) -> list[Applied]:
    return [Applied(m.number, m.name, m.sha256) for m in migrations]


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.sql").write_text(text)
    return folder


def test_a_new_database_lacks_everything_in_order() -> None:
    assert missing(reversed(KNOWN), []) == KNOWN


def test_what_is_applied_is_not_applied_again() -> None:
    assert missing(KNOWN, applied(KNOWN[0])) == [KNOWN[1]]
    assert missing(KNOWN, applied(*KNOWN)) == []


def test_a_database_of_a_newer_release_is_refused() -> None:
    newer = Migration(3, "three", ("s",), "c" * 64)
    with pytest.raises(SetupError, match="0003_three, which this release does not know"):
        missing(KNOWN, applied(*KNOWN, newer))


@pytest.mark.parametrize(
    "altered", [Applied(1, "one", "f" * 64), Applied(1, "uno", "a" * 64)], ids=["content", "name"]
)
def test_a_migration_that_was_altered_after_it_was_applied_is_refused(altered: Applied) -> None:
    with pytest.raises(SetupError, match="0001_") as caught:
        missing(KNOWN, [altered])
    assert "put the change into a new migration" in caught.value.action


def test_a_record_with_a_hole_is_refused() -> None:
    with pytest.raises(SetupError, match=r"\[2\]"):
        missing(KNOWN, applied(KNOWN[1]))


def test_a_statement_ends_at_a_semicolon_at_the_end_of_a_line() -> None:
    text = "-- a; comment;\nCREATE a\nCOMMENT 'x; y';\n\n  -- another\nCREATE b;  \n"
    assert split_statements(text) == ["CREATE a\nCOMMENT 'x; y'", "CREATE b"]


def test_the_shipped_migrations_are_numbered_from_one_and_can_be_repeated() -> None:
    found = read_migrations(clickhouse_migrations())
    assert [migration.number for migration in found] == list(range(1, len(found) + 1))
    assert all(migration.statements for migration in found)


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        ({}, "numbered"),
        ({"0002_late": "CREATE TABLE IF NOT EXISTS a (x UInt8)"}, r"numbered \[2\]"),
        ({"first": "CREATE TABLE IF NOT EXISTS a (x UInt8)"}, "not named"),
        ({"0001_a": "CREATE TABLE a (x UInt8)"}, "cannot be repeated"),
        ({"0001_a": "INSERT INTO a VALUES (1)"}, "cannot be repeated"),
    ],
)
def test_a_folder_that_could_do_harm_is_refused(
    tmp_path: Path, files: dict[str, str], fault: str
) -> None:
    with pytest.raises(SetupError, match=fault):
        read_migrations(write(tmp_path, **files))
