"""A trace for a person: its tree of spans, who carries which cost, and what to do where a signal
carries nothing."""

from collections.abc import Iterator, Sequence
from typing import Final

from schemas.times import format_time
from streams.cli.tables import amounts, counts
from streams.invoicing.traces import Share, Span, Told, TraceReport

WHY: Final = {
    "no_cost": "no cost came in what it names. Make the calls inside the traced function, with a "
    "wrapped client, and see that their spans name this customer",
    "cost_tracing_off": "nobody asks for the cost of its trace. Send it with cost tracing on "
    "(enable_cost_tracing)",
    "no_trace": "it asks for cost and names neither trace nor scope. Send it inside the traced "
    "function, or with its scope id",
    "window_full": "its trace or scope has as many signals as the rules keep "
    "(window_signals_max). Use a trace for each piece of work",
    "window_gone": "it was taken back when its trace was no longer kept (window_days): what it "
    "carried stays with it",
    "not_asked": "it does not ask for cost. Send it with cost tracing on (enable_cost_tracing) "
    "where it should have a share",
    "open": "its trace has not closed yet",
    "nothing": "its trace cost nothing so far",
}
"""What a flag means to whoever sent the signal, and what to do."""

UNCLAIMED: Final = {
    "window_full": "more costs in one trace than the rules keep (window_costs_max)",
    "voided": "what carried it was taken back",
    "": "no signal of the trace asks for it",
}
"""Why nobody carries a cost, by flag."""

CLOSES: Final = (
    "closes when its last event lies trace_lateness_seconds + trace_grace_seconds of the rules "
    "back, five minutes unless they were changed"
)

_BRANCH, _LAST, _DOWN, _SPACE = "├ ", "└ ", "│ ", "  "


def moment(time_us: int) -> str:
    """A time for a person, to the millisecond."""
    return f"{format_time(time_us)[:-4]}Z"


def tree_of(spans: Sequence[Span]) -> Iterator[tuple[str, Span]]:
    """Every span once, each below the one around it, with what is drawn before it. Those whose
    parent is not among them stand on top; adjustments stand below what they correct."""
    by_span: dict[str, Span] = {}
    by_entry = {span.entry_id: span for span in spans}
    for span in spans:
        if span.span_id:
            by_span.setdefault(span.span_id, span)
    inside: dict[str, list[Span]] = {}
    tops = []
    for span in spans:
        around = by_entry.get(span.adjusted_entry) or by_span.get(span.parent_span_id)
        if around is None or around is span:
            tops.append(span)
        else:
            inside.setdefault(around.entry_id, []).append(span)
    drawn: set[str] = set()
    for span in tops:
        yield from _branch(span, "", "", inside, drawn)
    for span in spans:
        # Spans that name each other as parents have no top.
        if span.entry_id not in drawn:
            yield from _branch(span, "", "", inside, drawn)


def _branch(
    top: Span, before: str, below: str, inside: dict[str, list[Span]], drawn: set[str]
) -> Iterator[tuple[str, Span]]:
    """A span and what is inside it. No recursion: a trace may be nested as deep as it likes."""
    waiting = [(top, before, below)]
    while waiting:
        span, lead, under = waiting.pop()
        if span.entry_id in drawn:
            continue
        drawn.add(span.entry_id)
        yield lead, span
        within = inside.get(span.entry_id, [])
        for place in range(len(within) - 1, -1, -1):
            ends = place == len(within) - 1
            waiting.append(
                (
                    within[place],
                    under + (_LAST if ends else _BRANCH),
                    under + (_SPACE if ends else _DOWN),
                )
            )


def span_rows(report: TraceReport) -> list[list[str]]:
    """A row per span: what it was, when, tokens, cost, currency, who carries it."""
    labels = signal_labels(report)
    ordered = list(tree_of(report.spans))
    money = amounts(span.cost_pico for _, span in ordered)
    tokens = counts(span.tokens for _, span in ordered)
    return [
        [
            before + span_text(span),
            moment(span.at_us),
            "" if span.is_outer else tokens[at],
            "" if span.is_outer else money[at],
            "" if span.is_outer else span.currency,
            carried_text(span, report.shares_of(span.entry_id), labels),
        ]
        for at, (before, span) in enumerate(ordered)
    ]


def span_text(span: Span) -> str:
    """What a span was, in a few words."""
    if span.adjusted_entry:
        return "adjustment"
    model = "/".join(part for part in (span.provider, span.model) if part)
    return model or span.agent_id or span.source


def carried_text(span: Span, shares: Sequence[Share], labels: dict[str, str]) -> str:
    """Who carries a cost: labels of signals with their shares."""
    if span.is_outer:
        return "outer: counted by the calls inside"
    if not shares:
        return "open"
    if not span.cost_pico:
        return "no price yet" if span.cost_basis == "unpriced" else "no cost"
    parts = [
        f"{labels.get(share.signal_entry, 'nobody')} {percent(share.pico, span.cost_pico)}"
        for share in sorted(shares, key=lambda one: (not one.signal_entry, -abs(one.pico)))
        if share.pico
    ]
    return ", ".join(parts)


def percent(part_pico: int, whole_pico: int) -> str:
    """A share in per cent, rounded to a tenth."""
    tenths = (abs(part_pico) * 2_000 + abs(whole_pico)) // (2 * abs(whole_pico))
    return f"{tenths // 10}.{tenths % 10} %"


def signal_labels(report: TraceReport) -> dict[str, str]:
    """A short name for each signal, by entry: names alone may be those of several."""
    entries = [signal.entry_id for signal in report.signals]
    entries += sorted({share.signal_entry for share in report.shares} - {"", *entries})
    return {entry: f"S{number}" for number, entry in enumerate(entries, 1)}


def why_none(signal: Told, *, carries: bool, is_closed: bool) -> str:
    """The flag of a signal that carries nothing, '' for one that carries something. `is_closed`
    where what it names has been shared out."""
    if carries:
        return ""
    if signal.taken is not None and signal.flag != "window_gone":
        return "voided"
    if signal.flag:
        return signal.flag
    if not signal.asks:
        return "not_asked"
    return "nothing" if is_closed else "open"


def why_none_here(signal: Told, report: TraceReport) -> str:
    """The same from a report of its trace."""
    carries = any(s.pico for s in report.shares if s.signal_entry == signal.entry_id)
    is_closed = bool(report.spans) and not report.open_costs()
    return why_none(signal, carries=carries, is_closed=is_closed)


def signal_rows(report: TraceReport) -> list[list[str]]:
    """A row per signal: label, name, when, entry, weight, what it carries of what is shown."""
    labels, told = signal_labels(report), {one.entry_id: one for one in report.signals}
    names = {share.signal_entry: share.signal_name for share in report.shares}
    lines: list[tuple[str, Told | None, str, int]] = []
    for entry in labels:
        carried = report.carried_by(entry) or {_currency(report): 0}
        lines += [(entry, told.get(entry), currency, pico) for currency, pico in carried.items()]
    money, totals = amounts(pico for *_, pico in lines), report.totals()
    rows = []
    for at, (entry, signal, currency, pico) in enumerate(lines):
        whole = totals[currency].cost if currency in totals else 0
        rows.append(
            [
                labels[entry],
                signal.name if signal is not None else names[entry],
                "" if signal is None else moment(signal.at_us),
                entry,
                _weight(signal),
                money[at],
                currency,
                percent(pico, whole) if whole else "-",
            ]
        )
    return rows


def _currency(report: TraceReport) -> str:
    return next(iter(report.totals()), "USD")


def _weight(signal: Told | None) -> str:
    if signal is None:
        return ""
    if signal.taken is not None:
        return "voided"
    return f"weight {signal.weight}" if signal.asks else "no cost asked"


def notes(report: TraceReport) -> list[str]:
    """What a reader should know beside the figures, a line each."""
    found = []
    labels = signal_labels(report)
    for signal in report.signals:
        label = f"{labels[signal.entry_id]} {signal.name}"
        if signal.taken is not None:
            found.append(f"{label} was taken back {taken_text(signal)}")
        flag = why_none_here(signal, report)
        if flag and flag != "voided":
            found.append(f"{label} carries nothing: {WHY.get(flag, flag)}")
    found += _unclaimed(report)
    unpriced = sum(span.cost_basis == "unpriced" and not span.is_outer for span in report.spans)
    if unpriced:
        found.append(
            f"{unpriced:,} calls have no price: `tollgate prices unknown` names the models, "
            "`tollgate rerate` corrects"
        )
    opened = report.open_costs()
    if opened:
        times = [span.at_us for span in report.spans]
        last = max(times + [signal.at_us for signal in report.signals])
        found.append(
            f"open: {len(opened):,} costs; the trace {CLOSES}. Its last event was at "
            f"{moment(last)}, the events of its partition have come to "
            f"{moment(report.watermark_us)}"
        )
    elif any(total.open for total in report.totals().values()):
        found.append("shares are under way: look again in a moment, or run `tollgate audit`")
    if report.is_cut:
        found.append(f"only the first {len(report.spans):,} costs are shown and summed")
    return found


def taken_text(signal: Told) -> str:
    """When and why a signal was taken back, and what became of its cost."""
    taken = signal.taken
    assert taken is not None, "asked before"
    became = "moved to those that ask for it too" if taken.cost == "move" else "is nobody's now"
    if signal.flag == "window_gone":
        became = "stays with it, as its trace is no longer kept"
    why = f" ({taken.reason})" if taken.reason else ""
    return f"at {moment(taken.at_us)}{why}: what it carried {became}"


def _unclaimed(report: TraceReport) -> list[str]:
    """Why nobody carries what nobody does, a line per reason."""
    costs: dict[str, int] = {}
    for share in report.shares:
        if not share.signal_entry and share.pico:
            flag = next((flag for flag in ("window_full", "voided") if flag in share.flags), "")
            costs[flag] = costs.get(flag, 0) + 1
    return [f"{number:,} costs nobody carries: {UNCLAIMED[flag]}" for flag, number in costs.items()]
