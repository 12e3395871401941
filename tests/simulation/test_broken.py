"""The simulation can fail: an installation with one promise broken is found within a few seeds."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pytest

from schemas.topics import ACCOUNTS_CHANGELOG, ATTRIBUTIONS, CLAIMS_CHANGELOG, SIGNALS, USAGE
from streams.domain.windows import CLOSING, KEEPING, ROW_PREFIX
from streams.ports import Appends, Changes, Table
from tests.simulation.broker import SimulatedLog, Stored
from tests.simulation.sinks import SimulatedRows
from tests.simulation.test_simulation import simulate
from tests.simulation.workers import Disk, Process
from tests.simulation.world import Makes

SEEDS_MAX: Final = 150
FORWARDED: Final = (SIGNALS.name, USAGE.name)
WINDOWS: Final = (ROW_PREFIX.encode(), CLOSING.encode(), KEEPING.encode())
"""Before the keys of rows that are windows, or lists of them."""


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


class ForgetsWindows(Disk):
    """A store that leaves out the windows of one cycle."""

    left = 3

    def write(self, table: Table, partition: int, changes: Changes) -> None:
        rows = [row for row in changes.rows if not row[0].startswith(WINDOWS)]
        if table is Table.ACCOUNTS and len(rows) < len(changes.rows):
            self.left -= 1
            if not self.left:
                changes = Changes(rows, changes.changelog_offset)
        super().write(table, partition, changes)


class NoWindowsRecovered(Process):
    """A worker that recovers accounts without their windows."""

    async def recover(self, table: Table, changelog: str, partition: int) -> None:
        await super().recover(table, changelog, partition)
        rows = self.disk.content(partition)[0]
        gone: list[tuple[bytes, bytes | None]] = [(k, None) for k in rows if k.startswith(WINDOWS)]
        if table is Table.ACCOUNTS and gone:
            offset = self.disk.changelog_offsets[table, partition]
            self.disk.write(table, partition, Changes(gone, offset))


class LosesAttributions(SimulatedLog):
    """A log that drops the attributions of a cycle now and then."""

    async def commit(
        self, partition: int, appends: Sequence[Appends], offsets: Mapping[str, int]
    ) -> dict[str, int]:
        if self._scheduler.chance.random() < 0.1:
            appends = [append for append in appends if append.topic != ATTRIBUTIONS.name]
        return await super().commit(partition, appends, offsets)


class LosesForwards(SimulatedLog):
    """A log that drops what a cycle passes on now and then."""

    async def commit(
        self, partition: int, appends: Sequence[Appends], offsets: Mapping[str, int]
    ) -> dict[str, int]:
        if self._scheduler.chance.random() < 0.1:
            appends = [append for append in appends if append.topic not in FORWARDED]
        return await super().commit(partition, appends, offsets)


class AttributionsApart(SimulatedLog):
    """Attributions are seen as soon as they are appended; the rest of their cycle may never be."""

    async def commit(
        self, partition: int, appends: Sequence[Appends], offsets: Mapping[str, int]
    ) -> dict[str, int]:
        self._check(partition)
        log = self._broker.logs[ATTRIBUTIONS.name, partition]
        for append in appends:
            if append.topic == ATTRIBUTIONS.name:
                log += [Stored(k, v, self._broker.now_us) for k, v in append.records]
        await self._scheduler.point("attributions apart")
        rest = [append for append in appends if append.topic != ATTRIBUTIONS.name]
        return await super().commit(partition, rest, offsets)


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
    "what is passed on is lost": Makes(log=LosesForwards),
}


BROKEN_SHARES: Final = {
    "windows of a cycle not stored": (
        Makes(disk=ForgetsWindows),
        "windows differ|segment .* missing|the audit finds",
    ),
    "windows not recovered": (Makes(process=NoWindowsRecovered), "a recovered table's windows"),
    "attributions lost": (
        Makes(log=LosesAttributions),
        "other attributions|no cycle counts|the log goes on with sequence|attributions, record",
    ),
    "attributions outside the transaction": (
        Makes(log=AttributionsApart),
        "other attributions|no cycle counts",
    ),
}
"""The same of trace windows and their rows, and what the checks say."""


@pytest.mark.parametrize("what", BROKEN_SHARES)
def test_a_share_that_is_lost_or_doubled_is_found(what: str) -> None:
    makes, message = BROKEN_SHARES[what]
    with pytest.raises(AssertionError, match=message):
        search(makes)


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_promise_is_found(what: str) -> None:
    with pytest.raises(AssertionError):
        search(BROKEN[what])


def search(makes: Makes) -> None:
    """Runs seeds until one complains."""
    for seed in range(SEEDS_MAX):
        simulate(seed, makes)
