"""A customer that was carried over beside the one that stayed: whatever is used from then on, both
have the same left of the same grants and limits, over random histories, periods and moments."""

import random
from typing import Any

import pytest

from schemas import codec
from schemas.envelope import SCHEMA_VERSION
from schemas.structs import Limit
from schemas.times import format_time, parse_time_us
from streams.domain.carrying import account_differences, carried_account
from streams.domain.facts import Fact
from streams.domain.state import PartitionState
from tests.builders import (
    DAY_US,
    HOUR_US,
    context,
    cycle,
    fact,
    fact_of,
    grant,
    record,
    state,
    usage,
)
from tests.property.seed import SEED

RUNS = 60
BEFORE, AFTER = 25, 25
RULES = context(lateness_days=34, grants_max=1_000)
FIRST_US = parse_time_us("2027-12-20T22:00:00Z")
INTERVALS = ("day", "week", "month")


def later(chance: random.Random) -> int:
    return chance.choice((1, HOUR_US, 5 * HOUR_US, 20 * HOUR_US, 3 * DAY_US, 16 * DAY_US))


def random_period(chance: random.Random) -> dict[str, Any]:
    if chance.random() < 0.5:
        return {}
    period = {"resets": chance.choice(INTERVALS)}
    if chance.random() < 0.4:
        day = f"2027-0{chance.choice((1, 3, 5, 7))}-{chance.choice((10, 31))}"
        period["anchor"] = f"{day}T00:00:00Z"
    return period


def random_grant(chance: random.Random, number: int, now_us: int) -> Any:
    more = random_period(chance)
    if "resets" in more and chance.random() < 0.6:
        more["rollover_max"] = str(chance.randint(1, 30))
    # No two begin at the same moment: then their ids alone would say which burns first.
    begins = now_us + chance.choice((-40, -1, 0, 2, 20)) * DAY_US + number
    more["effective_at"] = format_time(begins)
    if chance.random() < 0.4:
        more["expires_at"] = format_time(begins + chance.choice((1, 9, 45, 90)) * DAY_US)
    amount = str(chance.randint(1, 12))
    return grant(event_id=f"g{number}", amount=amount, priority=chance.randint(0, 2), **more)


def random_limit(chance: random.Random, number: int) -> Limit:
    fields = {"denomination": "unit", "agent_id": chance.choice((None, "a", "b"))}
    fields |= {"amount": str(chance.randint(1, 99)), **random_period(chance)}
    identity = {"schema_version": SCHEMA_VERSION, "event_id": f"l{number}", "source": "crm"}
    said = identity | {"kind": "limit", "customer_id": "acme"} | fields
    found = codec.decode_budget(codec.encode({k: v for k, v in said.items() if v is not None}))
    assert isinstance(found, Limit)
    return found


def carried(old: PartitionState, at_us: int, decided_us: int) -> PartitionState:
    """What the new installation makes of the old row, some time afterwards."""
    new, facts = state(), list[Fact]()
    for place, one in enumerate(carried_account(old.accounts["acme"], "old.", at_us)):
        fields = {name: value for name, value in one.fields.items() if value is not None}
        fields |= {"kind": one.kind, "customer_id": "acme", "event_id": one.event_id}
        fields |= {"schema_version": SCHEMA_VERSION, "source": "tollgate"}
        body = codec.decode_budget(codec.encode(fields))
        facts.append(fact_of(record(body, place, decided_us)))
    cycle(new, *facts, context=RULES, at_us=decided_us)
    return new


@pytest.mark.parametrize("run", range(RUNS))
def test_whoever_was_carried_over_has_and_burns_what_whoever_stayed_does(run: int) -> None:
    chance = random.Random(f"{SEED}-{run}")
    old, now_us, number = state(), FIRST_US, 0

    def used(count: int) -> list[Fact]:
        nonlocal number
        facts: list[Fact] = []
        for _ in range(count):
            number += 1
            units, agent = chance.randint(0, 9), chance.choice((None, "a", "b"))
            body = usage(event_id=f"e{number}", units=units, agent_id=agent)
            facts.append(fact(body, number, now_us))
        return facts

    for _ in range(BEFORE):
        now_us += later(chance)
        number += 1
        facts = used(chance.randint(0, 2))
        if chance.random() < 0.4:
            facts.append(fact(random_grant(chance, number, now_us), number, now_us))
        if chance.random() < 0.2:
            facts.append(fact(random_limit(chance, number), number, now_us))
        cycle(old, *facts, context=RULES, at_us=now_us)
    cycle(old, *used(1), context=RULES, at_us=now_us)
    left_us, now_us = now_us, now_us + later(chance)
    new = carried(old, left_us, now_us)
    for _ in range(AFTER):
        now_us += later(chance)
        found = account_differences(old.accounts["acme"], new.accounts["acme"], now_us)
        assert not found, (found, old.accounts["acme"], new.accounts["acme"])
        facts = used(chance.randint(0, 2))
        for into in (old, new):
            cycle(into, *facts, context=RULES, at_us=now_us)
