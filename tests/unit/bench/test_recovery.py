"""Moments of a worker's log."""

import pytest

from streams.bench.recovery import Moments, moments
from streams.errors import FaultError

LOG = """\
2026-11-21 10:50:05,000 INFO faust.worker: [^Worker]: Starting...
2026-11-21 10:50:05,100 INFO faust.worker: [^Worker]: something else
2026-11-21 10:50:06,250 INFO streams.adapters.faust_batches: assigned partitions [0] in generation 1
2026-11-21 10:50:06,500 INFO streams.adapters.faust_batches: fenced partitions [0] in generation 1
2026-11-21 10:50:08,750 INFO streams.adapters.faust_recovery: [^---BatchRecovery]: Worker ready
2026-11-21 10:50:09,750 INFO faust.worker: [^Worker]: Ready
"""


def test_the_groups_own_time_ends_with_the_assignment() -> None:
    # Quarters of a second are exact.
    assert moments(LOG) == Moments(joined_seconds=1.25, own_seconds=2.5, fenced_seconds=0.25)


def test_the_last_start_of_a_log_counts() -> None:
    earlier = LOG.replace(" 10:", " 09:").replace("50:08,750", "50:58,750")
    assert moments(earlier + LOG) == moments(LOG)


@pytest.mark.parametrize("gone", ["assigned partitions", "fenced partitions", "Worker ready"])
def test_a_log_without_a_moment_is_no_measure(gone: str) -> None:
    with pytest.raises(FaultError, match="does not say"):
        moments(LOG.replace(gone, "…"))
