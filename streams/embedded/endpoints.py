"""Where the running servers of a home directory listen, for other processes to find.

The file is written by the supervisor's process and counts only while that process holds the
home's lock: what a killed one left behind is ignored.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from streams.embedded.home import Home, holder_pid, is_held, load_secrets, write_private

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The addresses of one running stack.

    `holder_pid` is the supervisor's process; `pids` the children at the last change. ClickHouse's
    `user` may do everything, `analyst_user` only read. `clickhouse_tcp_port` is None where a
    ClickHouse of the user's own is used; the analyst is None there, and where the embedded one
    cannot be confined (`clickhouse.has_analyst`).
    """

    kafka_bootstrap: str
    clickhouse_url: str
    clickhouse_user: str
    clickhouse_password: str = field(repr=False)
    clickhouse_tcp_port: int | None
    analyst_user: str | None
    analyst_password: str | None = field(repr=False)
    holder_pid: int
    pids: dict[str, int]

    def public(self) -> dict[str, object]:
        """Return everything but the passwords, ready for JSON."""
        shown = asdict(self)
        del shown["clickhouse_password"], shown["analyst_password"]
        return shown


def write_endpoints(home: Home, endpoints: Endpoints) -> None:
    """Record the addresses, without passwords of the embedded server (those are in their file)."""
    text = json.dumps({"version": FORMAT_VERSION, **endpoints.public()}, indent=2)
    write_private(home.endpoints_file, text + "\n")


def find_running(root: Path, *, external_password: str = "") -> Endpoints | None:
    """Return the addresses of the stack that runs on this home directory, None if none does.

    `external_password` is the password for a ClickHouse of the user's own, which is not stored.
    """
    home = Home(root)
    if not is_held(home):
        return None
    try:
        recorded = json.loads(home.endpoints_file.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None  # The holder is still starting, or just stopping.
    if recorded.pop("version", None) != FORMAT_VERSION:
        return None
    if recorded["holder_pid"] != holder_pid(home):
        return None  # Left behind by a predecessor of the one that now starts.
    embedded = recorded["clickhouse_tcp_port"] is not None
    secrets = load_secrets(home) if embedded else None
    if embedded and secrets is None:
        return None
    return Endpoints(
        **recorded,
        clickhouse_password=secrets.admin_password if secrets else external_password,
        analyst_password=secrets.analyst_password if secrets and recorded["analyst_user"] else None,
    )
