"""A gateway that runs inside somebody else's process leaves their logging alone."""

import logging
import socket

import pytest

from streams.app.gateway import run_gateway
from streams.errors import SetupError
from streams.settings import Settings

LIBRARIES = ("", "uvicorn", "aiokafka")


def levels() -> list[int]:
    return [logging.getLogger(name).level for name in LIBRARIES]


def test_a_gateway_that_cannot_start_leaves_all_levels_as_they_were() -> None:
    before, handlers = levels(), logging.root.handlers[:]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        settings = Settings(kafka_bootstrap="127.0.0.1:1", gateway_listen=address)
        with pytest.raises(SetupError, match="cannot listen"):
            run_gateway(settings, print)
    assert levels() == before
    assert logging.root.handlers == handlers
