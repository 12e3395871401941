"""What must hold after every cycle, cheap enough to check in production (docs/invariants.md).

A violation is our own fault: it stops the partition before anything is committed.
"""

from schemas.money import parse_signed_amount
from schemas.structs import AdjustmentEntry, CycleEntry, UsageEntry
from streams.domain.budget import entry_tokens
from streams.domain.folding import CycleResult


def check_cycle(result: CycleResult, first_sequence: int, fact_count: int) -> None:
    """INV-1: sequences are dense. INV-2: every fact is accepted, a duplicate or a dead letter, is
    passed on or waits, and the counts add up. INV-3: what an entry covers is what it burns, never
    more than it used.

    Raises AssertionError naming the invariant.
    """
    own = result.entries[0]
    if not isinstance(own, CycleEntry):
        raise AssertionError("INV-1: a cycle must begin with its own entry")
    for expected, entry in enumerate(result.entries, first_sequence):
        if entry.sequence != expected:
            raise AssertionError(f"INV-1: sequence {entry.sequence} where {expected} was due")
        if isinstance(entry, UsageEntry):
            covers = entry.covered_units or entry.covered_tokens or entry.covered_usd != "0"
            if entry.burns or covers:
                _check_cover(entry)
        elif isinstance(entry, AdjustmentEntry):
            _check_adjustment(entry)
    counted = own.accepted + own.duplicates + own.dead_letters + own.leases + own.void
    counted += own.bindings + own.forwarded + own.waiting
    if counted != fact_count + result.waited:
        raise AssertionError(
            f"INV-2: {fact_count} facts and {result.waited} waiting, but {own.accepted} accepted + "
            f"{own.duplicates} duplicates + {own.dead_letters} dead letters + "
            f"{own.leases} leases + {own.void} void + {own.bindings} bindings + "
            f"{own.forwarded} forwarded + {own.waiting} waiting"
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


def _check_adjustment(entry: AdjustmentEntry) -> None:
    """A rise is covered by what it burns, a fall gives back no more than was covered."""
    rise = parse_signed_amount(entry.cost) + parse_signed_amount(entry.provisional)
    covered = parse_signed_amount(entry.covered_usd)
    burnt = sum(parse_signed_amount(burn.amount) for burn in entry.burns)
    returned = sum(parse_signed_amount(part.amount) for part in entry.returned)
    if not min(rise, 0) <= covered <= max(rise, 0):
        raise AssertionError(f"INV-3: {entry.entry_id} covers more than it changes")
    if burnt != max(covered, 0) or returned > max(-covered, 0):
        raise AssertionError(f"INV-3: {entry.entry_id} covers what it did not burn or give back")


def _check_part(entry: UsageEntry, denomination: str, covered: int, burnt: int, used: int) -> None:
    if covered > used:
        raise AssertionError(f"INV-3: {entry.entry_id} covers more than it used: {denomination}")
    if covered != burnt:
        raise AssertionError(f"INV-3: {entry.entry_id} covers what it did not burn: {denomination}")
