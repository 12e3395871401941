"""`tollgate gateway`: HTTP for events, preflights, records and lookups, until told to stop."""

import click

from streams.app.gateway import run_gateway
from streams.cli.options import with_settings
from streams.settings import Settings


@click.command()
@with_settings(
    "kafka_bootstrap",
    "topic_prefix",
    "gateway_listen",
    "gateway_tls_certificate",
    "gateway_tls_key",
    "gateway_connections_max",
    "gateway_decision_ms",
    "gateway_record_ms",
    "gateway_upgrade_url",
    "log_level",
    "log_format",
    "metrics_listen",
)
def gateway(settings: Settings) -> None:
    """Run a gateway until SIGTERM or Ctrl-C.

    Any number may run at once; they keep nothing. On loopback it is open until the first key is
    made; beyond it a gateway refuses to listen without keys (`tollgate keys create`). It tells its
    address on stderr. Exits with 1 where Kafka does not answer, with 2 for a wrong setup.
    """
    run_gateway(settings, lambda line: click.echo(line, err=True))
