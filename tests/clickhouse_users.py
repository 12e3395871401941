"""An embedded ClickHouse with users of least right, as an operator makes them on one's own.

The engine takes users from its file alone, so the rights of `streams.invoicing.roles` are put
there; the words after GRANT are the same."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from streams.embedded import clickhouse as embedded
from streams.embedded.clickhouse import ClickHouseOptions, prepare_clickhouse
from streams.embedded.home import Home, Secrets
from streams.embedded.ports import pick_free_ports
from streams.embedded.supervisor import Supervisor
from streams.invoicing import roles

PASSWORD: Final = "secret-of-"
DATABASE: Final = embedded.DATABASE


def password_of(role: str) -> str:
    """The password of the user `tollgate_<role>`."""
    return PASSWORD + role


@contextlib.contextmanager
def clickhouse_with_roles(root: Path) -> Iterator[int]:
    """The HTTP port of a server that knows admin (password `admin`) and a user for each role."""
    home = Home(root)
    home.prepare()
    http_port, tcp_port = pick_free_ports(2)
    options = ClickHouseOptions(home.clickhouse, http_port, tcp_port, fsync=False)
    spec = prepare_clickhouse(options, Secrets("admin", "analyst"), restart_limit=0)
    users = home.clickhouse / "conf" / "users.xml"
    made = "".join(
        embedded._user(
            f"tollgate_{role}", password_of(role), "default", roles.rights(role, DATABASE)
        )
        for role in roles.ROLES
    )
    users.write_text(users.read_text("utf-8").replace("</users>", f"{made}</users>"), "utf-8")
    supervisor = Supervisor(home.logs, home.run)
    try:
        supervisor.start(spec)
        yield http_port
    finally:
        supervisor.stop()
