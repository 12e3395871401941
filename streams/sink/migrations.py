"""Numbered, forward-only migrations: what the database lacks is applied, what it has is compared.

    deploy/clickhouse/NNNN_name.sql ─▶ read ─▶ compare with table `migrations` ─▶ apply ─▶ record

Safe when run twice at once and when killed midway: every statement may be repeated (IF NOT
EXISTS), a migration is recorded once all of its statements are done, and recorded once."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streams.errors import FaultError, SetupError
from streams.ports import SchemaTarget, Warehouse
from streams.sink.cluster import for_cluster

TABLE: Final = "migrations"

CREATE_TABLE: Final = f"""\
CREATE TABLE IF NOT EXISTS {TABLE}
(
    number UInt32 COMMENT 'Place in the order, from 1',
    name String COMMENT 'File name without number and suffix',
    sha256 FixedString(64) COMMENT 'Hex digest of the file as it was applied',
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When it was recorded'
)
ENGINE = MergeTree
ORDER BY number
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Which migrations of deploy/clickhouse this database has'"""
"""The one table that no migration creates. Its window lets two runs at once record a migration
once."""

_FILE_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_IDEMPOTENT = re.compile(
    r"(CREATE (TABLE|VIEW) IF NOT EXISTS|CREATE OR REPLACE VIEW|DROP (TABLE|VIEW) IF EXISTS"
    r"|ALTER TABLE \w+\s+(ADD (COLUMN|INDEX|PROJECTION) IF NOT EXISTS|MODIFY|COMMENT COLUMN"
    r"|MATERIALIZE (COLUMN|(INDEX|PROJECTION) IF EXISTS)))\b"
)


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its number, name, statements and digest."""

    number: int
    name: str
    statements: tuple[str, ...]
    sha256: str

    def __str__(self) -> str:
        return f"{self.number:04d}_{self.name}"


def read_migrations(folder: Path) -> list[Migration]:
    """All migrations of a folder in their order.

    Raises SetupError where names or numbers are wrong, or a statement could not be repeated.
    """
    migrations = []
    for path in sorted(folder.glob("*.sql")):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None:
            raise _bad_file(path, "is not named NNNN_name.sql")
        content = path.read_bytes()
        statements = tuple(split_statements(content.decode()))
        for statement in statements:
            if not _IDEMPOTENT.match(statement):
                raise _bad_file(
                    path, f"has a statement that cannot be repeated: {statement[:60]!r}"
                )
        digest = hashlib.sha256(content).hexdigest()
        migrations.append(Migration(int(match[1]), match[2], statements, digest))
    numbers = [migration.number for migration in migrations]
    if not numbers or numbers != list(range(1, len(numbers) + 1)):
        raise SetupError(
            f"the migrations in {folder} are numbered {numbers}, not 1, 2, 3 …",
            action="Restore the folder from the release that you run.",
        )
    return migrations


def _bad_file(path: Path, fault: str) -> SetupError:
    return SetupError(
        f"the migration {path} {fault}",
        action="Restore the folder from the release that you run; in a new migration, make every "
        "statement one that may run twice.",
    )


def split_statements(text: str) -> list[str]:
    """The statements of a file. A statement ends with a semicolon at the end of a line; a line
    that begins with `--` is a comment."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("--")]
    statements = re.split(r";[ \t]*(?:\n|$)", "\n".join(lines))
    return [statement.strip() for statement in statements if statement.strip()]


@dataclass(frozen=True, slots=True)
class Applied:
    """A migration that the database says it has."""

    number: int
    name: str
    sha256: str


def missing(known: Iterable[Migration], applied: Iterable[Applied]) -> list[Migration]:
    """The migrations that the database lacks, in their order.

    Raises SetupError where it has one that this release does not know, or knows with another
    content, or lacks one before one that it has."""
    by_number = {migration.number: migration for migration in known}
    done: set[int] = set()
    for row in sorted(applied, key=lambda item: item.number):
        migration = by_number.get(row.number)
        if migration is None:
            raise SetupError(
                f"the database has migration {row.number:04d}_{row.name}, which this release does "
                "not know",
                action="A newer release of Tollgate has migrated it: run that one, or a newer one.",
            )
        if (migration.name, migration.sha256) != (row.name, row.sha256):
            raise SetupError(
                f"the database has {row.number:04d}_{row.name} with digest {row.sha256[:12]}, this "
                f"release has {migration} with {migration.sha256[:12]}",
                action="An applied migration is never changed. Restore the file from the release "
                "that applied it, and put the change into a new migration.",
            )
        done.add(row.number)
    if done and max(done) != len(done):
        raise SetupError(
            f"the database has migrations {sorted(done)}, which is not 1, 2, 3 …",
            action="Somebody deleted rows of the table `migrations`. Put them back from a backup.",
        )
    return [migration for number, migration in sorted(by_number.items()) if number not in done]


def migrate(
    target: SchemaTarget, known: list[Migration], cluster: str | None = None
) -> list[Migration]:
    """Applies what the database lacks and returns it; with a `cluster`, on all of its servers.

    Raises SetupError as `missing` does, or where the tables were made for another layout, and
    FaultError where the record of what was applied is not to be trusted."""
    for statement in statements_of([CREATE_TABLE], cluster, set()):
        target.execute(statement)
    _check_layout(target, cluster)
    lacking = missing(known, read_applied(target))
    views: set[str] = set()
    for migration in known:
        statements = statements_of(migration.statements, cluster, views)
        if migration not in lacking:
            continue
        for statement in statements:
            target.execute(statement)
        row = {"number": migration.number, "name": migration.name, "sha256": migration.sha256}
        target.record(TABLE, row, token=f"migration:{migration.number}")
    left = missing(known, read_applied(target))
    if left:
        raise FaultError(
            f"migration {left[0]} was applied, but the database does not say so",
            action=f"Look into the table `{TABLE}`: rows were deleted, its tokens were kept.",
        )
    return lacking


def statements_of(statements: Iterable[str], cluster: str | None, views: set[str]) -> Iterable[str]:
    """What is executed of a migration: its statements, or what they are on a cluster; `views` as in
    `for_cluster`."""
    return tuple(for_cluster(statements, cluster, views)) if cluster else tuple(statements)


def _check_layout(target: SchemaTarget, cluster: str | None) -> None:
    """Raises SetupError where the tables were made for one server and a cluster is asked for, or
    the other way round."""
    [[engine]] = target.query(
        f"SELECT engine FROM system.tables WHERE database = currentDatabase() AND name = '{TABLE}'"  # noqa: S608 - a constant
    ).rows
    if str(engine).startswith("Replicated") != bool(cluster):
        was = "a cluster" if str(engine).startswith("Replicated") else "one server"
        raise SetupError(
            f"the tables of this database were made for {was}",
            action="TOLLGATE_CLICKHOUSE_CLUSTER is for databases that are made with it. Give "
            "another TOLLGATE_CLICKHOUSE_DATABASE and let sinks fill it from the log "
            "(docs/scale.md).",
        )


def refuse_newer(target: Warehouse, known: list[Migration]) -> None:
    """Raises SetupError where a newer release has migrated the database: this one might not fill
    columns that it does not know. Tables that are missing are not its affair."""
    try:
        applied = read_applied(target)
    except SetupError:
        return  # no such table yet: whoever inserts will say so
    newer = [row for row in applied if row.number > len(known)]
    if newer:
        missing(known, newer)


def read_applied(target: Warehouse) -> list[Applied]:
    """What the database says it has."""
    answer = target.query(f"SELECT DISTINCT number, name, toString(sha256) FROM {TABLE}")  # noqa: S608 - a constant
    return [Applied(int(number), str(name), str(sha256)) for number, name, sha256 in answer.rows]
