"""A worker that dies, or stops folding, around a decision.

    python -m tests.recovery.owner_launcher --at appended --nth 2

`appended`: dies when the n-th append to `preflights` has been acknowledged and nobody was answered
(the first one is the lease). `unfolded`: goes on answering, but the n-th cycle never commits.
`used`: dies when its cycle has folded usage for the n-th time, before it commits.

Everything else is the production process, as in `tests.recovery.launcher`.
"""

import argparse
import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

from schemas.structs import UsageEntry
from streams.cli.main import run
from tests.recovery.launcher import Fuse, Wrapper, after_await, arm


class Stop(Fuse):
    """Waits for ever instead of ending the process."""

    def __init__(self, nth: int) -> None:
        super().__init__(nth, signal.SIGKILL)

    async def wait(self) -> None:
        """The step has been reached."""
        self._left -= 1
        if self._left <= 0:
            await asyncio.Event().wait()


def never_again(fuse: Any, original: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    """From the n-th time on a coroutine does not get anywhere."""

    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        await fuse.wait()
        return await original(*args, **kwargs)

    return wrapped


def after_usage(fuse: Fuse, original: Callable[..., Any]) -> Callable[..., Any]:
    """The step is reached when a fold has made entries of usage."""

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        original(*args, **kwargs)
        if any(isinstance(entry, UsageEntry) for entry in args[0].entries):
            fuse.burn()

    return wrapped


STEPS: Final[dict[str, tuple[str, str, Wrapper]]] = {
    "appended": ("streams.adapters.lease_log:KafkaLeaseLog", "append", after_await),
    "unfolded": ("streams.adapters.log:KafkaCycleLog", "commit", never_again),
    "used": ("streams.agents.cycle", "check_cycle", after_usage),
}


def main() -> int:
    """Arms one step and runs a worker."""
    parser = argparse.ArgumentParser(prog="python -m tests.recovery.owner_launcher")
    parser.add_argument("--at", required=True, choices=tuple(STEPS))
    parser.add_argument("--nth", type=int, default=1, help="the how many-th time it is reached")
    given = parser.parse_args()
    fuse = Stop(given.nth) if given.at == "unfolded" else Fuse(given.nth, signal.SIGKILL)
    arm(*STEPS[given.at], fuse)
    return run(["worker"])


if __name__ == "__main__":
    sys.exit(main())
