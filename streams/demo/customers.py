"""Who the demo's calls belong to: invented customers of unequal size.

Sizes follow Zipf's law (the n-th customer has 1/n of the first one's weight), because that is what
customer bases look like: a few large ones and a long tail. With all rows and 50 customers six or so
pass their 1,000 free units. A function of the call's id alone, so every run agrees.
"""

import hashlib
from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate

CUSTOMERS_DEFAULT = 50

CUSTOMERS_MAX = 1000
"""Enough to see a long tail; beyond it most customers of 28,185 calls would have none."""

SEED = "tollgate-demo-1"
"""Seeds every choice the demo makes. Printed, and never changed: homes remember figures."""

WEIGHT_OF_THE_LARGEST = 10**9
"""Weights are integers, so that no platform's floats can place a call elsewhere."""


def choice(purpose: str, subject: str) -> int:
    """An even choice in [0, 2**64): a function of the seed, the purpose and the subject."""
    text = f"{SEED}/{purpose}/{subject}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def customer_name(rank: int) -> str:
    """The id of the rank-th largest customer, from 1 on."""
    return f"customer-{rank:02d}"


def customer_of(event_id: str, customers: int) -> str:
    """The customer that a call belongs to, among so many."""
    bounds = _bounds(customers)
    return customer_name(1 + bisect_right(bounds, choice("customer", event_id) % bounds[-1]))


@lru_cache(maxsize=8)
def _bounds(customers: int) -> tuple[int, ...]:
    if not 1 <= customers <= CUSTOMERS_MAX:
        raise ValueError(f"customers must be 1 to {CUSTOMERS_MAX}, not {customers}")
    return tuple(accumulate(WEIGHT_OF_THE_LARGEST // rank for rank in range(1, customers + 1)))
