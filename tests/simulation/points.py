"""Real asyncio code under one seed: whoever reaches a point stops there until chance lets it go on.

Unlike `scheduler`, which drives plain coroutines, this leaves tasks and futures to the event loop:
between two choices everything runs that can, always in the same order.
"""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

TURNS: Final = 12
"""Turns of the event loop after each choice: more than the longest chain of awaits between two
points."""

PAUSE_STEPS_MAX: Final = 60


@dataclass(slots=True)
class Stop:
    """Somebody who stands at a point."""

    name: str
    future: "asyncio.Future[None]"
    until: int


@dataclass
class Points:
    """All points of one run. Everything random comes from `chance`."""

    chance: random.Random
    pause: float = 0.04
    """How likely somebody is kept where it stands for long."""
    step: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    healed: bool = False
    _stops: list[Stop] = field(default_factory=list)

    async def point(self, name: str, wait: int = 0) -> None:
        """Stops here, for at least `wait` steps."""
        if self.healed:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stops.append(Stop(name, future, self.step + wait))
        await future

    async def go_on(self) -> None:
        """One step: somebody passes its point, or is kept for long."""
        self.step += 1
        self._stops = [stop for stop in self._stops if not stop.future.done()]
        ready = [stop for stop in self._stops if stop.until <= self.step]
        if ready:
            stop = self.chance.choice(ready)
            if self.happens(f"paused at {stop.name}", self.pause):
                stop.until = self.step + self.chance.randint(5, PAUSE_STEPS_MAX)
            else:
                stop.future.set_result(None)
        await self.run()

    async def run(self) -> None:
        """Everything goes on as far as it can."""
        for _ in range(TURNS):
            await asyncio.sleep(0)

    def happens(self, kind: str, likely: float) -> bool:
        """Whether something happens now; counted where it does."""
        if self.healed or self.chance.random() >= likely:
            return False
        self.seen[kind] += 1
        return True

    def heal(self) -> None:
        """Nobody stops anywhere any more."""
        self.healed = True
        for stop in self._stops:
            if not stop.future.done():
                stop.future.set_result(None)
