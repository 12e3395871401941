"""Folding a ledger back into state, and a digest by which two states can be compared."""

import hashlib
from collections.abc import Iterable
from dataclasses import astuple, replace

from schemas.structs import LedgerEntry
from streams.domain.budget import Account
from streams.domain.pipeline import evolve
from streams.domain.state import PartitionState, Progress


def fold_entries(entries: Iterable[LedgerEntry]) -> PartitionState:
    """The state of a partition after these entries, which must be all of it in their order.

    Claims are not in the ledger: `claims` stays empty.
    """
    state = PartitionState(Progress())
    for entry in entries:
        evolve(state, entry)
    return state


def accounts_digest(state: PartitionState) -> str:
    """A hex digest of all accounts: a function of their content, not of any order."""
    lines = sorted(_line(account) for account in state.accounts.values())
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()


def _line(account: Account) -> str:
    currencies = sorted(account.used_other.items())
    # A grant that does not reset has the line that it had before there were any that do.
    customer, grants, *totals = astuple(replace(account, used_other={}))
    grants = [one[:-1] if one[-1] is None else one for one in grants]
    return ascii(((customer, grants, *totals), currencies))
