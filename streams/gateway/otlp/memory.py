"""What a gateway remembers from one export to the next, bounded and never needed: which traces it
has told the customer of, and which spans hold calls that were counted.

SDKs export a span when it ends, so that a call may come in one request and the span around it in a
later one. Another gateway does not know what this one remembers.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final
from weakref import WeakKeyDictionary

from streams.gateway.asking import Asking
from streams.gateway.otlp.limits import BOUND_TRACES_MAX, HOLDING_SPANS_MAX

Place = tuple[str, str]
"""A trace, and a span or a customer of it."""


class Remembered:
    """Places that were seen lately: of more than `places_max` the oldest are forgotten."""

    def __init__(self, places_max: int) -> None:
        self._places: OrderedDict[Place, None] = OrderedDict()
        self._places_max = places_max

    def __contains__(self, place: Place) -> bool:
        return place in self._places

    def __len__(self) -> int:
        return len(self._places)

    def remember(self, places: Iterable[Place]) -> None:
        """They were seen now."""
        for place in places:
            self._places[place] = None
            self._places.move_to_end(place)
        while len(self._places) > self._places_max:
            self._places.popitem(last=False)


class Memory:
    """Of one gateway."""

    def __init__(self) -> None:
        self.bound = Remembered(BOUND_TRACES_MAX)
        """Traces and customers that stand in the log as bindings."""
        self.holding = Remembered(HOLDING_SPANS_MAX)
        """Spans inside which something was counted."""


_memories: Final[WeakKeyDictionary[Asking, Memory]] = WeakKeyDictionary()
"""Of each gateway of the process, found by the one thing that it alone has."""


def memory_of(asking: Asking) -> Memory:
    """What the gateway with this `Asking` remembers."""
    found = _memories.get(asking)
    if found is None:
        found = _memories[asking] = Memory()
    return found
