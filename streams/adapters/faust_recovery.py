"""Faust's recovery of tables, fed by whole runs and aware of markers (decision 005).

Faust keeps its phases: the tables that are owned here are read up to the high watermark, then those
of standbys are followed. Which records arrive is decided in `faust_batches`.

Uses names of Faust 0.15.3 that are not public (tests/guard/test_private_names.py).
"""

from collections import Counter
from typing import Any, Protocol, cast

from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.types import TP
from mode import Service


class Reading(Protocol):
    """What a recovery asks whoever reads the changelogs."""

    def shows_nothing(self, tp: TP, first: int, last: int) -> bool:
        """Whether it has been read that the log shows no record from `first` to `last`."""
        ...


class BatchRecovery(Recovery):
    """Faust's table recovery, fed by whole batches and aware of markers."""

    @Service.task
    async def _slurp_changelogs(self) -> None:
        """Faust reads changelog messages from a queue here; batches never go through it."""

    _knows_its_end = False
    """Whether the high watermarks and offsets of own tables are those of the present assignment:
    until they are, those of the last one, which is complete, say nothing about this one."""

    async def on_rebalance(self, *args: Any, **kwargs: Any) -> None:
        """A new assignment: an end signalled for the last one must not end this one."""
        self._knows_its_end = False
        self.signal_recovery_end.clear()
        await super().on_rebalance(*args, **kwargs)

    async def _seek_offsets(
        self, consumer: Any, tps: set[TP], offsets: Counter[TP], title: str
    ) -> None:
        """The last step before own tables are read."""
        await super()._seek_offsets(consumer, tps, offsets, title)
        if title == "active" and not self.signal_recovery_start.is_set():
            self.signal_recovery_end.clear()
            self._knows_its_end = True

    async def _build_highwaters(
        self, consumer: Any, tps: set[TP], destination: Any, title: str
    ) -> None:
        """A store that is ahead of its changelog holds what never was committed, or belongs to
        another topic: it is set aside and read anew. Faust would stop for ever."""
        standby = title == "standby"
        if not standby:
            self._knows_its_end = False
        await super()._build_highwaters(consumer, tps, destination, title)
        offsets = self.standby_offsets if standby else self.active_offsets
        for tp in sorted(tps):
            offset = offsets.get(tp)
            if offset is None or offset <= destination[tp]:
                continue
            table = cast(Any, self.tables._changelogs[tp.topic])
            table.data.set_aside(
                tp.partition,
                f"it is at offset {offset} of {tp.topic}, which ends at {destination[tp]}",
            )
            offsets[tp] = -1
            if standby:  # Those have been sought already.
                await self._seek_offsets(consumer, {tp}, offsets, title)

    def _following(self, tp: TP) -> Counter[TP] | None:
        """Where the offset of a changelog that is read now is kept. That of an own table is read in
        a recovery only: later its records are our own."""
        if tp in self.active_tps:
            return self.active_offsets if self.in_recovery else None
        return self.standby_offsets if tp in self.standby_tps else None

    def applied(self, tp: TP) -> int | None:
        """The offset of the last changelog record applied, -1 before the first; None for a
        partition whose changelog is not read here now."""
        offsets = self._following(tp)
        if offsets is None:
            return None
        offset = offsets.get(tp)
        return -1 if offset is None else offset

    def apply(self, tp: TP, batch: list[Any]) -> None:
        """Applies records of a changelog that `applied` says is read, straight to its store."""
        offsets = self._following(tp)
        assert offsets is not None, f"the changelog of {tp} is not read now"
        table = cast(Any, self.tables._changelogs[tp.topic])
        table.data.apply_changelog(tp.partition, batch)
        offsets[tp] = batch[-1].offset
        self._maybe_end()

    def pass_markers(self, thread: Reading) -> None:
        """Counts the end of a changelog as applied where nothing but markers is left to read there,
        and ends the recovery when nothing else is."""
        if not self.in_recovery or not self._knows_its_end:
            return
        for tp, highwater in self.active_highwaters.items():
            offset = self.active_offsets.get(tp)
            if (
                offset is not None
                and offset < highwater
                and thread.shows_nothing(tp, offset + 1, highwater)
            ):
                self.active_offsets[tp] = highwater
        self._maybe_end()

    def _maybe_end(self) -> None:
        known = self._knows_its_end and bool(self.active_highwaters)
        if self.in_recovery and known and not self.need_recovery():
            self._set_recovery_ended()
            self.signal_recovery_end.set()


class BatchTableManager(TableManager):
    """Faust's table manager with the recovery above."""

    @property
    def recovery(self) -> BatchRecovery:
        """The recovery service, made once."""
        if self._recovery is None:
            self._recovery = BatchRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return cast(BatchRecovery, self._recovery)
