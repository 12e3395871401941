"""Retries under one deadline: how long the sink puts up with a server that does not answer."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from streams.errors import TransientError

T = TypeVar("T")

DEADLINE_SECONDS: Final = 60.0
"""How long one trouble may last, over all its retries. A restart of ClickHouse takes seconds,
with many parts half a minute; after that a supervisor's restart with a message helps more than
silence. Far below the consumer's poll interval (300 s), at which Kafka would give the partition
away."""

FIRST_PAUSE_SECONDS: Final = 0.1
"""Pause before the first retry: an idle connection that the server had closed works at once."""

PAUSE_SECONDS_MAX: Final = 5.0
"""Longest pause between retries, so that a server that is back is noticed soon."""


@dataclass(slots=True)
class Patience:
    """Time and waiting are arguments, so that tests need none. One object serves one sink."""

    now: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    deadline_seconds: float = DEADLINE_SECONDS
    tell: Callable[[TransientError], None] | None = None
    """Is told of every trouble once, when it begins."""
    _since: float | None = field(default=None, init=False)
    _pause: float = field(default=FIRST_PAUSE_SECONDS, init=False)

    async def after(self, error: TransientError) -> None:
        """Waits before the next try. Raises `error` again once the trouble has lasted too long."""
        now = self.now()
        if self._since is None:
            self._since = now
            if self.tell is not None:
                self.tell(error)
        if now - self._since >= self.deadline_seconds:
            raise TransientError(
                f"{error.message} (for {now - self._since:.0f} s by now)", action=error.action
            ) from error
        await self.sleep(self._pause)
        self._pause = min(2 * self._pause, PAUSE_SECONDS_MAX)

    def recovered(self) -> None:
        """The trouble is over: the next one gets the whole deadline."""
        self._since = None
        self._pause = FIRST_PAUSE_SECONDS

    async def insist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """The result of a step that may be repeated as it is, tried until it works or time is up.

        Success ends only a trouble that began in here: reading may work for ever while inserting,
        which the trouble was about, does not (a full disk)."""
        untroubled = self._since is None
        while True:
            try:
                result = await attempt()
            except TransientError as error:
                await self.after(error)
                continue
            if untroubled:
                self.recovered()
            return result
