"""`tollgate probe`: the health check of a worker, sink or gateway, for containers and scripts."""

from typing import Literal

import click

from streams.app.probe import probe as ask
from streams.cli.options import with_settings
from streams.settings import Settings


@click.command()
@with_settings("metrics_listen")
@click.argument("question", type=click.Choice(["live", "ready"]), default="live")
def probe(settings: Settings, question: Literal["live", "ready"]) -> int:
    """Ask the program with these settings whether it is live or ready.

    Live: it answers. Ready: it can do its work now. The address is TOLLGATE_METRICS_LISTEN, as the
    program has it. Exits with 0 for yes, 1 for no, 2 where no address is given; says why on stderr.
    """
    yes, said = ask(settings, question)
    click.echo(said, err=True)
    return 0 if yes else 1
