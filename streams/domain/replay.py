"""Folding a ledger back into state, and a digest by which two states can be compared."""

import hashlib
from collections.abc import Iterable
from typing import Any, Final

from schemas.structs import LedgerEntry, Row
from streams.domain.budget import Account
from streams.domain.grants import OpenGrant
from streams.domain.pipeline import evolve
from streams.domain.state import PartitionState, Progress

_OTHER: Final = Account.__struct_fields__.index("used_other") - 2
"""Where `used_other` stands behind customer and grants."""


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
    customer, grants, *totals = _values(account)
    totals[_OTHER] = {}
    return ascii(((customer, [_grant(grant) for grant in grants], *totals), currencies))


def _grant(grant: OpenGrant) -> tuple[Any, ...]:
    # A grant that does not reset has the line that it had before there were any that do.
    values = _values(grant)
    return values[:-1] if grant.renewal is None else (*values[:-1], _values(grant.renewal))


def _values(row: Row) -> tuple[Any, ...]:
    return tuple(getattr(row, name) for name in row.__struct_fields__)
