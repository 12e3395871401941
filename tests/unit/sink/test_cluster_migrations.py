"""Migrations rendered for a cluster: which statement becomes which."""

import pytest

from streams.errors import SetupError
from streams.shipped import clickhouse_migrations
from streams.sink.cluster import SHARDED, drop_database, for_cluster
from streams.sink.migrations import read_migrations

TABLE = """CREATE TABLE IF NOT EXISTS {name}
(
    a UInt8 COMMENT 'it''s ENGINE = MergeTree'
)
ENGINE = MergeTree
ORDER BY a
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'What it''s for'"""


def rendered(*statements: str) -> list[str]:
    return list(for_cluster(statements, "prod", set()))


def test_a_table_of_what_is_billed_becomes_a_local_one_and_one_over_all_shards() -> None:
    local, over = rendered(TABLE.format(name="ledger"))
    assert local.startswith("CREATE TABLE IF NOT EXISTS ledger_local ON CLUSTER `prod`\n(")
    assert (
        "\nENGINE = ReplicatedMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')\n"
        "ORDER BY a\nSETTINGS replicated_deduplication_window = 10000\n"
    ) in local
    assert over == (
        "CREATE TABLE IF NOT EXISTS ledger ON CLUSTER `prod` AS ledger_local\n"
        "ENGINE = Distributed('prod', currentDatabase(), 'ledger_local', `partition`)\n"
        "COMMENT 'What it''s for'"
    )


def test_any_other_table_has_a_replica_on_every_server() -> None:
    [made] = rendered(TABLE.format(name="catalog_records"))
    assert made.startswith("CREATE TABLE IF NOT EXISTS catalog_records ON CLUSTER `prod`\n(")
    assert "ReplicatedMergeTree('/clickhouse/tables/{uuid}/all', '{shard}-{replica}')" in made


def test_a_column_is_added_to_both_tables_and_an_index_to_the_local_one() -> None:
    column = "ALTER TABLE ledger ADD COLUMN IF NOT EXISTS b UInt8 AFTER a"
    index = "ALTER TABLE ledger ADD INDEX IF NOT EXISTS i a TYPE minmax GRANULARITY 1"
    on = "ON CLUSTER `prod`"
    assert rendered(column, index) == [
        f"ALTER TABLE ledger_local {on} ADD COLUMN IF NOT EXISTS b UInt8 AFTER a",
        f"ALTER TABLE ledger {on} ADD COLUMN IF NOT EXISTS b UInt8 AFTER a",
        f"ALTER TABLE ledger_local {on} ADD INDEX IF NOT EXISTS i a TYPE minmax GRANULARITY 1",
    ]


def test_views_and_their_comments_are_on_every_server() -> None:
    made = rendered(
        "CREATE VIEW IF NOT EXISTS v AS SELECT 1",
        "CREATE OR REPLACE VIEW v AS SELECT 2",
        "ALTER TABLE v\n    COMMENT COLUMN x 'y'",
        "DROP VIEW IF EXISTS v",
    )
    assert made == [
        "CREATE VIEW IF NOT EXISTS v ON CLUSTER `prod` AS SELECT 1",
        "CREATE OR REPLACE VIEW v ON CLUSTER `prod` AS SELECT 2",
        "ALTER TABLE v ON CLUSTER `prod`\n    COMMENT COLUMN x 'y'",
        "DROP VIEW IF EXISTS v ON CLUSTER `prod`",
    ]


def test_every_statement_of_every_migration_has_a_form_for_a_cluster() -> None:
    views: set[str] = set()
    made = [
        statement
        for migration in read_migrations(clickhouse_migrations())
        for statement in for_cluster(migration.statements, "prod", views)
    ]
    assert len(made) > 100
    assert all(statement.count(" ON CLUSTER `prod`") == 1 for statement in made)
    assert not any("ENGINE = MergeTree\n" in statement for statement in made)
    assert views.isdisjoint(SHARDED)


def test_what_has_no_form_for_a_cluster_is_refused() -> None:
    for statement in (
        "OPTIMIZE TABLE ledger",
        "CREATE TABLE IF NOT EXISTS t\n(a Int8)\nENGINE = Log",
    ):
        with pytest.raises(SetupError):
            rendered(statement)


def test_dropping_the_database_waits_on_every_server() -> None:
    assert drop_database("tollgate", "prod") == (
        "DROP DATABASE IF EXISTS `tollgate` ON CLUSTER `prod` SYNC"
    )
    assert drop_database("tollgate", None) == "DROP DATABASE IF EXISTS `tollgate` SYNC"
