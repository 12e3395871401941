"""Random logs of a partition: events with repeats, conflicts, grants, late and early ones, and
cuts.

An event is plain data, so that the naive model (`tests.property.model`) reads it without any of
Tollgate's code; `records` makes of it what a worker would read.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from hypothesis import given, seed, settings
from hypothesis import strategies as st

from schemas import codec
from schemas.structs import LedgerEntry, PriceBook
from schemas.times import format_time
from streams.domain.context import Context
from streams.domain.facts import Rejected, SourceRecord
from streams.domain.folding import FOLD_ORDER, fold_cycle
from streams.domain.invariants import check_cycle
from streams.domain.state import PartitionState, Progress
from tests.builders import DAY_US, HOUR_US, NOON_US, book, consumed_by, context, fact_of, span
from tests.property.seed import SEED

BUDGETS, SIGNALS, USAGE = "budgets", "signals", "usage"

HORIZON_DAYS: Final = 3
LATENESS_DAYS: Final = 2
FUTURE_US: Final = HOUR_US
GRANTS_MAX: Final = 3
PLAN: Final = (("unit", "20", 5), ("usd", "0.00001", 1), ("token", "30", 5), ("unit", "5", 1))
MODELS: Final = ("dated", "small", "dated", "tiered", "half", "unheard-of", None)


def prices() -> PriceBook:
    """Whole and fractional rates, tiers, a price change, dear nights, a model without
    output."""
    return book(
        small={"input": "3", "output": "15", "cache_read": "0.3"},
        tiered={"input": ("1", [(10, "2")]), "output": ("4.0000005", [(10, "8")])},
        dated=[
            span(input="1", output="1"),
            span(from_day="2026-01-16", input="2", output="2"),
            span(daily=(18 * 3600, 6 * 3600), input="5", output="5"),
        ],
        half={"input": "0.0000005"},
    )


def rules(**more: Any) -> Context:
    """The context of the random logs: short limits, so that events pass them."""
    limits = {
        "horizon_days": HORIZON_DAYS,
        "lateness_days": LATENESS_DAYS,
        "future_seconds": FUTURE_US // 1_000_000,
        "grants_max": GRANTS_MAX,
    }
    return context(PLAN, prices=prices(), **limits | more)


WHEN: Final = (
    *(None, None, None, 0, 0, -1, -HOUR_US, -HOUR_US, -DAY_US, FUTURE_US, -LATENESS_DAYS * DAY_US),
    *(FUTURE_US + 1, -LATENESS_DAYS * DAY_US - 1),
)
"""When an event happened, after its append: mostly fine, at the limits, and just beyond them."""


@dataclass(frozen=True)
class Event:
    """One record to be. `fields` are those of its body; `occurred_us` None where it has no time;
    `flaw` is the code of what makes it no fact at all."""

    topic: str
    customer: str
    source: str
    event_id: str
    appended_us: int
    occurred_us: int | None
    fields: tuple[tuple[str, Any], ...]
    flaw: str = ""


_tokens = st.dictionaries(
    st.sampled_from(("input", "cache_read", "output", "reasoning", "input_audio")),
    st.integers(0, 12),
    max_size=3,
)
_costs = st.sampled_from(("0", "0.000000000001", "0.000004", "1.50", "12345678.9"))
_units = st.integers(0, 9)
_rated = st.fixed_dictionaries(
    {
        "units": _units,
        "tokens": _tokens.filter(bool),
        "provider": st.just("lab"),
        "model": st.sampled_from([model for model in MODELS if model]),
    },
    optional={"success": st.booleans(), "currency": st.sampled_from(("USD", "EUR"))},
)
_reported = st.fixed_dictionaries(
    {"units": _units, "cost": _costs},
    optional={
        "tokens": _tokens,
        "currency": st.sampled_from(("USD", "EUR", "GBP")),
        "model": st.just("small"),
    },
)
_nameless = st.fixed_dictionaries({"units": _units}, optional={"tokens": _tokens})
usage_fields = _rated | _reported | _rated | _nameless | _rated
signal_fields = st.fixed_dictionaries(
    {"name": st.sampled_from(("closed", "booked"))}, optional={"quantity": st.integers(1, 3)}
)


@st.composite
def grant_fields(draw: st.DrawFn, appended_us: int) -> dict[str, Any]:
    denomination = draw(st.sampled_from(("unit", "token", "usd")))
    whole = draw(st.sampled_from(("1", "4", "15")))
    found: dict[str, Any] = {
        "denomination": denomination,
        "amount": draw(st.sampled_from(("0.00002", "0.000000000003")))
        if denomination == "usd"
        else whole,
        "priority": draw(st.integers(0, 3)),
    }
    if draw(st.booleans()):
        found["effective_at"] = format_time(appended_us + draw(st.integers(-1, 1)) * HOUR_US)
    if draw(st.booleans()):
        found["expires_at"] = format_time(appended_us + draw(st.integers(2, 30)) * HOUR_US)
    return found


@st.composite
def events(draw: st.DrawFn, most: int = 25) -> list[Event]:
    """A partition's log in the order of its appends; few ids, so that many meet again."""
    found: list[Event] = []
    now_us = NOON_US
    for _ in range(draw(st.integers(1, most))):
        now_us += draw(st.sampled_from((0, 0, 1, HOUR_US, 10 * HOUR_US, DAY_US, 3 * DAY_US)))
        if found and draw(st.integers(0, 3)) == 0:
            # A repeat, or with a changed field a conflict, of something sent before.
            again = replace(draw(st.sampled_from(found)), appended_us=now_us)
            if draw(st.booleans()) and again.topic == USAGE:
                changed = dict(again.fields) | {"units": draw(st.integers(0, 9))}
                again = replace(again, fields=tuple(changed.items()))
            found.append(again)
            continue
        topic = draw(st.sampled_from((USAGE, USAGE, USAGE, SIGNALS, BUDGETS)))
        of_topic = {USAGE: usage_fields, SIGNALS: signal_fields}
        fields = draw(of_topic[topic] if topic in of_topic else grant_fields(now_us))
        when = draw(st.sampled_from(WHEN))
        found.append(
            Event(
                topic,
                draw(st.sampled_from(("acme", "bolt"))),
                draw(st.sampled_from(("crm", "erp"))),
                f"e{draw(st.integers(0, 6))}",
                now_us,
                None if when is None else now_us + when,
                tuple(fields.items()),
            )
        )
    return found


Cut = list[dict[str, int]]
"""For each cycle how many records of each topic it takes; what is left over, one last cycle
takes."""


def cuts() -> st.SearchStrategy[Cut]:
    """Cycles that take from each topic as many records as they like."""
    few = st.fixed_dictionaries({topic: st.integers(0, 6) for topic in FOLD_ORDER})
    return st.lists(few, min_size=1, max_size=8)


ONE_CYCLE: Final[Cut] = []


def records(log: list[Event]) -> list[SourceRecord]:
    """The records of a log, with offsets by topic."""
    offsets = dict.fromkeys(FOLD_ORDER, 0)
    found = []
    for event in log:
        found.append(record_of(event, offsets[event.topic]))
        offsets[event.topic] += 1
    return found


def record_of(event: Event, offset: int) -> SourceRecord:
    """What a worker would read of an event at an offset of its topic."""
    body: dict[str, Any] = {
        "schema_version": 1,
        "event_id": event.event_id,
        "source": event.source,
        "customer_id": event.customer,
        **dict(event.fields),
    }
    if event.occurred_us is not None:
        body["occurred_at"] = format_time(event.occurred_us)
    if event.flaw == "invalid_field":
        body["customer_id"] = ""
    key = b"nobody" if event.flaw == "wrong_key" else event.customer.encode()
    return SourceRecord(event.topic, offset, event.appended_us, key, codec.encode(body))


def cycles_of(log: list[SourceRecord], cut: Cut) -> list[list[SourceRecord]]:
    """The records of each cycle, in the order in which it folds them."""
    left = {topic: [r for r in log if r.topic == topic] for topic in FOLD_ORDER}
    found = []
    for take in [*cut, {topic: len(log) for topic in FOLD_ORDER}]:
        batch = []
        for topic in FOLD_ORDER:
            batch += left[topic][: take.get(topic, 0)]
            left[topic] = left[topic][take.get(topic, 0) :]
        found.append(batch)
    return found


@dataclass
class Folded:
    """What came of a log: the state, everything appended, and what was refused."""

    state: PartitionState
    entries: list[LedgerEntry]
    rejected: list[Rejected]


def fold(log: list[Event], cut: Cut, under: Context | None = None) -> Folded:
    """The log folded in these cycles, with the cheap invariants checked after each."""
    under = under or rules()
    folded = Folded(PartitionState(Progress()), [], [])
    time_us = 0
    for batch in cycles_of(records(log), cut):
        first_sequence = folded.state.progress.next_sequence
        # Domain time is the running maximum of the append times that were taken (D5).
        time_us = max([time_us, *(record.appended_at_us for record in batch)])
        facts = [fact_of(record) for record in batch]
        result = fold_cycle(folded.state, 0, consumed_by(batch), facts, under, time_us)
        check_cycle(result, first_sequence, len(facts))
        folded.entries += result.entries
        folded.rejected += result.rejected
    return folded


F = TypeVar("F", bound=Callable[..., None])


def property_test(
    *strategies: st.SearchStrategy[Any], examples: int = 150
) -> Callable[[F], Callable[..., None]]:
    """`given`, under the run's seed; what hypothesis finds is repeated by that seed alone."""

    def wrap(test: F) -> Callable[..., None]:
        ready = given(*strategies)(test)
        ready = settings(max_examples=examples, deadline=None, database=None)(ready)
        return seed(SEED)(ready)

    return wrap


def random_log(chance: random.Random, length: int) -> list[Event]:
    """A long log, every choice as likely as the other; hypothesis seeks short and odd ones.

    A function of the state of `chance` alone, so that another process can make the same.
    """
    found: list[Event] = []
    now_us = NOON_US
    for number in range(length):
        now_us += chance.choice((0, 0, 1, HOUR_US, HOUR_US, 7 * HOUR_US))
        if found and chance.random() < 0.25:
            again = replace(chance.choice(found[-30:]), appended_us=now_us)
            if chance.random() < 0.3 and again.topic == USAGE:
                changed = dict(again.fields) | {"units": chance.randrange(9)}
                again = replace(again, fields=tuple(changed.items()))
            found.append(again)
            continue
        topic = chance.choice((USAGE, USAGE, USAGE, SIGNALS, BUDGETS))
        when = chance.choice(WHEN)
        found.append(
            Event(
                topic,
                f"c{chance.randrange(5)}",
                "crm",
                f"e{number}",
                now_us,
                None if when is None else now_us + when,
                tuple(_random_fields(chance, topic, now_us).items()),
            )
        )
    return found


def random_cut(chance: random.Random) -> Cut:
    """Ten cycles of all sizes."""
    return [{topic: chance.randrange(9) for topic in FOLD_ORDER} for _ in range(10)]


def _random_fields(chance: random.Random, topic: str, now_us: int) -> dict[str, Any]:
    if topic == SIGNALS:
        return {"name": chance.choice(("closed", "booked")), "quantity": chance.randrange(1, 4)}
    if topic == BUDGETS:
        kind = chance.choice(("unit", "token", "usd"))
        amount = (
            f"0.0000{chance.randrange(1, 99)}" if kind == "usd" else f"{chance.randrange(1, 40)}"
        )
        grant = {"denomination": kind, "amount": amount, "priority": chance.randrange(3)}
        if chance.random() < 0.5:
            grant["effective_at"] = format_time(now_us + chance.randrange(-2, 3) * HOUR_US)
        if chance.random() < 0.7:
            grant["expires_at"] = format_time(now_us + chance.randrange(3, 40) * HOUR_US)
        return grant
    classes = chance.sample(("input", "cache_read", "output", "reasoning", "input_audio"), 2)
    used: dict[str, Any] = {
        "units": chance.randrange(9),
        "tokens": {name: chance.randrange(15) for name in classes},
        "provider": "lab",
    }
    model = chance.choice(MODELS)
    if model is not None:
        used["model"] = model
    if chance.random() < 0.2:
        used |= {"cost": "0.5", "currency": chance.choice(("USD", "EUR", "GBP"))}
    return used
