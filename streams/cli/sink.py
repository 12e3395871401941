"""`tollgate sink`: ledger and dead letters into ClickHouse, until told to stop."""

import click

from streams.app.sink import run_sink
from streams.cli.options import with_settings
from streams.settings import Settings


@click.command()
@with_settings(
    "kafka_bootstrap",
    "topic_prefix",
    "app_id",
    "clickhouse_url",
    "clickhouse_user",
    "clickhouse_tls_ca",
    "clickhouse_database",
    "sink_batch_rows_max",
    "sink_batch_bytes_max",
    "sink_linger_ms",
    "log_level",
    "log_format",
    "metrics_listen",
)
def sink(settings: Settings) -> None:
    """Run a sink: ledger and dead letters into ClickHouse, exactly once.

    Runs until SIGTERM or Ctrl-C and tells its progress on stderr. Any number may run at once: they
    share the partitions. Exits with 1 where ClickHouse or Kafka stays away for a minute, and where
    table and log do not fit together; with 2 for a wrong setup.
    """
    run_sink(settings, lambda line: click.echo(line, err=True))
