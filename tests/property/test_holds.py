"""Holds under random histories: what is approved never exceeds what there is, each hold ends once,
and the totals are what the entries say."""

import random
from collections import Counter

import pytest

from schemas.budget import Denomination
from schemas.structs import ClosingEntry, DecisionEntry, Expiry, Release, UsageEntry
from streams.domain.budget import Account, held
from streams.domain.decisions import InvalidAskError
from streams.domain.holds import Holder
from streams.domain.replay import accounts_digest, fold_entries
from tests.builders import HOUR_US, context, grant, usage
from tests.owned_account import Owned
from tests.property.seed import SEED, announce

HISTORIES = 150
STEPS = 60
PLAN_UNITS = 100
ACTIONS = ("ask", "ask", "ask", "use", "oldest", "release", "expire", "grant", "fold")


def history(chance: random.Random) -> Owned:
    """Asks, usage, releases, expiries and grants in any order, folded in cycles of any size."""
    owned = Owned(context([("unit", str(PLAN_UNITS))], holds_max=20))
    placed: list[str] = []
    for step in range(STEPS):
        what = chance.choice(ACTIONS)
        named = chance.choice(placed) if placed else "1-0-1"
        if what == "ask":
            offset = owned.offsets["preflights"]
            try:
                told = owned.ask(f"k{step}", estimate=str(chance.randrange(30)))
            except InvalidAskError:
                continue
            if told.approved:
                placed.append(f"1-0-{offset}")
        elif what == "use":
            owned.give(usage(event_id=f"u{step}", units=chance.randrange(20), reservation_id=named))
        elif what == "oldest":
            owned.give(usage(event_id=f"u{step}", units=chance.randrange(20), settles_oldest=True))
        elif what == "release":
            owned.about(Release, named)
        elif what == "expire":
            # P3: what arrived before the deadline is folded before the expiry is appended.
            owned.settle()
            owned.now_us += HOUR_US
            owned.about(Expiry, named)
        elif what == "grant":
            owned.give(grant(event_id=f"g{step}", amount=str(1 + chance.randrange(20))))
        else:
            owned.fold()
        check_budget(owned)
    owned.settle()
    return owned


def check_budget(owned: Owned) -> None:
    """INV-14 as the owner sees it: what is held is never more than what the grants still cover.

    Records may use more than was held for them; what they burn beyond it can leave less than the
    other holds need, so that is taken off.
    """
    view = owned.view("customer", "acme")
    account = view.account
    if account is None:
        return
    assert isinstance(account, Account)
    for holder in (account, view.pending):
        assert holder.held == sums(holder)
    left = sum(g.remaining for g in account.grants if g.denomination == Denomination.UNIT)
    beyond = sum(
        entry.units - sum(int(part.amount) for part in entry.holds)
        for entry in owned.entries
        if isinstance(entry, UsageEntry)
    )
    assert held(account, view.pending, "unit") <= left + beyond


def sums(holder: Holder) -> dict[str, int]:
    """What open holds set aside, added up anew."""
    found = Counter[str]()
    for hold in holder.holds.values():
        found[hold.denomination] += hold.open
    return dict(+found)


@pytest.mark.parametrize("run", range(3))
def test_holds_end_once_and_everything_adds_up(run: int) -> None:
    announce()
    chance, seen = random.Random(f"{SEED}-{run}"), Counter[str]()
    for _ in range(HISTORIES // 3):
        owned = history(chance)
        decisions = [e for e in owned.entries if isinstance(e, DecisionEntry)]
        placed = {e.reservation_id: int(e.amount) for e in decisions if e.approved}
        ended = [e for e in owned.entries if isinstance(e, ClosingEntry)]
        assert max(Counter(e.reservation_id for e in ended).values(), default=1) == 1
        still = (
            {h.reservation_id: h.open for h in owned.account.holds.values()} if decisions else {}
        )
        taken = Counter[str]()
        for entry in owned.entries:
            if isinstance(entry, UsageEntry):
                for part in entry.holds:
                    taken[part.reservation_id] += int(part.amount)
        back = {e.reservation_id: int(e.released) for e in ended}
        for name, amount in placed.items():
            assert taken[name] + back.get(name, 0) + still.get(name, 0) == amount
            assert (name in back) != (name in still)
        assert accounts_digest(fold_entries(owned.entries)) == accounts_digest(owned.state)
        seen.update(e.closed_as for e in ended)
        seen.update(e.reason or "approved" for e in decisions)
    # A run that never meets these says nothing about them.
    expected = {"settled", "used_up", "released", "expired", "budget_exhausted", "approved"}
    assert expected <= set(seen), seen
