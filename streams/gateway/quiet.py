"""What strangers can make a server say, said seldom: a line for each junk request fills a disk."""

import logging
from typing import Final

SAID_AGAIN_SECONDS: Final = 10.0
"""After so long the same message of the server is logged again."""

MESSAGES_MAX: Final = 100
"""Messages that are remembered. The server's own are a handful; with more than this something else
writes under its name, and then all of it counts as one message."""


class Seldom(logging.Filter):
    """Lets each message of at most WARNING through once in a while; errors always."""

    def __init__(self) -> None:
        """Nothing was said yet."""
        super().__init__()
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this one is said."""
        if record.levelno >= logging.ERROR:
            return True
        message = str(record.msg)
        if message not in self._said and len(self._said) >= MESSAGES_MAX:
            message = ""
        if record.created - self._said.get(message, 0.0) < SAID_AGAIN_SECONDS:
            return False
        self._said[message] = record.created
        return True


SELDOM: Final = Seldom()
"""The one of this process: a logger keeps a filter once, however often it is added."""
