"""A real Kafka and ClickHouse for tests: one call, free ports, everything gone afterwards.

Not a conftest: that one imports `running_stack` and decides about its scope.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from streams.embedded.endpoints import Endpoints
from streams.embedded.stack import EmbeddedStack, StackOptions


@contextlib.contextmanager
def running_stack(home: Path, *, restart_limit: int = 50) -> Iterator[EmbeddedStack]:
    """Start both servers on `home` (an empty directory, or one used before) and stop them after.

    `stack.endpoints()` gives addresses, passwords and pids; `stack.supervisor` can start further
    children. The limit of restarts is high, because tests kill on purpose.
    """
    # fsync costs tests time and protects against nothing that they do.
    options = StackOptions(root=home, fsync=False, restart_limit=restart_limit)
    with EmbeddedStack(options) as stack:
        yield stack


@contextlib.contextmanager
def running_endpoints(home: Path) -> Iterator[Endpoints]:
    """Start both servers on `home` and give their addresses: for tests that only connect."""
    with running_stack(home) as stack:
        yield stack.endpoints()
