"""`orjson.loads` alone over the same values in memory: how fast this core is at this moment.

Everything else is told as a multiple of it, because the multiple stays the same on a slower core.
Results are dropped at once: keeping them would measure the garbage collector.
"""

import json
import sys
import time

import orjson

from streams.bench.contenders.told import told_workload
from streams.bench.events import Expected, bench_records

PASSES = 5
"""Each is a figure of its own; the reader takes the median of all."""


def main() -> None:
    """Measure and say the CPU seconds per record of each pass."""
    expected = Expected()
    workload = told_workload(sys.argv[1])
    values = [record.value for record in bench_records(workload, expected)]
    loads = orjson.loads
    passes = []
    for _ in range(PASSES):
        begun = time.process_time()
        for value in values:
            loads(value)
        passes.append((time.process_time() - begun) / len(values))
    distinct = len({loads(value)["event_id"] for value in values})
    print("RESULT", json.dumps({"passes": passes, "distinct": distinct}), flush=True)


if __name__ == "__main__":
    main()
