"""What `faust_batches` needs from whoever owns the partitions: the worker, or a test."""

from typing import Any, Protocol

from faust.types import TP


class BatchOwner(Protocol):
    """What this adapter needs from `streams.agents.ownership` and the log."""

    async def fence(self, partitions: list[int]) -> None:
        """Before anything of a new assignment is read."""
        ...

    async def release(self) -> None:
        """After the last cycle of a revoked assignment."""
        ...

    async def quiesce(self) -> None:
        """Drops what waits and returns when no cycle runs."""
        ...

    async def take_over(self, committed: dict[int, dict[str, int | None]]) -> dict[TP, int] | None:
        """Owns these partitions, whose group has committed these offsets, by full topic name.

        The tables are recovered by now. Returns where each topic goes on; None where the assignment
        was over before it was owned.
        """
        ...

    async def deliver(self, topic: str, partition: int, to_offset: int, records: list[Any]) -> None:
        """The next records of one topic, up to `to_offset`."""
        ...
