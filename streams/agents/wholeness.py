"""Whether the last transaction of a partition is whole: all of its topics end with the same cycle.

A transaction is all or nothing, unless the broker loses its markers in one topic and not in another
(decision 006). An owner that went on would build on a ledger that the tables do not know, or forget
claims; so it looks before it reads, and stops.
"""

from collections.abc import Mapping
from typing import Final, Protocol

from schemas import codec
from schemas.topics import (
    ACCOUNTS_CHANGELOG,
    ATTRIBUTIONS,
    CLAIMS_CHANGELOG,
    DEAD_LETTERS,
    LEDGER,
)
from streams.domain.context import RULES_VERSION
from streams.domain.state import ROWS_VERSION, Progress
from streams.errors import FaultError
from streams.ports import Table

CHANGELOGS: Final = {
    Table.ACCOUNTS: ACCOUNTS_CHANGELOG.name,
    Table.CLAIMS: CLAIMS_CHANGELOG.name,
}
"""Where each table is recovered from, by logical name."""

TAILS: Final = (LEDGER.name, ATTRIBUTIONS.name, DEAD_LETTERS.name, *CHANGELOGS.values())
"""The topics of a transaction, by logical name."""


class End(Protocol):
    """How a partition of a topic ends; see `streams.adapters.tails.Tail`."""

    @property
    def key(self) -> bytes | None:
        """Key of the last committed record."""
        ...

    @property
    def value(self) -> bytes | None:
        """Its value; None where there is no record."""
        ...

    @property
    def offset(self) -> int | None:
        """Its offset; None where there is no record."""
        ...

    @property
    def cut(self) -> bool:
        """Whether retention has deleted from the beginning."""
        ...


def check_versions(partition: int, progress: Progress) -> None:
    """Raises FaultError where a newer release has decided or written this partition: this one would
    decide otherwise, or lose what it cannot read."""
    for what, found, known in (
        ("decided by version {} of the rules", progress.rules_version, RULES_VERSION),
        ("written as version {} of the rows", progress.rows_version, ROWS_VERSION),
    ):
        if found > known:
            raise FaultError(
                f"partition {partition} was last {what.format(found)}, this release has version "
                f"{known}",
                action="A newer release of Tollgate has worked here: run that one, or a newer one. "
                "Nothing was read or written. To go back, restore a backup from before the upgrade "
                "(docs/upgrades.md).",
            )


def check_recovered(
    partition: int, offsets: Mapping[Table, int | None], ends: Mapping[str, End]
) -> None:
    """Compares where the tables are in their changelogs with how these end, by logical topic: a
    table without its last rows would accept again what it has accepted. Raises FaultError."""
    for table, topic in CHANGELOGS.items():
        offset, end = offsets[table], ends[topic].offset
        if end is not None and (offset is None or offset < end):
            raise FaultError(
                f"partition {partition}: the table behind {topic} has it up to offset {offset}, "
                f"the topic goes up to {end}",
                action="Its recovery has ended too early, or somebody else wrote to the topic. "
                "Nothing was read or written. Start the worker again; where it ends like this "
                "again, set its state directory aside, and it is built anew from the topic.",
            )


def check_whole(partition: int, progress: Progress, ends: Mapping[str, End]) -> None:
    """Compares how the other topics of a transaction end with what the recovered tables say.

    `ends` go by logical topic. Raises FaultError naming the first topic that differs.
    """
    for topic, following in (
        (LEDGER.name, progress.next_sequence),
        (ATTRIBUTIONS.name, progress.next_attribution),
        (DEAD_LETTERS.name, progress.next_dead_letter),
    ):
        found = _sequence_after(ends[topic], progress.generation)
        if found != following:
            raise _torn(partition, topic, f"goes on with sequence {found}", f"with {following}")
    claims = ends[CLAIMS_CHANGELOG.name]
    last = (claims.key or b"").decode("utf-8", "replace")
    if last != progress.claims_segment and not (claims.value is None and claims.cut):
        due = progress.claims_segment or "none"
        raise _torn(partition, CLAIMS_CHANGELOG.name, f"ends with segment {last or 'none'}", due)


def _sequence_after(end: End, generation: int) -> int:
    """The sequence that follows in a generation: 0 where the topic holds nothing of it."""
    if end.value is None:
        return 0
    try:
        mark = codec.decode_mark(end.value)
    except ValueError:
        return -1
    return mark.sequence + 1 if mark.generation >= generation else 0


def _torn(partition: int, topic: str, found: str, due: str) -> FaultError:
    return FaultError(
        f"partition {partition}: {topic} {found}, the tables say {due}",
        action="The last transaction is not whole, or somebody else wrote to the topic. Nothing "
        "was read or written. Run `tollgate audit`, keep the broker's log, and restore the topics "
        "of this partition to one point in time.",
    )
