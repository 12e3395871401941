"""What happens to a running installation, and when: a function of the seed and the kind.

Only the plan is reproduced by a seed. When a process has started, and in which step of a cycle a
signal meets it, is the machine's affair.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

WORKERS: Final = 3
SINKS: Final = 2
LOAD_SECONDS: Final = 24.0
"""How long events come. With start, drain and checks a schedule stays below a minute."""
SHORT_LOAD_SECONDS: Final = 13.0
"""The same for the schedules of `make test`, which stay below 30 s."""
PAUSE_SECONDS: Final = 8.0
"""How long a paused process stands still: the session timeout (6 s) and the broker's check."""
OUTAGE_SECONDS: Final = 10.0
THREE_BROKERS: Final = "brokers"
"""The kind of `make soak-brokers`; it needs `tests.brokers`."""
BROKERS: Final = ("kafka1", "kafka2", "kafka3")
RECOVERY_SECONDS: Final = 6.0
"""Between the return of one broker and the death of the next: it recovers its log and is in sync
again. Two at once are more than three copies with two in sync promise."""
KINDS: Final = ("workers", "zombies", "broker", "clickhouse")


@dataclass(frozen=True, slots=True)
class Action:
    """One thing done at a time since the start of the load: a verb and what it is done to."""

    at: float
    verb: str
    target: str = ""

    def __str__(self) -> str:
        return f"{self.at:.1f}s {self.verb} {self.target}".rstrip()


@dataclass(frozen=True, slots=True)
class Schedule:
    """The actions in their order, and how long events come meanwhile."""

    seed: int
    kind: str
    load_seconds: float
    actions: tuple[Action, ...]


def make_schedule(seed: int, kind: str = "all", *, short: bool = False) -> Schedule:
    """The schedule of a seed. `kind` is one of KINDS, or `all` for a mixture of them."""
    dice = random.Random(f"{seed}-{kind}")
    seconds = SHORT_LOAD_SECONDS if short else LOAD_SECONDS
    if kind == "all":
        kinds = ["workers", dice.choice(KINDS), dice.choice(("broker", "zombies")), "clickhouse"]
    else:
        kinds = [kind]
    actions: list[Action] = [Action(round(dice.uniform(2, seconds - 2), 1), "burst")]
    for chosen in dict.fromkeys(kinds):
        actions += _MAKERS[chosen](dice, seconds)
    return Schedule(seed, kind, seconds, tuple(sorted(actions, key=lambda action: action.at)))


def _time(dice: random.Random, seconds: float, needed: float = 0.0) -> float:
    return round(dice.uniform(1.0, max(1.5, seconds - 1.0 - needed)), 1)


def _process(dice: random.Random) -> str:
    return dice.choice([f"worker{n}" for n in range(WORKERS)] * 2 + [f"sink{n}" for n in range(2)])


def _workers(dice: random.Random, seconds: float) -> list[Action]:
    """Kills, a lost disk, and scaling down and up."""
    kills = [
        Action(_time(dice, seconds), "kill", _process(dice)) for _ in range(dice.randint(2, 4))
    ]
    slot = f"worker{dice.randrange(WORKERS)}"
    down = _time(dice, seconds, 5.0)
    more = [
        Action(down, "scale-down", slot),
        Action(round(down + dice.uniform(1.0, 5.0), 1), "scale-up", slot),
        Action(_time(dice, seconds), "kill-and-lose-disk", f"worker{dice.randrange(WORKERS)}"),
    ]
    if dice.random() < 0.5:
        more.append(Action(_time(dice, seconds), "scale-up", f"worker{WORKERS}"))
    return kills + more


def _zombies(dice: random.Random, seconds: float) -> list[Action]:
    """Processes that stand still for longer than their session."""
    targets = [f"worker{dice.randrange(WORKERS)}"]
    if dice.random() < 0.5:
        targets.append(f"sink{dice.randrange(SINKS)}")
    if dice.random() < 0.3:
        targets.append(next(f"worker{n}" for n in range(WORKERS) if f"worker{n}" not in targets))
    found = []
    for target in targets:
        at = _time(dice, seconds, PAUSE_SECONDS)
        found += [Action(at, "pause", target), Action(at + PAUSE_SECONDS, "wake", target)]
    return found


def _broker(dice: random.Random, seconds: float) -> list[Action]:
    """A restart, or ten seconds without an answer: silent, or refused."""
    verb = dice.choice(("broker-restart", "broker-silent", "broker-refused"))
    return [Action(_time(dice, seconds, OUTAGE_SECONDS), verb)]


def _clickhouse(dice: random.Random, seconds: float) -> list[Action]:
    """Two troubles of ClickHouse, one after the other."""
    modes = dice.sample(("kill", "refuse", "slow", "lose", "full"), 2)
    first = _time(dice, seconds / 2)
    second = round(seconds / 2 + dice.uniform(0, seconds / 4), 1)
    found = []
    for at, mode in zip((first, second), modes, strict=True):
        if mode == "kill":
            found.append(Action(at, "clickhouse-kill"))
        else:
            lasts = dice.uniform(2.0, seconds / 4)
            found += [
                Action(at, "clickhouse", mode),
                Action(round(at + lasts, 1), "clickhouse", "pass"),
            ]
    return found


def _brokers(dice: random.Random, seconds: float) -> list[Action]:
    """Of three brokers one is killed and stays away; a worker is killed while two are left. When
    the first answers again, another is killed and comes back at once."""
    first, second = dice.sample(BROKERS, 2)
    away = _time(dice, seconds / 2 - OUTAGE_SECONDS / 2)
    back = away + OUTAGE_SECONDS + RECOVERY_SECONDS
    return [
        Action(away, "broker-refused", first),
        Action(round(away + dice.uniform(1.0, OUTAGE_SECONDS), 1), "kill", _process(dice)),
        Action(round(dice.uniform(back, max(back, seconds - 2)), 1), "broker-restart", second),
    ]


_MAKERS: Final[dict[str, Callable[[random.Random, float], list[Action]]]] = {
    "workers": _workers,
    "zombies": _zombies,
    "broker": _broker,
    "clickhouse": _clickhouse,
    THREE_BROKERS: _brokers,
}
