"""Whatever is adjusted, however often and in whatever order: totals, grants and covers add up."""

import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from schemas import codec
from schemas.money import PICO, format_amount, parse_signed_amount
from schemas.structs import AdjustmentEntry, GrantEntry, UsageEntry
from streams.domain.budget import available
from streams.domain.invariants import check_cycle
from streams.domain.replay import fold_entries
from streams.domain.state import PartitionState
from tests.builders import DAY_US, NOON_US, context, cycle, fact, grant, json_of, state, usage
from tests.property.seed import SEED

RULES = context(provisional_usd_per_million_tokens="1000000")
"""An unpriced token charges a dollar."""


@dataclass
class Corrected:
    """A usage entry as its own entries say together."""

    entry: UsageEntry
    cost: int
    provisional: int
    covered: int
    paid: dict[str, int] = field(default_factory=dict)
    times: int = 0

    def take(self, entry: AdjustmentEntry) -> None:
        self.times += 1
        self.cost += parse_signed_amount(entry.cost)
        self.provisional += parse_signed_amount(entry.provisional)
        self.covered += parse_signed_amount(entry.covered_usd)
        for burn in entry.burns:
            self.pay(burn.grant_id, parse_signed_amount(burn.amount))
        for part in entry.returned:
            self.pay(part.grant_id, -parse_signed_amount(part.amount))

    def pay(self, grant_id: str, pico: int) -> None:
        self.paid[grant_id] = self.paid.get(grant_id, 0) + pico


@dataclass
class World:
    chance: random.Random
    state: PartitionState = field(default_factory=state)
    entries: list[Any] = field(default_factory=list)
    usage: dict[str, Corrected] = field(default_factory=dict)
    grants: dict[str, GrantEntry] = field(default_factory=dict)
    offset: int = 0
    at_us: int = NOON_US

    def step(self) -> None:
        self.offset += 1
        self.at_us += self.chance.choice((0, 1, DAY_US))
        first = self.state.progress.next_sequence
        body = self.chance.choice((self.a_grant, self.some_usage, self.an_adjustment))()
        result = cycle(
            self.state, fact(body, self.offset, self.at_us), context=RULES, at_us=self.at_us
        )
        assert not result.rejected
        check_cycle(result, first, 1)
        for entry in result.entries:
            self.note(entry)
        self.entries += result.entries

    def note(self, entry: Any) -> None:
        if isinstance(entry, GrantEntry):
            self.grants[entry.entry_id] = entry
        elif isinstance(entry, UsageEntry):
            charged = parse_signed_amount(entry.provisional)
            covered = parse_signed_amount(entry.covered_usd)
            self.usage[entry.entry_id] = Corrected(entry, 0, charged, covered)
            for burn in entry.burns:
                self.usage[entry.entry_id].pay(burn.grant_id, parse_signed_amount(burn.amount))
        elif isinstance(entry, AdjustmentEntry):
            self.usage[entry.adjusted_entry].take(entry)

    def a_grant(self) -> Any:
        return grant(
            event_id=f"g{self.offset}",
            denomination="usd",
            amount=str(self.chance.randrange(1, 20)),
            priority=self.chance.randrange(3),
        )

    def some_usage(self) -> Any:
        tokens = {"input": self.chance.randrange(1, 15)}
        return usage(event_id=f"e{self.offset}", model="new", tokens=tokens)

    def an_adjustment(self) -> Any:
        if not self.usage:
            return self.some_usage()
        one = self.chance.choice(list(self.usage.values()))
        payers = [
            {
                "grant_id": grant_id,
                "amount": format_amount(pico),
                "priority": self.grants[grant_id].priority,
                "effective_at": self.grants[grant_id].effective_at,
            }
            for grant_id, pico in one.paid.items()
            if pico
        ]
        fields = {
            "kind": "adjustment",
            "entry_id": one.entry.entry_id,
            "charged_at": one.entry.decided_at,
            "charged_generation": one.entry.generation,
            "charged_sequence": one.entry.sequence,
            "used_at": one.entry.occurred_at,
            "old_cost": format_amount(one.cost),
            "old_provisional": format_amount(one.provisional),
            "covered": format_amount(one.covered),
            "payers": payers,
            "new_cost": str(self.chance.randrange(25)),
            "price_version": f"book@{self.chance.randrange(5)}",
        }
        event_id = f"{one.entry.entry_id}#{one.times + 1}"
        return codec.decode_budget(json_of("acme", event_id, fields))

    def check(self) -> None:
        account = self.state.accounts.get("acme")
        if account is None:
            return
        charged = sum(one.cost + one.provisional for one in self.usage.values())
        assert account.used_pico_usd == charged
        for one in self.usage.values():
            assert 0 <= one.covered <= one.cost + one.provisional
            assert one.covered == sum(one.paid.values())
            assert min(one.paid.values(), default=0) >= 0
        granted = sum(parse_signed_amount(one.amount) for one in self.grants.values())
        covered = sum(one.covered for one in self.usage.values())
        assert available(account, "usd", self.at_us) == granted - covered
        for open_grant in account.grants:
            amount = parse_signed_amount(self.grants[open_grant.grant_id].amount)
            assert 0 < open_grant.remaining <= amount
        assert account.events == len(self.usage)


@pytest.mark.parametrize("number", range(30))
def test_totals_grants_and_covers_add_up_whatever_is_adjusted(number: int) -> None:
    world = World(random.Random(f"{SEED}-{number}"))
    for _ in range(60):
        world.step()
        world.check()
    again = fold_entries([codec.decode_entry(codec.encode(entry)) for entry in world.entries])
    assert again.accounts == world.state.accounts
    assert sum(isinstance(entry, AdjustmentEntry) for entry in world.entries) > 5
    assert world.state.accounts["acme"].used_pico_usd % PICO == 0
