"""Two owners of one partition alive at once, under many seeds: nothing that was answered is void,
nothing is overspent.

    HANDOVER_SEED=123 pytest tests/simulation/test_handovers.py       one seed again
    HANDOVER_SEEDS=20000 pytest tests/simulation/test_handovers.py    many more
"""

import asyncio
import os
from collections import Counter
from collections.abc import Sequence
from typing import Final

import pytest

from streams.domain.facts import SourceRecord
from streams.ports import Appended
from tests.owned import PARTITION
from tests.property.seed import SEED
from tests.simulation.handovers import SimulatedLeaseLog, SimulatedOwner, World, check

SEEDS: Final = int(os.environ.get("HANDOVER_SEEDS", "1000"))
FROM: Final = int(os.environ.get("HANDOVER_FROM", SEED))
ONE: Final = os.environ.get("HANDOVER_SEED")
PIECES: Final = 5
BROKEN_SEEDS_MAX: Final = 200

AT_LEAST: Final = {
    "fenced: hand-overs": 1_000,
    "fenced: answered": 4_000,
    "fenced: approved": 3_000,
    "fenced: refused by the broker": 500,
    "fenced: paused at decided": 100,
    "fenced: paused at appended": 100,
    "fenced: paused at lease appended": 50,
    "fenced: paused at committed": 100,
    "fenced: killed": 300,
    "fenced: arrives after its sender's death": 100,
    "fenced: answer lost": 20,
    "fenced: releases told": 50,
    "unfenced: answered": 2_000,
    "unfenced: void records": 500,
}
"""What 1,000 seeds must have seen: else they test nothing."""

_seen: Counter[str] = Counter()


class UnfencedLog(SimulatedLeaseLog):
    """A broker that has forgotten the epochs, as it does after a day without an append."""

    fenced = False


class UnfencedOwner(SimulatedOwner):
    log = UnfencedLog


class BelievingLog(UnfencedLog):
    """A log that always answers what is expected: the owner's offset check sees nothing."""

    due = -1

    async def append(
        self, partition: int, records: Sequence[tuple[bytes | None, bytes]]
    ) -> Appended:
        appended = await super().append(partition, records)
        if records[0][0] is None:
            self.due = appended.base_offset
        told = Appended(self.due, appended.appended_at_us)
        self.due += len(records)
        return told


class BelievingOwner(SimulatedOwner):
    log = BelievingLog


class HastyOwner(SimulatedOwner):
    """An owner that answers before its lease is folded."""

    async def lease(self) -> "HastyOwner":
        await super().lease()
        owner = self.desk._owners[PARTITION]
        owner._ready = True
        return self


class ForgetfulOwner(SimulatedOwner):
    """An owner whose holds count with their cycle, not with their append."""

    def _hand_over(self, partition: int, records: Sequence[SourceRecord]) -> None:
        super()._hand_over(partition, records)
        seat = self.desk._owners[PARTITION]._seat
        assert seat is not None
        seat.overlay.trim(seat.next_offset)


def simulate(seed: int, make: type[SimulatedOwner] = SimulatedOwner) -> Counter[str]:
    """Runs one seed and checks what was answered; returns what happened."""
    world = World(seed, make)
    try:
        asyncio.run(world.run())
        reader = check(world.log, world.told, world.released, world.books)
    except BaseException as fault:
        fault.add_note(f"repeat it with: HANDOVER_SEED={seed} pytest {__file__}")
        raise
    seen = world.points.seen
    seen["answered"] += len(world.told)
    seen["approved"] += sum(told.answer.approved for told in world.told)
    seen["void records"] += len(reader.void)
    seen["releases told"] += len(world.released)
    return seen


@pytest.mark.parametrize("make", [SimulatedOwner, UnfencedOwner])
@pytest.mark.parametrize("piece", range(PIECES))
def test_no_answer_is_void_and_nothing_is_overspent(piece: int, make: type[SimulatedOwner]) -> None:
    if ONE is not None:
        simulate(int(ONE), make)
        return
    kind = "fenced" if make is SimulatedOwner else "unfenced"
    for number in range(piece, SEEDS // 2, PIECES):
        for name, count in simulate(FROM + number, make).items():
            _seen[f"{kind}: {name}"] += count


def test_every_kind_of_trouble_has_happened() -> None:
    if ONE is not None or SEEDS < 1_000:
        return
    missing = {kind: (_seen[kind], due) for kind, due in AT_LEAST.items() if _seen[kind] < due}
    assert not missing
    assert _seen["fenced: void records"] == 0, "behind a fence nothing void is ever appended"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (BelievingOwner, "its decision is void"),
        (HastyOwner, "overspent|spent|another hold|decided twice"),
        (ForgetfulOwner, "overspent|another hold|decided twice"),
    ],
)
def test_an_owner_with_one_promise_broken_is_found(
    make: type[SimulatedOwner], message: str
) -> None:
    with pytest.raises(AssertionError, match=message):
        search(make)


def search(make: type[SimulatedOwner]) -> None:
    """Runs seeds until one complains."""
    for seed in range(BROKEN_SEEDS_MAX):
        simulate(seed, make)


def test_a_seed_repeats_itself() -> None:
    assert simulate(FROM) == simulate(FROM)
