"""Facts, records, contexts and states for tests, with defaults: a test names only what matters.

    usage(units=5)                      a usage body of customer acme
    fact(usage(units=5), offset=3)      the same as a fact at offset 3, through its bytes
    context(plan=[("unit", "10")])      rules whose default plan grants ten units
    cycle(state(), fact(usage()))       one cycle folded into an empty state

Everything goes through its bytes and the codec, as it would in a worker.
"""

from base64 import b64encode
from collections.abc import Iterable
from typing import Any, Final, TypeVar

from schemas import codec
from schemas.envelope import SCHEMA_VERSION
from schemas.structs import (
    Adjustment,
    BillingRecord,
    Ceiling,
    Consumed,
    CycleEntry,
    Discard,
    Grant,
    InboundFact,
    LedgerEntry,
    Limit,
    PriceBook,
    Replay,
    Signal,
    Usage,
    Void,
)
from schemas.times import MICROSECONDS, parse_time_us
from schemas.topics import BUDGETS, SIGNALS, USAGE
from streams.domain import canonical
from streams.domain.billing_facts import billing_fact
from streams.domain.context import CatalogView, Context
from streams.domain.corrections import adjustment_fact, void_fact
from streams.domain.decoding import decode_original
from streams.domain.entries import Position
from streams.domain.facts import ClaimingFact, Fact, Rejected, SourceRecord
from streams.domain.folding import FOLD_ORDER, CycleResult, fold_cycle
from streams.domain.state import PartitionState, Progress

NOON: Final = "2026-01-15T12:00:00Z"
"""When everything happens unless a test says otherwise."""

NOON_US: Final = parse_time_us(NOON)
SECOND_US: Final = MICROSECONDS
HOUR_US: Final = 3600 * SECOND_US
DAY_US: Final = 24 * HOUR_US

E = TypeVar("E", bound=LedgerEntry)


# --- bodies ------------------------------------------------------------------------------------


def usage(customer: str = "acme", event_id: str = "e1", **more: Any) -> Usage:
    """A usage body. `tokens` may be given as a dict of token classes."""
    return codec.decode_usage(json_of(customer, event_id, {"units": 1} | more))


def signal(customer: str = "acme", event_id: str = "s1", **more: Any) -> Signal:
    """A signal body."""
    return codec.decode_signal(json_of(customer, event_id, {"name": "ticket_closed"} | more))


def grant(
    customer: str = "acme",
    event_id: str = "g1",
    denomination: str = "unit",
    amount: str = "100",
    **more: Any,
) -> Grant:
    """A grant body."""
    fields = {"kind": "grant", "denomination": denomination, "amount": amount} | more
    body = codec.decode_budget(json_of(customer, event_id, fields))
    assert isinstance(body, Grant)
    return body


def replay(original: SourceRecord, customer: str = "acme", partition: int = 0, **more: Any) -> Any:
    """A replay body of the dead letter that this record of a partition became."""
    letter_id = f"1-{original.topic}-{partition}-{original.offset}-0"
    fields = {
        "kind": "replay",
        "source": "dead-letters",
        "letter_id": letter_id,
        "generation": 1,
        "topic": original.topic,
        "partition": partition,
        "offset": original.offset,
        "appended_at": original.appended_at_us,
        "record_value": b64encode(original.value or b"").decode(),
    }
    return codec.decode_budget(json_of(customer, f"replay-{letter_id}", fields | more))


def json_of(customer: str, event_id: str, fields: dict[str, Any]) -> bytes:
    """The JSON of a fact: the identity in front of `fields`, which may also replace it."""
    identity = {
        "schema_version": SCHEMA_VERSION,
        "event_id": event_id,
        "source": "crm",
        "customer_id": customer,
    }
    return codec.encode(identity | fields)


# --- records and facts -------------------------------------------------------------------------


def record(
    body: InboundFact, offset: int = 0, appended_at_us: int = NOON_US, *, topic: str | None = None
) -> SourceRecord:
    """The record of a body on the topic of its kind, keyed by its customer."""
    return SourceRecord(
        topic or _topic_of(body),
        offset,
        appended_at_us,
        body.customer_id.encode(),
        codec.encode(body),
    )


def fact(body: InboundFact, offset: int = 0, appended_at_us: int = NOON_US) -> ClaimingFact:
    """The fact of a body, through its bytes, as a worker would come by it."""
    return fact_of(record(body, offset, appended_at_us))


def fact_of(source: SourceRecord) -> ClaimingFact:
    """The fact that a record states. Raises RejectError."""
    if source.topic == USAGE.name:
        return canonical.usage_fact(source, codec.decode_usage(source.value))
    if source.topic == SIGNALS.name:
        return canonical.signal_fact(source, codec.decode_signal(source.value))
    body = codec.decode_budget(source.value)
    if isinstance(body, Replay):
        return canonical.replay_fact(source, body, decode_original(body))
    if isinstance(body, Discard):
        return canonical.discard_fact(source, body)
    if isinstance(body, Limit):
        return canonical.limit_fact(source, body)
    if isinstance(body, Ceiling):
        return canonical.ceiling_fact(source, body)
    if isinstance(body, Adjustment):
        return adjustment_fact(source, body)
    if isinstance(body, Void):
        return void_fact(source, body)
    if isinstance(body, BillingRecord):
        return billing_fact(source, body)
    return canonical.grant_fact(source, body)


def _topic_of(body: InboundFact) -> str:
    if isinstance(body, Usage):
        return USAGE.name
    return SIGNALS.name if isinstance(body, Signal) else BUDGETS.name


# --- context -----------------------------------------------------------------------------------


def context(
    plan: Iterable[tuple[Any, ...]] = (),
    *,
    prices: PriceBook | None = None,
    **rules: Any,
) -> Context:
    """A context with these rules. `plan` holds (denomination, amount) or (denomination, amount,
    priority); without it nobody is granted anything."""
    return catalog_view(plan, prices=prices, **rules).context()


def catalog_view(
    plan: Iterable[tuple[Any, ...]] = (),
    *,
    prices: PriceBook | None = None,
    **rules: Any,
) -> CatalogView:
    """A catalog of a generation, rules and, where given, a price book, at offsets 0, 1 and 2."""
    names = ("denomination", "amount", "priority", "reason")
    default_plan = [dict(zip(names, item, strict=False)) for item in plan]
    view = CatalogView()
    view.fold(0, catalog_record("generation", generation=1, partitions=8, topic_ids={}))
    view.fold(1, catalog_record("rules", **({"default_plan": default_plan} | rules)))
    if prices is not None:
        view.fold(2, prices)
    return view


def catalog_record(kind: str, **fields: Any) -> Any:
    """A catalog record, through its bytes."""
    head = {"schema_version": SCHEMA_VERSION, "kind": kind, "id": "test", "version": "1"}
    return codec.decode_catalog(codec.encode(head | fields))


def book(**models: Any) -> PriceBook:
    """A price book of one provider, `lab`. `models` gives each model's rates by token class, or a
    list of spans: book(small={"input": "3", "output": "15"})."""
    made = [
        {
            "id": name,
            "match": {"equals": name},
            "spans": rates if isinstance(rates, list) else [span(**rates)],
        }
        for name, rates in models.items()
    ]
    provider = {"id": "lab", "match": {"equals": "lab"}, "models": made}
    found: PriceBook = catalog_record("price_book", providers=[provider])
    return found


def span(from_day: str | None = None, daily: tuple[int, int] | None = None, **rates: Any) -> Any:
    """A span of prices. A rate is an amount, or (amount, [(threshold, amount), …])."""
    made: dict[str, Any] = {"rates": {name: _rate(rate) for name, rate in rates.items()}}
    if from_day is not None:
        made["from_day"] = from_day
    if daily is not None:
        made["daily_from_second"], made["daily_to_second"] = daily
    return made


def _rate(rate: Any) -> dict[str, Any]:
    if isinstance(rate, str):
        return {"base": rate}
    base, tiers = rate
    return {"base": base, "tiers": tiers}


# --- states and cycles -------------------------------------------------------------------------


def state() -> PartitionState:
    """A partition that nothing happened in."""
    return PartitionState(Progress())


def position(decided_at_us: int = NOON_US, cycle: int = 1) -> Position:
    """Generation 1, partition 0."""
    return Position(1, 0, cycle, decided_at_us)


def consumed_by(records: Iterable[SourceRecord]) -> list[Consumed]:
    """The offset ranges of these records, topic by topic in fold order."""
    offsets: dict[str, list[int]] = {}
    for source in records:
        offsets.setdefault(source.topic, []).append(source.offset)
    return [
        Consumed(topic=topic, from_offset=min(offsets[topic]), to_offset=max(offsets[topic]) + 1)
        for topic in FOLD_ORDER
        if topic in offsets
    ]


def cycle(
    into: PartitionState,
    *given: Fact | Rejected,
    context: Context | None = None,
    at_us: int = NOON_US,
) -> CycleResult:
    """One cycle of these facts, put into the order in which a cycle folds. The default context
    grants nothing and knows no price."""
    ordered = sorted(given, key=lambda f: (FOLD_ORDER.index(f.record.topic), f.record.offset))
    return fold_cycle(
        into,
        0,
        consumed_by(f.record for f in ordered),
        ordered,
        context or _NO_PLAN,
        at_us,
    )


def of_kind(kind: type[E], entries: Iterable[LedgerEntry]) -> list[E]:
    """The entries of one kind, in their order."""
    return [entry for entry in entries if isinstance(entry, kind)]


def own_entry(result: CycleResult) -> CycleEntry:
    """The cycle's own entry."""
    first = result.entries[0]
    assert isinstance(first, CycleEntry)
    return first


_NO_PLAN: Final = context()
