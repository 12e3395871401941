"""Moments of a worker's log."""

import pytest

from streams.bench.recovery import Moments, moments
from streams.errors import FaultError

LOG = """\
[2026-11-21 10:50:05,000] [1] [INFO] [^Worker]: Starting...
[2026-11-21 10:50:05,100] [1] [INFO] [^Worker]: something else
+Topic Partition Set----+
[2026-11-21 10:50:06,250] [1] [INFO] Setting newly assigned partitions
| topic | {0-7} |
[2026-11-21 10:50:06,500] [1] [INFO] fenced partitions [0] in generation 1
[2026-11-21 10:50:08,750] [1] [INFO] [^---BatchRecovery]: Worker ready
[2026-11-21 10:50:09,750] [1] [INFO] [^Worker]: Ready
"""


def test_the_groups_own_time_ends_with_the_assignment() -> None:
    # Quarters of a second are exact.
    assert moments(LOG) == Moments(joined_seconds=1.25, own_seconds=2.5, fenced_seconds=0.25)


def test_the_last_start_of_a_log_counts() -> None:
    earlier = LOG.replace(" 10:", " 09:").replace("50:08,750", "50:58,750")
    assert moments(earlier + LOG) == moments(LOG)


@pytest.mark.parametrize("gone", ["Setting newly assigned", "fenced partitions", "Worker ready"])
def test_a_log_without_a_moment_is_no_measure(gone: str) -> None:
    with pytest.raises(FaultError, match="does not say"):
        moments(LOG.replace(gone, "…"))
