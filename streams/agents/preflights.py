"""The owners of all partitions that this process owns, as one desk to ask.

Takes and gives up leases together with the partitions, tells each owner what its cycles committed,
and looks now and then for holds whose time is over. `PreflightOwner` is one of them.
"""

import asyncio
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Final

from schemas.rpc import Answer, Ask, ErrorAnswer, PreflightAnswer, PreflightAsk
from streams.agents.answers import error
from streams.agents.lease import Outcome, Surroundings, Tenure
from streams.agents.owner import PreflightOwner
from streams.domain.context import Context
from streams.domain.facts import SourceRecord
from streams.domain.state import Progress
from streams.errors import FaultError, TransientError
from streams.metrics import Metrics
from streams.metrics.worker import ASKS, DECISION_SECONDS, DECISIONS

log = logging.getLogger(__name__)

ASKED_SECONDS: Final = 1.0
"""How long after the last question it still counts that somebody asks."""

SWEEP_SECONDS: Final = 1.0
"""Between two looks for holds whose time is over."""


class OwnerDesk:
    """All owned partitions. Satisfies the gateway's `Owners` for a gateway in the same process.

    The order of a take: `fence`, tables recovered, `take`, the records to the first cycle. All of
    it belongs to one event loop.
    """

    def __init__(self, around: Surroundings, metrics: Metrics | None = None) -> None:
        self._around = around
        self._metrics = metrics
        self._owners: dict[int, PreflightOwner] = {}
        self._loading = asyncio.Lock()
        self._asked_at = -math.inf

    @property
    def leases(self) -> Mapping[int, Tenure]:
        """The lease of each partition that is ready to answer."""
        return {
            partition: owner.seat.tenure
            for partition, owner in self._owners.items()
            if owner.is_ready and owner.seat is not None
        }

    @property
    def open_holds(self) -> int:
        """Holds that are open in the owned partitions, as committed."""
        seats = (owner.seat for owner in self._owners.values())
        return sum(len(seat.expiries) for seat in seats if seat is not None)

    @property
    def is_asked(self) -> bool:
        """Whether somebody has asked a moment ago."""
        return asyncio.get_running_loop().time() - self._asked_at < ASKED_SECONDS

    async def fence(self, partitions: Sequence[int]) -> None:
        """Takes the producers of these partitions, all at once, before anything is read."""
        await self.release()
        await asyncio.gather(*(self._around.log.fence(partition) for partition in partitions))

    async def take(
        self, partition: int, progress: Progress, context: Context
    ) -> list[SourceRecord]:
        """Takes the lease of a fenced partition whose tables are recovered.

        Returns the records of `preflights` that its first cycles fold, the lease last: they go into
        the inbox before anything is delivered. Takes of several partitions may run at once. Raises
        FaultError.
        """
        owner = PreflightOwner(partition, self._around, self._loading)
        self._owners[partition] = owner
        return await owner.take(progress, context)

    async def release(self) -> None:
        """Gives all partitions up. Their running cycles have ended."""
        owners, self._owners = self._owners, {}
        await asyncio.gather(*(owner.give_up() for owner in owners.values()))
        await self._around.log.release()

    def committed(self, partition: int, outcome: Outcome) -> None:
        """A cycle has committed and its rows are written: in the same step, without an await
        between."""
        owner = self._owners.get(partition)
        if owner is not None:
            owner.committed(outcome)

    async def ask(self, partition: int, ask: Ask, timeout_seconds: float) -> Answer:
        """The answer of the partition's owner; `not_mine` where that is not this process."""
        owner = self._owners.get(partition)
        if owner is None:
            return error("not_mine")
        loop = asyncio.get_running_loop()
        self._asked_at = began = loop.time()
        try:
            answer = await owner.answer(ask, timeout_seconds)
        except (FaultError, TransientError) as fault:
            # Of a lookup: whatever fails while a group is decided ends the process.
            log.warning("partition %d: an ask has no answer: %s", partition, fault.message)
            answer = error("not_ready")
        if self._metrics is not None:
            _count(self._metrics, ask, answer, loop.time() - began)
        return answer

    async def sweep(self) -> None:
        """Lets every owner do what time has made due, side by side: one whose partition cannot be
        read, or has just gone to somebody else, holds up none of the others."""
        sweeps = (self._sweep(partition, owner) for partition, owner in self._owners.items())
        await asyncio.gather(*sweeps)

    async def _sweep(self, partition: int, owner: PreflightOwner) -> None:
        try:
            await owner.sweep()
        except TransientError as fault:
            log.warning("partition %d: what is due comes later: %s", partition, fault.message)

    async def run(self) -> None:
        """Sweeps until it is cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            await self.sweep()


def _count(metrics: Metrics, ask: Ask, answer: Answer, seconds: float) -> None:
    """Decisions by outcome and with their time; other asks by kind."""
    if not isinstance(ask, PreflightAsk):
        metrics.add(ASKS, type(ask).__name__.removesuffix("Ask").lower())
        return
    if isinstance(answer, PreflightAnswer):
        metrics.add(DECISIONS, "approved" if answer.approved else answer.reason)
        metrics.observe(DECISION_SECONDS, seconds)
    elif isinstance(answer, ErrorAnswer):
        metrics.add(DECISIONS, answer.code)


__all__ = ["OwnerDesk", "PreflightOwner"]
