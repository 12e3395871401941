"""The same migrations for a cluster of ClickHouse: statements of one server to statements of many.
Pure.

A migration that has landed is never changed, so what a cluster needs is made from it when it is
applied (decision 036):

    ledger, attributions, dead_letters   `<name>_local`, replicated within each shard, and `<name>`
                                         over all shards, sharded by the Kafka partition
    every other table                    one table with a replica on every server
    views                                on every server; they read the tables by the same names

What is billed together has one customer, a customer has one partition, and a partition has one
shard: joins by customer meet on one server, and an insert of the sink is one block on one shard.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from streams.errors import SetupError

SHARDED: Final = ("ledger", "attributions", "dead_letters")
"""Tables that grow with what is billed. Each has the columns generation, partition and sequence."""

SHARDING_KEY: Final = "`partition`"
"""Shards take partitions round-robin: a shard of n has every n-th one."""

LOCAL_SUFFIX: Final = "_local"

_NAME: Final = r"(?P<name>\w+)"
_CREATE_TABLE: Final = re.compile(rf"CREATE TABLE IF NOT EXISTS {_NAME}(?P<rest>\s.*)", re.DOTALL)
_CREATE_VIEW: Final = re.compile(
    rf"(?P<verb>CREATE VIEW IF NOT EXISTS|CREATE OR REPLACE VIEW) {_NAME}(?P<rest>\s.*)", re.DOTALL
)
_ALTER: Final = re.compile(rf"ALTER TABLE {_NAME}(?P<rest>\s.*)", re.DOTALL)
_DROP: Final = re.compile(
    rf"(?P<verb>DROP (?:TABLE|VIEW) IF EXISTS) {_NAME}(?P<rest>.*)", re.DOTALL
)
_ENGINE: Final = re.compile(r"^ENGINE = MergeTree$", re.MULTILINE)
_WINDOW: Final = re.compile(r"\bnon_replicated_deduplication_window\b")
_COMMENT: Final = re.compile(r"\nCOMMENT '(?:[^']|'')*'\s*\Z")
_OF_COLUMNS: Final = re.compile(r"\s+(?:ADD|MODIFY|COMMENT|DROP|RENAME) COLUMN\b")
"""What a Distributed table takes as well; indices, projections and settings it has none of."""


def for_cluster(statements: Iterable[str], cluster: str, views: set[str]) -> Iterator[str]:
    """What a migration's statements are on a cluster, in their order.

    `views` holds the names of views that earlier statements made, and takes those of these. Raises
    SetupError for a statement that has no form for a cluster.
    """
    for statement in statements:
        yield from _rendered(statement, cluster, views)


def drop_database(database: str, cluster: str | None) -> str:
    """The statement that drops the database with all tables, and returns when they are gone."""
    return f"DROP DATABASE IF EXISTS `{database}`{_on(cluster)} SYNC"


def local_name(table: str) -> str:
    """The table that holds a server's own rows, on a cluster."""
    return table + LOCAL_SUFFIX if table in SHARDED else table


def _on(cluster: str | None) -> str:
    return f" ON CLUSTER `{cluster}`" if cluster else ""


def _rendered(statement: str, cluster: str, views: set[str]) -> Iterator[str]:
    on = _on(cluster)
    if match := _CREATE_TABLE.fullmatch(statement):
        yield from _table(match["name"], match["rest"], cluster)
    elif match := _CREATE_VIEW.fullmatch(statement):
        views.add(match["name"])
        yield f"{match['verb']} {match['name']}{on}{match['rest']}"
    elif match := _ALTER.fullmatch(statement):
        name, rest = match["name"], match["rest"]
        if name not in SHARDED or name in views:
            yield f"ALTER TABLE {name}{on}{rest}"
            return
        yield f"ALTER TABLE {local_name(name)}{on}{rest}"
        if _OF_COLUMNS.match(rest):
            yield f"ALTER TABLE {name}{on}{rest}"
    elif match := _DROP.fullmatch(statement):
        name = match["name"]
        yield f"{match['verb']} {name}{on}{match['rest']}"
        if name in SHARDED:
            yield f"{match['verb']} {local_name(name)}{on}{match['rest']}"
    else:
        raise SetupError(
            f"a migration has a statement that has no form for a cluster: {statement[:60]!r}",
            action="This is a fault of the release. Take the one before it, and report this.",
        )


def _table(name: str, rest: str, cluster: str) -> Iterator[str]:
    """A table that is replicated, and the one over all shards where it is sharded."""
    on = _on(cluster)
    sharded = name in SHARDED
    # The id of a table is the same on all servers that ON CLUSTER makes it on, and another one
    # after a rebuild: what a dropped table left in the Keeper is never met again.
    where = "{shard}" if sharded else "all"
    who = "{replica}" if sharded else "{shard}-{replica}"
    engine = f"ENGINE = ReplicatedMergeTree('/clickhouse/tables/{{uuid}}/{where}', '{who}')"
    body, engines = _ENGINE.subn(engine, rest)
    if engines != 1:
        raise SetupError(
            f"the table {name} is made by no plain `ENGINE = MergeTree`",
            action="This is a fault of the release. Take the one before it, and report this.",
        )
    body = _WINDOW.sub("replicated_deduplication_window", body)
    yield f"CREATE TABLE IF NOT EXISTS {local_name(name)}{on}{body}"
    if sharded:
        comment = found[0].rstrip() if (found := _COMMENT.search(rest)) else ""
        yield (
            f"CREATE TABLE IF NOT EXISTS {name}{on} AS {local_name(name)}\n"
            f"ENGINE = Distributed('{cluster}', currentDatabase(), '{local_name(name)}', "
            f"{SHARDING_KEY}){comment}"
        )
