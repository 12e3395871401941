"""An installation in one process, under many seeds: whatever happens, nothing is lost or doubled.

    SIMULATION_SEED=123 pytest tests/simulation        one seed again
    SIMULATION_SEEDS=20000 pytest tests/simulation     many more

A run takes other seeds each time, unless SIMULATION_FROM says where to begin.
"""

import os
from collections import Counter
from typing import Final

import pytest

from tests.property.seed import SEED
from tests.simulation.checks import check
from tests.simulation.world import Makes, World

SEEDS: Final = int(os.environ.get("SIMULATION_SEEDS", "1000"))
FROM: Final = int(os.environ.get("SIMULATION_FROM", SEED))
ONE: Final = os.environ.get("SIMULATION_SEED")
PIECES: Final = 10

AT_LEAST: Final = {
    "worker crash": 100,
    "worker crash at 6b append": 5,
    "worker crash at 6d commit": 5,
    "worker crash at 6d committed": 5,
    "worker crash at recover claims": 5,
    "worker pause": 100,
    "sink crash": 100,
    "sink pause": 100,
    "zombie refused": 50,
    "session runs out": 100,
    "scaled up": 50,
    "store lost": 50,
    "disk full": 20,
    "crash after claims are stored": 3,
    "crash before claims are stored": 3,
    "crash after accounts are stored": 3,
    "unknown: fence": 20,
    "unknown: append": 20,
    "unknown: offsets": 10,
    "unknown: commit's request lost": 10,
    "unknown: commit's answer lost": 10,
    "ended: clock": 10,
    "catalog grows": 100,
    "catalog lags": 20,
    "batch aborted": 100,
    "batch sent twice": 100,
    "malformed": 100,
    "wrong partition": 100,
    "insert's request lost": 50,
    "insert's answer lost": 50,
    "insert breaks off": 50,
    "insert too slow": 10,
    "token refused": 10,
    "token forgotten": 10,
    "hint lost": 100,
    "older backup restored": 50,
    "passed on": 1_000,
    "signal taken back": 500,
    "invoice told": 1_000,
    "tick": 500,
    "new lease": 200,
    "rows: share": 1000,
    "rows: unattributed": 1000,
    "rows: split_between_signals": 500,
    "rows: late": 300,
    "rows: voided": 300,
    "rows: window_full": 30,
    "rows: window_gone": 20,
    "rows: no_cost": 50,
    "rows: cost_tracing_off": 50,
}
"""Kinds of faults that 1,000 seeds must have seen, and of attributions, and how often: else they
test nothing."""

_seen: Counter[str] = Counter()


def simulate(seed: int, makes: Makes | None = None) -> Counter[str]:
    """Runs one seed and checks what it left; returns the faults that happened."""
    world = World(seed, makes)
    try:
        world.run()
        check(world)
    except BaseException as fault:
        fault.add_note(f"repeat it with: SIMULATION_SEED={seed} pytest tests/simulation")
        raise
    finally:
        world.scheduler.close()
    seen = world.scheduler.seen
    for shares in world.shares:
        seen.update(shares.seen())
    return seen


@pytest.mark.parametrize("piece", range(PIECES))
def test_nothing_is_lost_or_doubled_under_any_seed(piece: int) -> None:
    if ONE is not None:
        simulate(int(ONE))
        return
    for number in range(piece, SEEDS, PIECES):
        _seen.update(simulate(FROM + number))


def test_every_kind_of_fault_has_happened() -> None:
    if ONE is not None or SEEDS < 1000:
        return
    missing = {kind: (_seen[kind], due) for kind, due in AT_LEAST.items() if _seen[kind] < due}
    assert not missing


def test_a_seed_repeats_itself() -> None:
    assert simulate(FROM) == simulate(FROM)
