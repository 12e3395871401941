"""The seed of everything random in the tests: printed, and settable by PROPERTY_SEED to repeat a
run."""

import os
import random
from typing import Final

SEED: Final = int(os.environ.get("PROPERTY_SEED") or random.SystemRandom().randrange(2**32))
"""One seed for a whole run."""


def announce() -> None:
    """Prints the seed; pytest shows it with a test that fails."""
    print(f"seed {SEED}: repeat this run with PROPERTY_SEED={SEED}")
