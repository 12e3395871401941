"""Documents that are too long to be issued: their lines are put together until they fit.

A closed period has to be issued, whatever it holds. Where its lines are more than one record
carries, those of an item are added up, first of corrections, then of the period itself. Amounts are
whole units by then, so the totals do not change.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from schemas.limits import INVOICE_BYTES_MAX, INVOICE_LINES_MAX
from streams.domain.invoices.documents import Line, canonical_bytes
from streams.domain.invoices.pricing import OTHERS

LINES_BYTES_MAX: Final = INVOICE_BYTES_MAX * 3 // 4
"""The lines of one document: a quarter of the record is left for what stands around them."""

SURELY_SHORT: Final = 100
"""Lines whose bytes need no look: they would have to be of 7 KiB each."""


def shortened(lines: Sequence[Line]) -> list[Line]:
    """The lines themselves where they fit, else fewer with the same sums by currency, and by the
    period that they are about.

    A line that stands for several has the group OTHERS where theirs differ, no card where theirs
    do, and lasts from the first to the last of them.
    """
    kept = list(lines)
    for chosen in (_is_correction, _is_any):
        if _fits(kept):
            break
        kept = _put_together(kept, chosen)
    return kept


def _fits(lines: Sequence[Line]) -> bool:
    if len(lines) <= SURELY_SHORT:
        return True
    if len(lines) > INVOICE_LINES_MAX:
        return False
    return len(canonical_bytes([line.plain() for line in lines])) <= LINES_BYTES_MAX


def _is_correction(line: Line) -> bool:
    return bool(line.corrects)


def _is_any(line: Line) -> bool:
    return True


def _put_together(lines: Sequence[Line], chosen: Callable[[Line], bool]) -> list[Line]:
    """In the place of the first line of each item stands their sum; nothing where that is 0."""
    sums: dict[tuple[str, ...], Line] = {}
    for number, line in enumerate(lines):
        key: tuple[str, ...] = (str(number),)
        if chosen(line):
            key = (line.corrects, line.label, line.line_kind, line.item, line.currency)
        known = sums.get(key)
        sums[key] = line if known is None else _sum(known, line)
    return [line for line in sums.values() if line.quantity_pico or line.amount_pico]


def _sum(one: Line, other: Line) -> Line:
    return replace(
        one,
        card=one.card if one.card == other.card else "",
        group=one.group if one.group == other.group else OTHERS,
        quantity_pico=one.quantity_pico + other.quantity_pico,
        amount_pico=one.amount_pico + other.amount_pico,
        from_us=min(one.from_us, other.from_us),
        to_us=max(one.to_us, other.to_us),
    )
