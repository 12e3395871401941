"""What time makes due for an owner: the ends of holds, and ticks.

A tick lets time pass while trace windows wait to close and no event moves the watermark (D6), and
where the time of events is over that wait for a customer: a record that says what time it was and
how far the topics went then, and acts once everything before that is folded. Closing a window early
or late changes no sum.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from schemas.topics import UNASSIGNED, USAGE
from streams.agents.expiries import Deadline
from streams.agents.lease import Surroundings
from streams.agents.seat import Seat
from streams.domain.context import Context
from streams.domain.state import Progress

PAUSE_US_MIN: Final = 1_000_000
PAUSE_US_MAX: Final = 10_000_000
"""Between two ticks: a window of an idle partition closes so much later at the most, and for a few
minutes after the last event there are so few cycles for nothing."""


@dataclass(frozen=True, slots=True)
class Passing:
    """It is this time; `ends` are those of `usage` and `unassigned` as they were read after it."""

    now_us: int
    ends: Mapping[str, int]


def is_tick_due(progress: Progress, context: Context, ticked_us: int, now_us: int) -> bool:
    """Whether windows wait and the watermark has stood still, or the time of waiting events is
    over. `ticked_us` is the time of the last tick, which may not have been folded yet."""
    over = progress.waiting_due_us and progress.waiting_due_us <= now_us
    if over and now_us - max(progress.unassigned_us, ticked_us) >= PAUSE_US_MAX:
        return True
    if progress.closing_from == progress.closing_to:
        return False
    pause_us = min(max(context.quiet_us // 4, PAUSE_US_MIN), PAUSE_US_MAX)
    return now_us - max(progress.event_time_us, ticked_us) >= pause_us


async def what_is_due(
    seat: Seat, around: Surroundings, context: Context, now_us: int
) -> list[Deadline | Passing]:
    """What an owner has to append now. Raises TransientError where the ends of topics cannot
    be read."""
    folded = seat.progress.consumed.get(USAGE.name, 0)
    due: list[Deadline | Passing] = []
    expiries = seat.expiries
    if expiries.is_loaded:
        if expiries.barrier is None and expiries.is_due(now_us):
            expiries.set_barrier(now_us, await around.log.usage_end(seat.partition))
        due += expiries.pass_barrier(folded)
    idle = around.waiting_since_us(seat.partition) is None
    if idle and is_tick_due(seat.progress, context, seat.ticked_us, now_us):
        ends = {
            USAGE.name: await around.log.usage_end(seat.partition),
            UNASSIGNED.name: await around.log.unassigned_end(seat.partition),
        }
        if all(seat.progress.consumed.get(topic, 0) >= end for topic, end in ends.items()):
            seat.ticked_us = now_us
            due.append(Passing(now_us, ends))
    return due
