"""When refusals look like our own fault (K2): a bad release must not reroute everybody's records.

Counts `internal` refusals alone. Whatever a producer got wrong has another code and stops nobody.
"""

import logging
from collections import deque
from collections.abc import Sequence
from typing import Final

from schemas.errors import RejectCode
from streams.domain.facts import Fact, Rejected, customer_of, task_of
from streams.errors import FaultError

log = logging.getLogger(__name__)

WINDOW_RECORDS: Final = 1_000
"""The latest records of a partition among which internal refusals are counted, in whole cycles: a
few seconds of a busy partition, so that old troubles are forgotten and a new release is judged by
what it does itself."""

INTERNAL_REFUSALS_MAX: Final = 20
"""Internal refusals in the window with which a worker still goes on: 2 % of it. Each of them waits
to be replayed, and a person can look at that many."""

STRICKEN_MAX: Final = 4
"""Customers with a source that internal refusals may strike before the worker stops. One odd
producer, or one customer whose account our code stumbles over, must not stop all the others; five
have nothing in common but us."""

LINES_MAX: Final = 20
"""Lines about single records in the log for one cycle; the dead letters name all of them."""

Stricken = tuple[str, str]
"""Whose record it was: customer and source, or the key where it could not be read."""


class RefusalShare:
    """The window of one partition. Made anew at every take of it: nothing here is remembered."""

    def __init__(self, partition: int) -> None:
        self._partition = partition
        self._cycles: deque[tuple[int, list[Stricken]]] = deque()
        self._records = 0

    def check(self, facts: Sequence[Fact | Rejected], rejected: Sequence[Rejected]) -> None:
        """Takes a folded cycle into the window, and logs the internal refusals in it.

        Raises FaultError, before anything of the cycle is committed, where the refusals look like
        our own fault.
        """
        found = [one for one in rejected if one.code is RejectCode.INTERNAL]
        for one in found[:LINES_MAX]:
            log.warning(
                "partition %d: the record at offset %d of %s became a dead letter: %s",
                self._partition,
                one.record.offset,
                one.record.topic,
                one.reason,
            )
        if len(found) > LINES_MAX:
            log.warning("partition %d: and %s more", self._partition, f"{len(found) - LINES_MAX:,}")
        self._cycles.append((len(facts), _stricken(facts, found) if found else []))
        self._records += len(facts)
        while self._records - self._cycles[0][0] >= WINDOW_RECORDS:
            self._records -= self._cycles.popleft()[0]
        inside = [one for _, cycle in self._cycles for one in cycle]
        # A cycle without any only lets older ones go.
        if found and len(inside) > INTERNAL_REFUSALS_MAX and len(set(inside)) > STRICKEN_MAX:
            raise FaultError(
                f"partition {self._partition}: our own code stumbled over {len(inside)} of the "
                f"last {self._records} records, of {len(set(inside))} customers; the last one: "
                f"{found[-1].reason}",
                action="Nothing of this cycle was committed. Go back to the release before, or "
                "mend this one, and start the worker again; then replay what had become a dead "
                "letter: tollgate dead-letters replay --code internal.",
            )


def _stricken(facts: Sequence[Fact | Rejected], found: Sequence[Rejected]) -> list[Stricken]:
    places = {(one.record.topic, one.record.offset) for one in found}
    stricken = []
    for fact in facts:
        if (fact.record.topic, fact.record.offset) in places:
            if isinstance(fact, Rejected):
                stricken.append(("", (fact.record.key or b"").hex()))
            else:
                account = customer_of(fact) or task_of(fact) or ""
                stricken.append((account, getattr(fact.body, "source", fact.record.topic)))
    return stricken
