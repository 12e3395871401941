"""`tollgate analyst`: who may read the tables, and whose rows."""

import json

import click

from streams.cli.options import with_settings
from streams.embedded.analysts import NAME, add_analyst, load_analysts, remove_analyst
from streams.embedded.home import Home
from streams.errors import SetupError
from streams.invoicing import roles
from streams.invoicing.readers import statements
from streams.settings import Settings

NEXT_START = "The embedded ClickHouse knows it from its next start on (`tollgate up`)."


@click.group()
def analyst() -> None:
    """Who may read the tables, and whose rows.

    The user `analyst` of the embedded ClickHouse reads everything. A restricted analyst reads the
    rows of the customers that it was given, in every table and view.
    """


@analyst.command("add")
@click.argument("name")
@click.option("--customer", "customers", multiple=True, required=True, help="May be repeated.")
@with_settings()
def add(settings: Settings, name: str, customers: tuple[str, ...]) -> None:
    """Add NAME, who reads the rows of these customers; print its password.

    Given again, it has these customers instead, and its password stays.
    """
    made = add_analyst(Home(settings.home), name, customers)
    click.echo(made.password)
    click.echo(NEXT_START, err=True)


@analyst.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
@with_settings()
def list_(settings: Settings, as_json: bool) -> None:
    """List restricted analysts and their customers."""
    for one in load_analysts(Home(settings.home)):
        if as_json:
            click.echo(json.dumps({"name": one.name, "customers": one.customers}))
        else:
            click.echo(f"{one.name}: {', '.join(one.customers)}")


@analyst.command("remove")
@click.argument("name")
@with_settings()
def remove(settings: Settings, name: str) -> None:
    """Take NAME away."""
    remove_analyst(Home(settings.home), name)
    click.echo(NEXT_START, err=True)


@analyst.command("sql")
@click.argument("name", default="analyst")
@click.option("--customer", "customers", multiple=True, help="Whose rows; all without. Repeatable.")
@with_settings("clickhouse_database")
def sql(settings: Settings, name: str, customers: tuple[str, ...]) -> None:
    """Print the statements that make an analyst on a ClickHouse of your own.

    Put a password in the place of {password}, and run them as a user that may make users.
    """
    if not NAME.fullmatch(name):
        raise SetupError(
            f"an analyst cannot be called {name!r}",
            action="Choose another name: small letters, digits and _, a letter first.",
        )
    try:
        found = statements(name, settings.clickhouse_database, customers)
    except ValueError as error:
        raise SetupError(str(error), action="Name fewer with --customer.") from error
    for statement in found:
        click.echo(f"{statement};")


@analyst.command("roles")
@click.argument("role", required=False, type=click.Choice(list(roles.ROLES)))
@with_settings("clickhouse_database")
def roles_(settings: Settings, role: str | None) -> None:
    """Print the statements that make the users of Tollgate's own processes.

    For a ClickHouse of your own: one user per ROLE (all without), each with the rights that its
    processes need. Put passwords in the place of {password}, run the statements as a user that may
    make users, and give each process its own TOLLGATE_CLICKHOUSE_USER.
    """
    for name in [role] if role else roles.ROLES:
        click.echo(f"-- {name}")
        for statement in roles.statements(name, settings.clickhouse_database):
            click.echo(f"{statement};")
