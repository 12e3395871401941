"""Corrections: what an earlier period costs now, less what was invoiced for it (F3).

An earlier period is the interval of a close, told from others by its cut: a reissue has the cut of
the invoice that it replaces. What was invoiced for it are the lines about it on the invoices that
count: those that were issued and not voided for a reissue. An invoice that was voided for good
still counts: its lines were given back by a credit note, and are not asked for again.

What happened before the first period is a period too, "before": items of the first card, no fees,
no allowance, no minimum.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from streams.domain.invoices.documents import Line, line_from
from streams.domain.invoices.tallies import Entry, Place, place_of
from streams.domain.invoices.timeline import Segment

BEFORE: Final = "before"
"""The name and the label of the time before the first period."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier period: how it was cut into segments, and what was invoiced for it."""

    numbers: tuple[str, ...]
    """Of its closes, the last one last; none of "before"."""
    label: str
    from_us: int
    to_us: int
    segments: tuple[Segment, ...]
    invoiced: tuple[Line, ...]

    @property
    def name(self) -> str:
        """The number of the invoice that is corrected, or "before"."""
        return self.numbers[-1] if self.numbers else BEFORE

    @property
    def items_only(self) -> bool:
        """Whether it is charged for items alone."""
        return not self.numbers


def cut_of(close: Entry) -> Place:
    """The cut of a close."""
    return close["cut_generation"], close["cut_sequence"]


def after_of(close: Entry) -> Place:
    """The cut of the close before, (0, 0) for the first."""
    return close.get("after_generation", 0), close.get("after_sequence", 0)


def segments_of(close: Entry) -> tuple[Segment, ...]:
    """The segments that a close pins."""
    return tuple(
        Segment(part["card"], part["version"], part["from_us"], part["to_us"])
        for part in close["segments"]
    )


def stands_before(entry: Entry, close: Entry) -> bool:
    """Whether an entry stands before a close; all do before a draft, which stands nowhere."""
    return "sequence" not in close or place_of(entry) < place_of(close)


@dataclass(frozen=True, slots=True)
class History:
    """What the log says of a customer's invoices up to a close."""

    close: Entry
    closes: tuple[Entry, ...]
    """Those of earlier intervals, in ledger order."""
    issued: Mapping[str, Entry]
    """The issues of invoices that count, by number."""
    unsettled: bool
    """Whether an invoice was voided for a reissue, or reissued, since the previous cut; so of every
    reissue."""

    def earlier(self, wanted: Collection[str] | None) -> list[Earlier]:
        """The earlier periods that can have corrections, by time, "before" first.

        `wanted`: numbers of closes, and "before"; None: all. Where a reissue has moved what was
        invoiced, all periods are looked at. A period whose last close has no issued invoice that
        counts is left out: a document of its own is still to come.
        """
        by_cut: dict[Place, list[Entry]] = {}
        for entry in self.closes:
            by_cut.setdefault(cut_of(entry), []).append(entry)
        chains = [by_cut[cut] for cut in sorted(by_cut)]
        if self.unsettled:
            wanted = None
        names = {entry["number"]: chain[-1]["number"] for chain in chains for entry in chain}
        lines = self._invoiced(names, chains)
        found = []
        first = chains[0][-1] if chains else self.close
        if first["period_from"] > 0 and (wanted is None or BEFORE in wanted):
            found.append(_before(first, lines.get(BEFORE, [])))
        for chain in chains:
            last, numbers = chain[-1], tuple(entry["number"] for entry in chain)
            if last["number"] not in self.issued:
                continue
            if wanted is None or any(number in wanted for number in numbers):
                found.append(
                    Earlier(
                        numbers,
                        last["label"],
                        last["period_from"],
                        last["period_to"],
                        segments_of(last),
                        tuple(lines.get(last["number"], ())),
                    )
                )
        return found

    def _invoiced(
        self, names: Mapping[str, str], chains: Sequence[Sequence[Entry]]
    ) -> dict[str, list[Line]]:
        """The lines that count, by the name of the period that they are about."""
        lines: dict[str, list[Line]] = {}
        for chain in chains:
            for entry in chain:
                issue = self.issued.get(entry["number"])
                for plain in issue["lines"] if issue else ():
                    if plain["line_kind"] != "credit":
                        name = _about(plain, entry["number"], names)
                        lines.setdefault(name, []).append(line_from(plain))
        return lines


def _about(plain: Mapping[str, Any], number: str, names: Mapping[str, str]) -> str:
    """The name of the period that a line is about."""
    if plain["label"] == BEFORE:
        return BEFORE
    about = plain.get("corrects") or number
    if about not in names:
        raise ValueError(f"invoice {number} corrects {about}, whose close is missing")
    return names[about]


def _before(first: Entry, invoiced: Sequence[Line]) -> Earlier:
    card = segments_of(first)[0]
    segment = replace(card, from_us=0, to_us=first["period_from"])
    return Earlier((), BEFORE, 0, first["period_from"], (segment,), tuple(invoiced))


def history(
    close: Entry, closes: Iterable[Entry], issues: Iterable[Entry], voids: Iterable[Entry]
) -> History:
    """What these entries say up to a close; what stands after it is passed over."""
    cut, after = cut_of(close), after_of(close)
    before = [entry for entry in closes if stands_before(entry, close)]
    voided = {
        entry["voids"]: place_of(entry)
        for entry in voids
        if entry.get("reissue") and stands_before(entry, close)
    }
    moved = [
        *voided.values(),
        *(place_of(entry) for entry in before if entry.get("reissues")),
    ]
    return History(
        close=close,
        closes=tuple(sorted((entry for entry in before if cut_of(entry) < cut), key=place_of)),
        issued={
            entry["number"]: entry
            for entry in issues
            if entry["document"] == "invoice"
            and entry["number"] not in voided
            and stands_before(entry, close)
        },
        unsettled=any(place > after for place in moved),
    )


def correction_lines(earlier: Earlier, now: Sequence[Line]) -> list[Line]:
    """What has to be added to what was invoiced so that it comes to `now`, line by line.

    Lines are the same where label, card, segment, item, group, currency and kind are; first come
    those of `now`, in their order, then those that are not among them, in that of the documents.
    """
    lines: dict[tuple[object, ...], Line] = {}
    for line in now:
        lines[_identity(line)] = line
    for line in earlier.invoiced:
        known = lines.get(_identity(line))
        if known is None:
            known = replace(line, quantity_pico=0, amount_pico=0)
        lines[_identity(line)] = replace(
            known,
            quantity_pico=known.quantity_pico - line.quantity_pico,
            amount_pico=known.amount_pico - line.amount_pico,
        )
    corrects = "" if earlier.items_only else earlier.name
    return [
        replace(line, line=0, corrects=corrects)
        for line in lines.values()
        if line.quantity_pico or line.amount_pico
    ]


def _identity(line: Line) -> tuple[object, ...]:
    return (
        line.label,
        line.card,
        line.from_us,
        line.to_us,
        line.item,
        line.group,
        line.currency,
        line.line_kind,
    )
