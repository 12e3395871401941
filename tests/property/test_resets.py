"""Grants that reset against the naive model: whatever is left is the amount minus the burns of the
period, over random days, weeks, months, cuts, beginnings and ends."""

import random
from fractions import Fraction
from typing import Any

import pytest

from schemas import codec
from schemas.structs import GrantEntry, UsageEntry
from schemas.times import format_time, parse_time_us
from streams.domain.budget import Account
from streams.domain.replay import accounts_digest, fold_entries
from tests.builders import DAY_US, HOUR_US, context, cycle, fact, grant, of_kind, state, usage
from tests.property.model import Granted, Model
from tests.property.seed import SEED

RUNS = 40
CYCLES = 60
RULES = context(lateness_days=34)
INTERVALS = (None, "day", "week", "month")
FIRST_US = parse_time_us("2027-12-20T22:00:00Z")
"""A year's end, a leap year's February and both kinds of months lie ahead."""


def granted(entry: GrantEntry) -> Granted:
    """The allowance of an entry, for the model."""
    return Granted(
        entry.entry_id,
        entry.denomination.value,
        Fraction(entry.amount),
        entry.priority,
        entry.effective_at,
        entry.expires_at,
        entry.resets or None,
    )


def steps(chance: random.Random) -> int:
    """How much later the next cycle is: mostly hours, at times days and weeks, also nothing, and
    at times exactly up to a midnight."""
    return chance.choice((0, 1, HOUR_US, 5 * HOUR_US, 20 * HOUR_US, 3 * DAY_US, 16 * DAY_US))


def random_grant(chance: random.Random, number: int, now_us: int) -> Any:
    more: dict[str, Any] = {}
    if chance.random() < 0.4:
        begins = now_us + chance.choice((-40, -1, 0, 2, 20)) * DAY_US
        more["effective_at"] = format_time(begins)
        if chance.random() < 0.6:
            more["expires_at"] = format_time(begins + chance.choice((1, 9, 45)) * DAY_US)
    interval = chance.choice(INTERVALS)
    if interval is not None:
        more["resets"] = interval
    amount = str(chance.randint(1, 12))
    return grant(event_id=f"g{number}", amount=amount, priority=chance.randint(0, 2), **more)


@pytest.mark.parametrize("run", range(RUNS))
def test_what_a_grant_that_resets_covers_is_what_the_naive_model_says(run: int) -> None:
    chance = random.Random(f"{SEED}-{run}")
    into, naive, entries, now_us, offset = state(), Model(), [], FIRST_US, 0
    naive.grants["acme"] = []
    encode, decode = codec.state_codec(Account)
    for _ in range(CYCLES):
        now_us += steps(chance)
        if chance.random() < 0.2:
            now_us += DAY_US - now_us % DAY_US
        facts = []
        if chance.random() < 0.3:
            facts.append(fact(random_grant(chance, offset, now_us), offset, now_us))
        for _ in range(chance.randint(0, 3)):
            offset += 1
            units = chance.randint(0, 9)
            facts.append(fact(usage(event_id=f"e{offset}", units=units), offset, now_us))
        offset += 1
        result = cycle(into, *facts, context=RULES, at_us=now_us)
        entries += result.entries
        naive.grants["acme"] += map(granted, of_kind(GrantEntry, result.entries))
        for entry in of_kind(UsageEntry, result.entries):
            covered = naive.cover("acme", "unit", Fraction(entry.units), now_us, {})
            assert entry.covered_units == covered, entry
            assert sum(int(burn.amount) for burn in entry.burns) == entry.covered_units
            assert all(int(burn.amount) > 0 for burn in entry.burns)
        # As the store would keep them between two cycles.
        into.accounts = {key: decode(encode(one)) for key, one in into.accounts.items()}
    assert accounts_digest(fold_entries(entries)) == accounts_digest(into)
