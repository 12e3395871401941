"""What must hold after every cycle, cheap enough to check in production (docs/invariants.md).

A violation is our own fault: it stops the partition before anything is committed.
"""

from schemas.money import parse_signed_amount
from schemas.structs import CycleEntry, UsageEntry
from streams.domain.budget import entry_tokens
from streams.domain.pipeline import CycleResult


def check_cycle(result: CycleResult, first_sequence: int, fact_count: int) -> None:
    """INV-1: sequences are dense. INV-2: every fact is accepted, a duplicate or a dead letter, and
    the counts add up. INV-3: what a usage entry covers is what it burns, never more than it used.

    Raises AssertionError naming the invariant.
    """
    own = result.entries[0]
    if not isinstance(own, CycleEntry):
        raise AssertionError("INV-1: a cycle must begin with its own entry")
    for expected, entry in enumerate(result.entries, first_sequence):
        if entry.sequence != expected:
            raise AssertionError(f"INV-1: sequence {entry.sequence} where {expected} was due")
        if isinstance(entry, UsageEntry) and (
            entry.burns or entry.covered_units or entry.covered_tokens or entry.covered_usd != "0"
        ):
            _check_cover(entry)
    counted = own.accepted + own.duplicates + own.dead_letters + own.leases + own.void
    if counted != fact_count:
        raise AssertionError(
            f"INV-2: {fact_count} facts, but {own.accepted} accepted + "
            f"{own.duplicates} duplicates + {own.dead_letters} dead letters + "
            f"{own.leases} leases + {own.void} void"
        )


def _check_cover(entry: UsageEntry) -> None:
    units = tokens = dollars = 0
    for burn in entry.burns:
        if burn.denomination == "unit":
            units += int(burn.amount)
        elif burn.denomination == "token":
            tokens += int(burn.amount)
        else:
            dollars += parse_signed_amount(burn.amount)
    _check_part(entry, "unit", entry.covered_units, units, entry.units)
    if tokens or entry.covered_tokens:
        _check_part(entry, "token", entry.covered_tokens, tokens, entry_tokens(entry))
    if dollars or entry.covered_usd != "0":
        due = parse_signed_amount(entry.cost) + parse_signed_amount(entry.provisional)
        _check_part(entry, "usd", parse_signed_amount(entry.covered_usd), dollars, due)


def _check_part(entry: UsageEntry, denomination: str, covered: int, burnt: int, used: int) -> None:
    if covered > used:
        raise AssertionError(f"INV-3: {entry.entry_id} covers more than it used: {denomination}")
    if covered != burnt:
        raise AssertionError(f"INV-3: {entry.entry_id} covers what it did not burn: {denomination}")
