"""A worker that loses what it fetches, as rebalances and seeks can do: of three answers that bring
something, one is thrown away after it was unpacked, and of one only the later half arrives.

    python -m tests.recovery.losing_launcher

Everything else is the production process, as in `tests.recovery.launcher`.
"""

import sys
from typing import Any

from streams.adapters.faust_batches import BatchThread
from streams.adapters.whole_batches import Run
from streams.cli.main import run


def later_half(whole: Run) -> Run:
    """As if a fetch had brought the earlier half, and that had been lost."""
    records = whole.records[len(whole.records) // 2 :]
    return Run(records[0].offset, records)


def lose() -> None:
    """From now on this process loses what it fetches."""
    fetch = BatchThread._fetch_records
    answers = 0

    async def losing(*args: Any, **kwargs: Any) -> Any:
        nonlocal answers
        runs = await fetch(*args, **kwargs)
        if not runs:
            return runs
        answers += 1
        match answers % 3:
            case 1:
                return {tp: later_half(whole) for tp, whole in runs.items()}
            case 2:
                return {}
        return runs

    BatchThread._fetch_records = losing  # type: ignore[method-assign]


if __name__ == "__main__":
    lose()
    sys.exit(run(["worker"]))
