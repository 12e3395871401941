"""How long each stage of a run took."""

import contextlib
import time
from collections.abc import Callable, Iterator

from streams.embedded.supervisor import say_on_stderr


class Stages:
    """Times named stages in their order and tells a person what is being done."""

    def __init__(self, say: Callable[[str], None] = say_on_stderr) -> None:
        """`say` gets a line per stage when it begins."""
        self.seconds: list[tuple[str, float]] = []
        self._say = say

    @contextlib.contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Times what is done inside; a stage that fails is timed as well."""
        self._say(name)
        begun = time.monotonic()
        try:
            yield
        finally:
            self.seconds.append((name, time.monotonic() - begun))
