"""When Python looks for cycles of garbage in a process that answers: hardly ever.

Neither records and facts nor requests leave cycles behind, and a look through them takes
milliseconds in which nobody is answered.
"""

import gc
from typing import Final

GARBAGE_THRESHOLDS: Final = (100_000, 50, 1_000)
"""Python's own 700 new objects are two hundred events; a hundred thousand are some thirty
thousand."""


def look_for_garbage_seldom() -> None:
    """Called once everything is loaded: that lives for ever and is not looked through again.

    Looking through it and through what waits in the inboxes took a fifth of a worker's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
