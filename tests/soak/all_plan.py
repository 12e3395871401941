"""What happens in a soak of everything, and when: a function of the seed and the length.

    0 ── warm-up ── faults of every kind by turns, one after the other ── quiet ── end

Of each kind of process the first one is never killed, so that there is a series of figures as long
as the soak: it lives through everybody else's faults. Only the planned restart replaces it, in
the first third. Kafka and ClickHouse are killed in the first half for the same reason.
"""

import itertools
import random
from dataclasses import dataclass
from typing import Final

from tests.soak.schedule import Action

WORKERS: Final = ("worker0", "worker1", "worker2")
SINKS: Final = ("sink0", "sink1")
GATEWAYS: Final = ("gateway0", "gateway1")

STEP_SECONDS: Final = 24.0
"""From one fault to the next: a killed worker's partitions have new owners after 10 s, and what has
waited meanwhile is worked off before something else breaks."""
PAUSE_SECONDS: Final = 9.0
"""How long a process stands still: longer than its session of 6 s, and than the broker's check."""
CLICKHOUSE_SECONDS: Final = 10.0
"""How long ClickHouse refuses, or is slow."""
WARM_SHARE: Final = 0.1
QUIET_SHARE: Final = 0.1
"""Of the length, before the first and after the last fault."""
SERVERS_SHARE: Final = 0.5
"""Up to this part of the length servers are killed."""
SHORT_SECONDS: Final = 60.0
"""Below this a soak has only the faults of SHORT."""
SHORT: Final = (
    ("kill-and-lose-disk", "worker1"),
    ("kill", "gateway1"),
    ("kill", "sink1"),
    ("roll", "worker2"),
)

FIRST: Final = ("kill", "worker1")
"""`tollgate status` is asked right after it."""
OURS: Final = (
    ("kill", "gateway1"),
    ("kill", "sink1"),
    ("pause", "worker2"),
    ("clickhouse", "refuse"),
    ("kill-and-lose-disk", "worker2"),
    ("pause", "gateway1"),
    ("clickhouse", "slow"),
    ("pause", "sink1"),
)
SERVERS: Final = (("broker-restart", ""), ("clickhouse-kill", ""), ("broker-silent", ""))
ROLL: Final = tuple(("roll", name) for name in (*WORKERS, *GATEWAYS, *SINKS))


@dataclass(frozen=True, slots=True)
class Plan:
    """A seed's faults, in their order, and how long the load lasts."""

    seed: int
    seconds: float
    actions: tuple[Action, ...]


def make_plan(seed: int, seconds: float) -> Plan:
    """The plan of a seed: the same for the same seed and length."""
    dice = random.Random(f"{seed} everything")
    first, last = seconds * WARM_SHARE, seconds * (1 - QUIET_SHARE)
    if seconds < SHORT_SECONDS:
        step = (last - first) / len(SHORT)
        verbs = [(first + number * step, *what) for number, what in enumerate(SHORT)]
        return Plan(seed, seconds, tuple(_actions(verbs)))
    places = int((last - first) // STEP_SECONDS)
    early = max(1, int(places * SERVERS_SHARE))
    rolled = early // 2
    free = [place for place in range(early) if place != rolled]
    chosen = sorted(dice.sample(free, min(len(free), len(SERVERS))))
    servers = dict(zip(chosen, SERVERS, strict=False))
    ours = itertools.cycle([FIRST, *dice.sample(OURS, len(OURS))])
    verbs = []
    for number in range(places):
        at = first + number * STEP_SECONDS + dice.uniform(0, STEP_SECONDS / 8)
        if number == rolled:
            verbs += [(at + 3.0 * nth, *what) for nth, what in enumerate(ROLL)]
        else:
            verbs.append((at, *(servers[number] if number in servers else next(ours))))
    return Plan(seed, seconds, tuple(_actions(verbs)))


def _actions(verbs: list[tuple[float, str, str]]) -> list[Action]:
    found = []
    for at, verb, target in verbs:
        found.append(Action(round(at, 1), verb, target))
        if verb == "pause":
            found.append(Action(round(at + PAUSE_SECONDS, 1), "wake", target))
        elif verb == "clickhouse":
            found.append(Action(round(at + CLICKHOUSE_SECONDS, 1), "clickhouse", "pass"))
    return sorted(found, key=lambda action: action.at)
