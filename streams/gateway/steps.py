"""What a step of an agent's run uses as a rule, so that one that is far off can be told.

Advice, never money: each gateway remembers the steps that it saw since it started. A restart, or
another gateway, begins without a baseline and says so (null). The steps themselves are in the log.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

BASELINES_MAX: Final = 10_000
"""(customer, agent, step) that are remembered, the least recently used forgotten: about 3 MB."""

SAMPLES_MIN: Final = 5
"""Fewer say nothing about what is usual."""

SAMPLES_MAX: Final = 256
"""So many at the most weigh on the mean; then both are halved, and old habits fade."""

ANOMALY_PERCENT: Final = 100
"""From twice the baseline on a step is an anomaly."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A step beside those before it. `baseline` and `deviation_percent` are None before there are
    enough of them; the deviation also where the baseline is 0."""

    anomaly: bool
    baseline: int | None = None
    deviation_percent: int | None = None


class Baselines:
    """The running means of steps."""

    def __init__(self, baselines_max: int = BASELINES_MAX) -> None:
        self._baselines_max = baselines_max
        self._seen: OrderedDict[tuple[str, str, str], tuple[int, int]] = OrderedDict()

    def judge(self, customer_id: str, agent_id: str, step: str, units: int) -> Judgement:
        """Compares a step with the mean of those before it, then counts it."""
        key = (customer_id, agent_id, step)
        samples, total = self._seen.pop(key, (0, 0))
        verdict = Judgement(anomaly=False)
        if samples >= SAMPLES_MIN:
            baseline = total // samples
            percent = (units - baseline) * 100 // baseline if baseline else None
            anomaly = percent is not None and percent >= ANOMALY_PERCENT
            verdict = Judgement(anomaly, baseline, percent)
        if samples >= SAMPLES_MAX:
            samples, total = samples // 2, total // 2
        self._seen[key] = (samples + 1, total + units)
        if len(self._seen) > self._baselines_max:
            self._seen.popitem(last=False)
        return verdict
