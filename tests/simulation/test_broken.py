"""The simulation can fail: an installation with one promise broken is found within a few seeds."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pytest

from schemas.topics import ACCOUNTS_CHANGELOG, CLAIMS_CHANGELOG
from streams.ports import Appends, Changes, Table
from tests.simulation.broker import SimulatedLog, Stored
from tests.simulation.sinks import SimulatedRows
from tests.simulation.test_simulation import simulate
from tests.simulation.workers import Disk, Process
from tests.simulation.world import Makes

SEEDS_MAX: Final = 150


class NoFence(SimulatedLog):
    """A log that lets former owners write."""

    def is_fenced(self, partition: int) -> bool:
        return False


class OffsetsApart(SimulatedLog):
    """Offsets are committed after the transaction, by a call that may not happen."""

    async def commit(
        self, partition: int, appends: Sequence[Appends], offsets: Mapping[str, int]
    ) -> dict[str, int]:
        last = await super().commit(partition, appends, {})
        await self._scheduler.point("offsets apart")
        for topic, offset in offsets.items():
            self._broker.offsets[topic, partition] = offset
        return last


class NoTransaction(SimulatedLog):
    """Records are seen as soon as they are appended."""

    async def commit(
        self, partition: int, appends: Sequence[Appends], offsets: Mapping[str, int]
    ) -> dict[str, int]:
        last = {}
        for append in appends:
            await self._scheduler.point("append")
            log = self._broker.logs[append.topic, partition]
            log += [Stored(k, v, self._broker.now_us) for k, v in append.records]
            last[append.topic] = len(log) - 1
        for topic, offset in offsets.items():
            self._broker.offsets[topic, partition] = offset
        return last


class ForgetsClaims(Disk):
    """A store that says its claims are complete, and has not written them."""

    def write(self, table: Table, partition: int, changes: Changes) -> None:
        if table is Table.CLAIMS:
            changes = Changes([], changes.changelog_offset)
        super().write(table, partition, changes)


class NoClaimsRecovered(Process):
    """A worker that recovers one table only."""

    async def recover(self, table: Table, changelog: str, partition: int) -> None:
        if changelog != CLAIMS_CHANGELOG.name:
            await super().recover(table, changelog, partition)


class StoredBeforeCommit(SimulatedLog):
    """The tables are changed before the commit."""

    disk: Any = None

    async def commit(
        self, partition: int, appends: Sequence[Appends], offsets: Mapping[str, int]
    ) -> dict[str, int]:
        ends = {a.topic: len(self._broker.logs[a.topic, partition]) for a in appends}
        for append in appends:
            if append.topic == ACCOUNTS_CHANGELOG.name:
                rows = [(key or b"", value) for key, value in append.records]
                at = ends[append.topic] + len(rows) - 1
                self.disk.write(Table.ACCOUNTS, partition, Changes(rows, at))
        return await super().commit(partition, appends, offsets)


class HastyProcess(Process):
    """A worker whose log has its disk."""

    async def run(self) -> None:
        StoredBeforeCommit.disk = self.disk
        await super().run()

    async def one_cycle(self, partition: int, cycle: Any, positions: dict[str, int]) -> None:
        StoredBeforeCommit.disk = self.disk
        await super().one_cycle(partition, cycle, positions)


class ReadsBeforeFence(Process):
    """A worker that recovers first and fences when it is done."""

    async def take_over(self, follower: Any) -> Any:
        await self.recover_all()
        await self.log.fence(self.owned)
        return await self.place(follower)


class NoToken(SimulatedRows):
    """A table that inserts the same twice."""

    def write(self, rows: list[bytes], token: tuple[str, int, int, int], body: bytes) -> None:
        rows += body.rstrip(b"\n").split(b"\n")


BROKEN: Final = {
    "former owners may write": Makes(log=NoFence),
    "offsets outside the transaction": Makes(log=OffsetsApart),
    "no transaction": Makes(log=NoTransaction),
    "claims not stored": Makes(disk=ForgetsClaims),
    "claims not recovered": Makes(process=NoClaimsRecovered),
    "tables changed before the commit": Makes(log=StoredBeforeCommit, process=HastyProcess),
    "recovered before the fence": Makes(process=ReadsBeforeFence),
    "inserts without a token": Makes(rows=NoToken),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_promise_is_found(what: str) -> None:
    with pytest.raises(AssertionError):
        search(BROKEN[what])


def search(makes: Makes) -> None:
    """Runs seeds until one complains."""
    for seed in range(SEEDS_MAX):
        simulate(seed, makes)
