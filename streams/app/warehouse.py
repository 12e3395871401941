"""ClickHouse for commands: where it is, its migrations, this month's period."""

from contextlib import closing
from dataclasses import dataclass

from streams import shipped
from streams.adapters.clickhouse import ClickHouse, ClickHouseAddress
from streams.adapters.clock import SystemClock
from streams.app.addresses import running_stack
from streams.domain.months import Period, month_containing
from streams.settings import Settings
from streams.sink.cluster import drop_database
from streams.sink.migrations import Migration, migrate, read_migrations


def clickhouse_address(settings: Settings, *, analyst: bool = False) -> ClickHouseAddress:
    """Where ClickHouse is: the one that the settings name, else the embedded one that runs.

    With `analyst`, as the embedded server's read-only user; a server of the user's own has none
    that Tollgate knows of. Raises SetupError where nothing runs."""
    database = settings.clickhouse_database
    if settings.clickhouse_url is not None:
        password = settings.clickhouse_password
        secret = password.get_secret_value() if password is not None else ""
        return ClickHouseAddress(
            settings.clickhouse_url,
            settings.clickhouse_user,
            secret,
            database,
            settings.clickhouse_tls_ca,
        )
    running = running_stack(settings)
    if analyst and running.analyst_user is not None and running.analyst_password is not None:
        return ClickHouseAddress(
            running.clickhouse_url, running.analyst_user, running.analyst_password, database
        )
    return ClickHouseAddress(
        running.clickhouse_url, running.clickhouse_user, running.clickhouse_password, database
    )


def clickhouse(settings: Settings, *, analyst: bool = False) -> ClickHouse:
    """A connection to the settings' ClickHouse; the caller closes it. An analyst's only reads."""
    return ClickHouse(clickhouse_address(settings, analyst=analyst), read_only=analyst)


@dataclass(frozen=True, slots=True)
class MigrationResult:
    """What a run of the migrations found and did."""

    known: list[Migration]
    applied: list[Migration]


def run_migrations(settings: Settings) -> MigrationResult:
    """Creates the database where it is missing and applies what it lacks. Raises SetupError."""
    known = read_migrations(shipped.clickhouse_migrations())
    target = clickhouse(settings)
    try:
        target.create_database(settings.clickhouse_cluster)
        return MigrationResult(known, migrate(target, known, settings.clickhouse_cluster))
    finally:
        target.close()


def rebuild_tables(settings: Settings) -> None:
    """Drops the database and makes its tables anew, empty: sinks fill them from the log. No sink
    may run meanwhile."""
    with closing(clickhouse(settings)) as target:
        target.execute(drop_database(settings.clickhouse_database, settings.clickhouse_cluster))
    run_migrations(settings)


def this_month() -> Period:
    """The month that it is, UTC."""
    return month_containing(SystemClock().now_us())
