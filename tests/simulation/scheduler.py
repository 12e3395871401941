"""Actors as plain coroutines, and one seed that decides whose turn it is and what goes wrong.

Nothing here waits: `point` hands control back to the scheduler, which goes on with any actor it
likes, throws a fault into one, drops one (a crash), or lets one sleep for long (a zombie).
"""

import random
from collections import Counter
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass, field
from typing import Any, Final

from streams.errors import FaultError, TransientError


class Crashed(BaseException):
    """The process is gone: no Exception, because nothing catches SIGKILL either."""


class InjectedError(FaultError):
    """A call whose outcome is unknown, by the schedule's will."""


class ViolationError(AssertionError):
    """What must never happen, whatever the schedule does."""


class Turn:
    """An await that hands control back."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __await__(self) -> Generator[str, None, None]:
        yield self._name


@dataclass(slots=True)
class Actor:
    """A process: how it is started, and where it stands."""

    name: str
    start: Callable[[], Coroutine[Any, Any, None]]
    on_end: Callable[[], None]
    body: Coroutine[Any, Any, None] | None = None
    at: str = "start"
    asleep_until: int = 0
    finished: bool = False


@dataclass(slots=True)
class Odds:
    """How likely each step goes wrong; all zero while everything is healed."""

    crash: float = 0.006
    pause: float = 0.006
    fault: float = 0.02


HEALTHY: Final = Odds(0.0, 0.0, 0.0)
PAUSE_STEPS_MAX: Final = 250

COMMIT_WEIGHT: Final = 4
"""How much likelier a crash is within a commit than elsewhere: there it matters most, and a
process is seldom there."""


@dataclass
class Scheduler:
    """Runs actors one step at a time. Everything random comes from `chance`."""

    chance: random.Random
    odds: Odds = field(default_factory=Odds)
    actors: dict[str, Actor] = field(default_factory=dict)
    step: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    """How often each kind of fault happened."""
    tolerate: Callable[[Actor, Exception], str | None] = lambda _actor, _fault: None
    """Names why an actor may end by a fault, None where it may not."""

    async def point(self, name: str, *faults: str, weight: int = 1) -> None:
        """A place where anything may happen; `faults` are the kinds this call may fail with,
        `weight` is how much likelier than elsewhere."""
        await Turn(name)
        if faults and self.chance.random() < self.odds.fault * weight:
            kind = self.chance.choice(faults)
            self.seen[kind] += 1
            if kind.startswith("unknown"):
                raise InjectedError(kind, action="Start again.")
            raise TransientError(kind, action="Try again.")

    def happens(self, kind: str, likely: float) -> bool:
        """Whether a fault of this kind happens now; counted where it does."""
        if self.odds is HEALTHY or self.chance.random() >= likely:
            return False
        self.seen[kind] += 1
        return True

    def add(self, actor: Actor) -> None:
        """A new process."""
        self.actors[actor.name] = actor

    def crash(self, actor: Actor) -> None:
        """The process is gone; its next start is a fresh one."""
        if actor.body is not None:
            actor.body.close()
        self._ended(actor)

    def close(self) -> None:
        """Ends everybody: nobody is left to the garbage collector in mid-step."""
        for actor in self.actors.values():
            if actor.body is not None:
                actor.body.close()
                actor.body = None

    def turn(self) -> bool:
        """One step of one actor; False where none can go on."""
        self.step += 1
        ready = [a for a in self.actors.values() if not a.finished and a.asleep_until <= self.step]
        if not ready:
            return any(not a.finished for a in self.actors.values())
        actor = self.chance.choice(ready)
        if actor.body is None:
            actor.body, actor.at = actor.start(), "start"
        kind = actor.name.split("-")[0]
        weight = COMMIT_WEIGHT if actor.at.startswith("6") else 1
        if self.happens(f"{kind} crash", self.odds.crash * weight):
            self.seen[f"{kind} crash at {actor.at}"] += 1
            self.crash(actor)
        elif self.happens(f"{kind} pause", self.odds.pause):
            actor.asleep_until = self.step + self.chance.randint(5, PAUSE_STEPS_MAX)
        else:
            self._go_on(actor)
        return True

    def _go_on(self, actor: Actor) -> None:
        assert actor.body is not None
        try:
            actor.at = actor.body.send(None)
        except StopIteration:
            actor.finished = True
        except Crashed:
            self._ended(actor)
        except (FaultError, TransientError, OSError) as fault:
            why = self.tolerate(actor, fault)
            if why is None:
                raise ViolationError(f"{actor.name} stopped: {fault}") from fault
            self.seen[why] += 1
            self._ended(actor)

    def _ended(self, actor: Actor) -> None:
        actor.body = None
        actor.asleep_until = self.step + self.chance.randint(0, 10)
        actor.on_end()

    def heal(self) -> None:
        """No more faults; everybody awake."""
        self.odds = HEALTHY
        for actor in self.actors.values():
            actor.asleep_until = 0
