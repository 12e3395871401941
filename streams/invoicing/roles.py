"""What each of Tollgate's own processes may do in ClickHouse, and no more.

Owns the list of roles and their rights, for a ClickHouse of the user's own; who only looks is in
`readers`. A test runs each process as a user that has these rights alone."""

from collections.abc import Mapping
from typing import Final

_LOOK: Final = (
    # Which tables, columns and engines there are; a server that asks for no such grant ignores it.
    "SELECT ON system.tables",
    "SELECT ON system.columns",
)

_MIGRATE: Final = (
    "CREATE DATABASE ON {database}.*",
    # A view is replaced; a table is not, and ALTER TABLE would include deleting rows.
    "CREATE TABLE, CREATE VIEW, DROP VIEW ON {database}.*",
    "ALTER COLUMN, ALTER INDEX, ALTER PROJECTION ON {database}.*",
    "ALTER SETTINGS, ALTER TTL, ALTER MODIFY COMMENT, ALTER VIEW ON {database}.*",
    "TABLE ENGINE ON MergeTree",
    # A view is made by who may read what it reads, and what was applied is recorded.
    "SELECT ON {database}.*",
    "INSERT ON {database}.migrations",
    *_LOOK,
)

ROLES: Final[Mapping[str, tuple[str, ...]]] = {
    "migrate": _MIGRATE,
    "rebuild": (*_MIGRATE, "DROP DATABASE, DROP TABLE ON {database}.*"),
    "sink": (
        # The mark of each table is read before and after every insert.
        "SELECT ON {database}.*",
        "INSERT ON {database}.ledger",
        "INSERT ON {database}.attributions",
        "INSERT ON {database}.dead_letters",
        "INSERT ON {database}.catalog_records",
        *_LOOK,
    ),
    "invoicing": (
        "SELECT ON {database}.*",
        "INSERT ON {database}.draft_lines",
        "INSERT ON {database}.draft_runs",
        *_LOOK,
    ),
    "gateway": ("SELECT ON {database}.*",),
}
"""Who does what: `migrate` is `tollgate migrate`, `rebuild` drops the database to have it filled
from the log again, `invoicing` every command that makes or reads invoices, statements, drafts and
audits, `gateway` what answers a customer's own usage."""


def rights(role: str, database: str) -> tuple[str, ...]:
    """The rights of a role, as GRANT takes them. `database` is an identifier. Raises KeyError."""
    return tuple(right.replace("{database}", database) for right in ROLES[role])


def statements(role: str, database: str) -> list[str]:
    """What an administrator runs to make the user `tollgate_<role>`.

    The password is left open, as `{password}`."""
    user = f"tollgate_{role}"
    make = (
        f"CREATE USER IF NOT EXISTS {user} IDENTIFIED WITH sha256_password BY '{{password}}' "
        f"DEFAULT DATABASE {database} SETTINGS async_insert = 0"
    )
    return [make, *(f"GRANT {right} TO {user}" for right in rights(role, database))]
