"""A worker or sink that kills or pauses itself at a chosen step.

    python -m tests.recovery.launcher worker --at appended --nth 2 --signal STOP

Everything else is the production process: the steps are wrapped from outside, in this process
alone, so production code holds no switch for it. Settings come from the environment, as ever.
"""

import argparse
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

from streams.adapters import log
from streams.cli.main import run

Wrapper = Callable[[Any, Any], Any]


class Fuse:
    """Sends this process the signal when the step is reached for the n-th time."""

    def __init__(self, nth: int, number: int) -> None:
        self._left = nth
        self._signal = number

    def burn(self) -> None:
        """The step has been reached."""
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), self._signal)


def after_call(fuse: Fuse, original: Callable[..., Any]) -> Callable[..., Any]:
    """The step is reached when a call returns."""

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        fuse.burn()
        return result

    return wrapped


def before_await(fuse: Fuse, original: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    """The step is reached when a coroutine begins."""

    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        fuse.burn()
        return await original(*args, **kwargs)

    return wrapped


def after_await(fuse: Fuse, original: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    """The step is reached when a coroutine ends."""

    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = await original(*args, **kwargs)
        fuse.burn()
        return result

    return wrapped


def after_some(fuse: Fuse, original: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    """The step is reached when a coroutine returns something."""

    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = await original(*args, **kwargs)
        if result:
            fuse.burn()
        return result

    return wrapped


def after_produced(fuse: Fuse, original: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    """The step is reached when a batch has been acknowledged by the broker."""

    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        future = await original(*args, **kwargs)
        await future
        fuse.burn()
        return future

    return wrapped


def after_table(table: str) -> Wrapper:
    """The step is reached when rows of one table have been written."""

    def wrapper(fuse: Fuse, original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(self: Any, written: str, *args: Any, **kwargs: Any) -> Any:
            result = original(self, written, *args, **kwargs)
            if written == table:
                fuse.burn()
            return result

        return wrapped

    return wrapper


LOG: Final = "streams.adapters.log:KafkaCycleLog"
CYCLE: Final = "streams.agents.cycle"
PRODUCER: Final = "aiokafka:AIOKafkaProducer"

WORKER_STEPS: Final[dict[str, tuple[str, str, Wrapper]]] = {
    "fenced": (LOG, "fence", after_await),
    "recovering": ("streams.adapters.store:BatchStore", "apply_changelog", after_call),
    "taken": (f"{CYCLE}:PartitionCycle", "run", before_await),
    "decoded": (CYCLE, "decode_records", after_call),
    "loaded": (f"{CYCLE}:PartitionCycle", "_load", after_call),
    "folded": (CYCLE, "check_cycle", after_call),
    "checked": (LOG, "commit", before_await),
    "begun": (PRODUCER, "begin_transaction", after_await),
    "batch": (PRODUCER, "send_batch", after_produced),
    "appended": (PRODUCER, "send_offsets_to_transaction", before_await),
    "offsets": (PRODUCER, "commit_transaction", before_await),
    "committed": (PRODUCER, "commit_transaction", after_await),
    "claims": ("streams.adapters.store:FaustStore", "write", after_table("claims")),
    "accounts": ("streams.adapters.store:FaustStore", "write", after_table("accounts")),
}
"""Where each step of decision 006 is, and what reaching it means."""

PLACES_OF_WORKERS: Final[dict[str, tuple[str, str, Wrapper]]] = WORKER_STEPS | {
    "reading": ("streams.app.taking", "read_tails", before_await),
}
"""With one where nothing has been written since `fenced`, so that only a pause there is new."""

ROWS: Final = "streams.adapters.clickhouse_rows:ClickHouseRows"

SINK_STEPS: Final[dict[str, tuple[str, str, Wrapper]]] = {
    "placed": ("streams.sink.loop", "find_place", after_await),
    "taken": ("streams.adapters.ledger_source:KafkaLog", "take", after_some),
    "inserting": (ROWS, "insert", before_await),
    "inserted": (ROWS, "insert", after_await),
    "marked": (ROWS, "mark", after_await),
    "done": ("streams.adapters.ledger_source:KafkaLog", "done", after_call),
    "hinted": ("streams.adapters.ledger_source:LedgerSource", "_store_hints", after_await),
}
"""The same for the loop of a sink."""


def arm(place: str, name: str, wrapper: Wrapper, fuse: Fuse) -> None:
    """Wraps a function of a module, or a method of a class in it."""
    module_name, _, class_name = place.partition(":")
    module = __import__(module_name, fromlist=["_"])
    owner = getattr(module, class_name) if class_name else module
    setattr(owner, name, wrapper(fuse, getattr(owner, name)))


def main() -> int:
    """Arms one step and runs the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.recovery.launcher")
    parser.add_argument("command", choices=("worker", "sink"))
    parser.add_argument("--at", required=True, help="the step")
    parser.add_argument("--nth", type=int, default=1, help="the how many-th time it is reached")
    parser.add_argument("--signal", choices=("KILL", "STOP"), default="KILL")
    parser.add_argument("--transaction-timeout-ms", type=int, help="shorter than in production")
    given = parser.parse_args()
    if given.transaction_timeout_ms is not None:
        vars(log)["TRANSACTION_TIMEOUT_MS"] = given.transaction_timeout_ms
    steps = PLACES_OF_WORKERS if given.command == "worker" else SINK_STEPS
    if given.at not in steps:
        parser.error(f"--at is one of {', '.join(steps)}")
    fuse = Fuse(given.nth, signal.Signals[f"SIG{given.signal}"])
    arm(*steps[given.at], fuse)
    return run([given.command])


if __name__ == "__main__":
    sys.exit(main())
