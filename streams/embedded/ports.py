"""TCP ports on loopback: choosing free ones, and saying who holds a busy one."""

import random
import socket

from streams.errors import SetupError

LOOPBACK = "127.0.0.1"

# Where free ports are looked for: below the range from which Linux and macOS take the ports of
# outgoing connections, so that no client can grab one between the choice and the server's bind.
FREE_PORT_MIN = 22_000
FREE_PORT_MAX = 31_999
FREE_PORT_TRIES = 200


def is_free(port: int) -> bool:
    """Return whether a server could listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Connections of a predecessor in TIME_WAIT do not hinder a server, so not the probe.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def pick_free_ports(count: int) -> list[int]:
    """Return `count` different free ports; raises `SetupError` if the range seems full."""
    dice = random.SystemRandom()
    found: set[int] = set()
    for _ in range(FREE_PORT_TRIES):
        if len(found) == count:
            break
        port = dice.randint(FREE_PORT_MIN, FREE_PORT_MAX)
        if is_free(port):
            found.add(port)
    if len(found) < count:
        raise SetupError(
            f"no {count} free ports between {FREE_PORT_MIN} and {FREE_PORT_MAX}",
            action="Name free ports yourself (tollgate up --help).",
        )
    return list(found)


def holder_of(port: int) -> str | None:
    """Return 'name (pid N)' of the process that listens on `port`, None if it cannot be known.

    Other users' processes are visible only to root on most systems, and psutil is optional.
    """
    try:
        import psutil
    except ImportError:
        return None
    try:
        for connection in psutil.net_connections(kind="tcp"):
            # An address is (host, port), or empty for a socket that has none.
            if connection.status != psutil.CONN_LISTEN or not connection.laddr:
                continue
            if connection.laddr[1] == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        return None
    return None


def require_free(port: int, *, purpose: str, setting: str) -> None:
    """Raise `SetupError` naming port, holder and the setting to change, unless it is free."""
    if is_free(port):
        return
    holder = holder_of(port) or "another process (whose name this user may not see)"
    raise SetupError(
        f"port {port} for {purpose} is held by {holder}",
        action=f"Stop that process, or choose another port with {setting}.",
    )
