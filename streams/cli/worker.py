"""`tollgate worker`: own partitions, fold events into tables, write the ledger."""

import click

from streams.app.worker import run_worker
from streams.cli.options import with_settings
from streams.settings import Settings


@click.command()
@with_settings("kafka_bootstrap", "state_dir", "log_level", "log_format", "metrics_listen")
def worker(settings: Settings) -> None:
    """Run a worker until SIGTERM or Ctrl-C.

    Start as many as there are cores, each with a state directory of its own; they share the
    partitions. Exit code 70 means a fault after which only a new start knows what is true.
    """
    run_worker(settings)
