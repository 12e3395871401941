"""A provider's stand-in, served by uvicorn on a loopback port in a thread."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import uvicorn

SHUTDOWN_SECONDS: Final = 10.0


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
