"""A gateway, or a provider's stand-in, served by uvicorn on a loopback port in a thread."""

import itertools
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import uvicorn

from streams.domain.context import Context
from streams.gateway import agentbill, charge_tokens
from streams.gateway.app import Gateway
from streams.gateway.asking import Asking
from streams.gateway.native import ROUTES
from streams.gateway.ports import AuthError, Caller, Scope
from streams.gateway.services import Services
from streams.metrics import Metrics
from tests.builders import NOON_US
from tests.clients.memory_stack import MemoryStack

KEY: Final = "agb_000000000000000000000000000000000000000000000000"
"""The key of the recordings."""

SHUTDOWN_SECONDS: Final = 10.0

UPGRADE_URL: Final = "https://example.org/upgrade"


class ClientKeys:
    """Keys in every state that a client can meet."""

    def check(self, presented: str | None, scope: Scope, customer_id: str | None) -> Caller:
        """By what the key says of itself."""
        if presented in (KEY, "ik"):
            return Caller("k1", frozenset(Scope))
        if presented == "agb_bound":
            return Caller("k2", frozenset(Scope), frozenset({"mine"}))
        if presented == "agb_busy":
            raise AuthError("rate_limited", "more requests than this key may send", 429, 7.0)
        for code in ("key_revoked", "key_expired"):
            if presented == f"agb_{code}":
                raise AuthError(code, "make another key", 401)
        raise AuthError("unauthorized", "Invalid API key.", 401)


@dataclass(frozen=True)
class Target:
    """A gateway that clients talk to, whatever lies behind it."""

    url: str
    key: str


@dataclass(frozen=True)
class MemoryTarget(Target):
    """A gateway before an installation in memory, which a test may disturb."""

    stack: MemoryStack


@contextmanager
def served(app: Any) -> Iterator[str]:
    """The base URL of an ASGI application; the port is open before the thread runs."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="warning", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(SHUTDOWN_SECONDS)
        listening.close()
        assert not thread.is_alive(), "the server did not stop"


@contextmanager
def gateway(context: Context) -> Iterator[MemoryTarget]:
    """A gateway before an installation in memory."""
    stack = MemoryStack(context)
    services = Services(
        asking=Asking(stack, stack, stack, time.monotonic),
        directory=stack,
        new_id=lambda: secrets.token_hex(16),
        now_us=lambda: NOON_US,
        metrics=Metrics(),
        not_ready=lambda: "",
        decision_seconds=1.0,
        upgrade_url=UPGRADE_URL,
    )
    routes = (*ROUTES, *agentbill.ROUTES, *charge_tokens.ROUTES)
    app = Gateway(services, ClientKeys(), routes, time.monotonic, "0.0.0")
    with served(app) as url:
        yield MemoryTarget(url, KEY, stack)


_run: Final = secrets.token_hex(4)
_numbers = itertools.count(1)


def fresh(kind: str) -> str:
    """A name that no other test uses, of this run or another."""
    return f"{kind}-{_run}-{next(_numbers)}"
