"""How long a partition pauses between two cycles: the rule of decision 014.

Pure: what a cycle took is given to it, and it says for how long to gather. Where cycles are cut
does not change what is decided (decision 003), so this may depend on time.
"""

from typing import Final

PERIOD_SECONDS: Final = 0.06
"""From the beginning of one cycle of a partition to that of the next one while cycles are quick. A
record waits half of it on average, and eight partitions are 130 transactions a second: a broker of
one node does some 175."""

PERIOD_SECONDS_WHILE_ASKED: Final = 0.12
"""The same while agents ask for decisions in the same process: at 10,000 records a second half of
what the worker does is transactions, and its owner needs that time. A record is still answered from
its committed entry in less than 300 ms (R1)."""

PAUSE_SECONDS_MIN: Final = 0.01
"""After a slow cycle. Earlier the broker has not written the markers of the last transaction yet,
refuses the next one, and aiokafka asks again only 20 ms later."""


def pause_seconds(
    took_seconds: float,
    *,
    full_cycle_waits: bool,
    pause_seconds_max: float,
    period_seconds: float = PERIOD_SECONDS,
) -> float:
    """How long to gather after a cycle that took so long, from its first record to its commit.

    Nothing where what waits fills a cycle: it could not become larger, and folding it takes longer
    than the broker needs. Otherwise cycles begin `period_seconds` apart as long as they are quicker
    than that, and follow each other after `PAUSE_SECONDS_MIN` where they are not: the slower they
    are, the larger they get by themselves. Never more than `pause_seconds_max`.
    """
    if full_cycle_waits:
        return 0.0
    return min(max(period_seconds - took_seconds, PAUSE_SECONDS_MIN), pause_seconds_max)
