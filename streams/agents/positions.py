"""Where a partition goes on after it was taken over: where its tables are.

Tables and committed offsets are written in one transaction, so they agree; the tables decide,
because the broker forgets the offsets of a group that has been away for a week, and anybody with
Kafka's tools can reset them.
"""

import logging
from collections.abc import Mapping

from streams.domain.context import CatalogView
from streams.domain.generations import start_offset
from streams.domain.state import Progress
from streams.errors import FaultError

log = logging.getLogger(__name__)


def start_positions(
    partition: int, progress: Progress, committed: Mapping[str, int | None], catalog: CatalogView
) -> dict[str, int]:
    """The next offset of each inbound topic, by logical name.

    `committed` are the group's offsets, None where it has none; `catalog` has been read at least as
    far as the tables were decided with. Raises FaultError where the tables and the group contradict
    each other.
    """
    current = catalog.generation
    assert current is not None, "an owner without a generation"
    if progress.generation < current.generation:
        previous = catalog.generation_of(progress.generation)
        log.info("partition %d begins generation %d", partition, current.generation)
        return {
            topic: start_offset(topic, previous, current, progress.consumed.get(topic)) or 0
            for topic in committed
        }
    positions = {}
    for topic, offset in committed.items():
        tables = progress.consumed.get(topic)
        if offset is None and tables:
            log.warning(
                "the group's offset of %s, partition %d, is gone; going on at %d, where the tables "
                "are",
                topic,
                partition,
                tables,
            )
        elif offset is not None and offset != (tables or 0):
            raise FaultError(
                f"{topic}, partition {partition}: the group has committed {offset}, the tables are "
                f"at {tables}",
                action="If somebody reset the group's offsets, delete them: the tables decide. "
                "Else the tables' changelog lost records: restore it, together with the ledger.",
            )
        positions[topic] = tables or 0
    return positions
