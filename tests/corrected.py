"""Books of one customer whose usage is corrected: each step is a cycle, everything is kept."""

from typing import Any

from schemas import codec
from schemas.money import PICO
from schemas.structs import Adjustment, AdjustmentEntry, UsageEntry
from streams.domain.budget import Account, available
from streams.domain.corrections import adjustment_fact
from streams.domain.facts import AdjustmentFact
from tests.builders import (
    NOON_US,
    context,
    cycle,
    fact,
    grant,
    json_of,
    of_kind,
    own_entry,
    record,
    state,
    usage,
)

RULES = context(provisional_usd_per_million_tokens="1000000")
"""An unpriced token charges a dollar."""


class Books:
    """A partition with one customer, and everything that was decided."""

    def __init__(self) -> None:
        self.state = state()
        self.entries: list[Any] = []
        self.rejected: list[Any] = []
        self.duplicates = 0
        self.offset = 0
        self.at_us = NOON_US

    @property
    def account(self) -> Account:
        return self.state.accounts["acme"]

    def take(self, *facts: Any) -> list[Any]:
        result = cycle(self.state, *facts, context=RULES, at_us=self.at_us)
        self.entries += result.entries
        self.rejected += result.rejected
        self.duplicates += own_entry(result).duplicates
        return result.entries[1:]

    def next_offset(self) -> int:
        self.offset += 1
        return self.offset

    def use(self, tokens: int, **fields: Any) -> UsageEntry:
        body = usage(
            event_id=f"e{self.offset}", units=0, model="new", tokens={"input": tokens}, **fields
        )
        made = self.take(fact(body, self.next_offset(), self.at_us))
        return of_kind(UsageEntry, made)[0]

    def grant(self, amount: str, **fields: Any) -> str:
        body = grant(event_id=f"g{self.offset}", denomination="usd", amount=amount, **fields)
        return str(self.take(fact(body, self.next_offset(), self.at_us))[-1].entry_id)

    def adjust(self, entry: UsageEntry, new_cost: str, **fields: Any) -> AdjustmentEntry | None:
        fact_ = self.adjustment(entry, new_cost, **fields)
        found = [one for one in self.take(fact_) if isinstance(one, AdjustmentEntry)]
        return found[0] if found else None

    def adjustment(self, entry: UsageEntry, new_cost: str, **fields: Any) -> AdjustmentFact:
        """What the command makes of an entry that nobody has adjusted yet."""
        terms = {one.entry_id: one for one in self.entries if type(one).__name__ == "GrantEntry"}
        payers = [
            {
                "grant_id": burn.grant_id,
                "amount": burn.amount,
                "priority": terms[burn.grant_id].priority,
                "effective_at": terms[burn.grant_id].effective_at,
                "expires_at": terms[burn.grant_id].expires_at,
            }
            for burn in entry.burns
            if burn.denomination == "usd"
        ]
        given = {
            "kind": "adjustment",
            "source": "tollgate",
            "entry_id": entry.entry_id,
            "charged_at": entry.decided_at,
            "charged_generation": entry.generation,
            "charged_sequence": entry.sequence,
            "used_at": entry.occurred_at,
            "agent_id": entry.agent_id or None,
            "task_ref": entry.task_ref or None,
            "model": entry.model or None,
            "old_cost": entry.cost,
            "old_provisional": entry.provisional,
            "covered": entry.covered_usd,
            "payers": payers,
            "new_cost": new_cost,
            "was_unpriced": entry.cost_basis == "unpriced",
            "price_version": "book@2",
        } | fields
        body = codec.decode_budget(
            json_of("acme", fields.pop("event_id", f"{entry.entry_id}#1"), given)
        )
        assert isinstance(body, Adjustment)
        return adjustment_fact(record(body, self.next_offset(), self.at_us), body)

    def left(self) -> float:
        return available(self.account, "usd", self.at_us) / PICO

    def used(self) -> float:
        return self.account.used_pico_usd / PICO
