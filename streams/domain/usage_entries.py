"""The entry of a usage event: rated, covered, settling what it settles.

Made for every event, so its parts are put together by position and with as little as can be.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from schemas.budget import Denomination
from schemas.envelope import SCHEMA_VERSION
from schemas.money import format_amount
from schemas.structs import Burn, HoldPart, Usage, UsageEntry, Value, replace
from streams.domain.budget import balance_text
from streams.domain.context import Context
from streams.domain.entries import DENOMINATIONS, Position, position_id
from streams.domain.facts import NO_TOKENS, UsageFact
from streams.domain.grants import OpenGrant, plan_burns
from streams.domain.holds import Hold
from streams.domain.invoices.tallies import OUTER_SPAN
from streams.domain.rating import UNPRICED, UNPRICED_QUANTITY, Rating, rate, total_tokens
from streams.domain.settling import Settlement, settle

_ORDER: Final = {one.value: place for place, one in enumerate(Denomination)}

NO_FLAGS: Final[list[str]] = []

FOREIGN_CURRENCY: Final = "currency_without_balance"
"""Flag of a cost in a currency that no balance is kept in (M3)."""


def as_outer(fact: UsageFact) -> UsageFact:
    """The event of a span that repeats what calls inside it, or around it, have told: that it was,
    and nothing that counts."""
    body = replace(
        fact.body,
        tokens=None,
        cost=None,
        units=0,
        quantities=None,
        usage_missing=False,
        outer=True,
    )
    outer: UsageFact = replace(fact, body=body, cost_pico=None)
    return outer


class Cover(Value, frozen=True):
    """How much of a usage event the open grants cover, and what that takes from which."""

    units: int
    tokens: int
    pico_usd: int
    burns: list[Burn]


NO_COVER: Final = Cover(0, 0, 0, [])

NO_HOLDS: Final[Mapping[str, Hold]] = {}


def usage_entry(
    fact: UsageFact,
    grants: list[OpenGrant],
    context: Context,
    position: Position,
    sequence: int,
    holds: Mapping[str, Hold] = NO_HOLDS,
    *,
    named_closed: bool = False,
) -> tuple[UsageEntry, Settlement | None]:
    """The entry of an accepted usage event, rated and covered by these grants, which stand in burn
    order; and what it settles of these holds, None where it means none.

    `named_closed` says whether the hold that it names has ended before.
    """
    body, tokens = fact.body, fact.body.tokens
    rating = rate(
        body,
        fact.cost_pico,
        fact.occurred_at_us,
        context.prices,
        context.provisional_pico_per_million,
        context.overrides,
    )
    units, settlement = body.units, None
    if body.reservation_id is not None or body.settles_oldest:
        settlement = settle(holds, body, rating, closed=named_closed)
        units, rating = settlement.units, settlement.rating
    cover = NO_COVER
    if grants:
        used_tokens = total_tokens(tokens) if settlement is None else settlement.tokens
        cover = _cover(grants, units, used_tokens, rating, position.decided_at_us)
    entry = _stated(fact, position, sequence, units, rating, cover, settlement)
    return entry, settlement


def _stated(
    fact: UsageFact,
    position: Position,
    sequence: int,
    units: int,
    rating: Rating,
    cover: Cover,
    settlement: Settlement | None,
) -> UsageEntry:
    body, record = fact.body, fact.record
    tokens = body.tokens or NO_TOKENS
    return _usage_entry(
        SCHEMA_VERSION,
        position_id(record, position, 0),
        position.generation,
        position.partition,
        sequence,
        position.cycle,
        position.decided_at_us,
        record.topic,
        record.offset,
        0,  # entry_index
        record.appended_at_us,
        fact.occurred_at_us,
        body.customer_id,
        body.source,
        body.event_id,
        body.agent_id or "",
        body.task_ref or "",
        body.trace_id or "",
        body.provider or "",
        body.model or "",
        units,
        tokens.input,
        tokens.cache_read,
        tokens.cache_write,
        tokens.output,
        tokens.reasoning,
        tokens.input_audio,
        tokens.output_audio,
        format_amount(rating.cost_pico),
        rating.currency,
        rating.basis,
        rating.price_version,
        rating.priced_as,
        format_amount(rating.provisional_pico) if rating.provisional_pico else "0",
        cover.units,
        cover.tokens,
        format_amount(cover.pico_usd) if cover.pico_usd else "0",
        cover.burns,
        body.success,
        _flags(body, rating),
        *(
            _more(body, rating, settlement)
            if settlement is not None
            or body.quantities
            or body.conditions
            or rating.override
            or body.scope_id
            or body.span_id
            else ()
        ),
    )


def _more(body: Usage, rating: Rating, settlement: Settlement | None) -> tuple[Any, ...]:
    """The last fields of a usage entry, which few events have: what it settles, what was used
    beside tokens and how, which override priced it, where in its trace it stands."""
    settled: tuple[Any, ...] = ("", "", [], 0, False)
    if settlement is not None:
        settled = _settled(body, settlement)
    return (
        *settled,
        {name: count for name, count in (body.quantities or {}).items() if count},
        body.conditions or {},
        rating.override,
        body.scope_id or "",
        body.span_id or "",
        body.parent_span_id or "",
    )


def _settled(body: Usage, settlement: Settlement) -> tuple[Any, ...]:
    parts = [
        HoldPart(
            reservation_id=taken.hold.reservation_id,
            amount=balance_text(taken.hold.denomination, taken.amount),
            task_reservation_id=taken.hold.task_reservation_id,
        )
        for taken in settlement.taken
        if taken.amount
    ]
    return (
        body.reservation_id or "",
        settlement.said,
        parts,
        settlement.missing_tokens,
        body.usage_missing,
    )


_usage_entry: Final[Callable[..., UsageEntry]] = UsageEntry
"""By position: forty keywords cost more than rating the event. A test of the core compares every
field with the record that it comes from."""


def _cover(grants: list[OpenGrant], units: int, tokens: int, rating: Rating, now_us: int) -> Cover:
    dollars = rating.cost_pico + rating.provisional_pico if rating.currency == "USD" else 0
    due = {"unit": units, "token": tokens, "usd": dollars}
    planned = plan_burns(grants, due, now_us)
    if not planned:
        return NO_COVER
    burns = [
        Burn(
            grant_id=grant.grant_id,
            denomination=DENOMINATIONS[grant.denomination],
            amount=format_amount(part) if grant.denomination == "usd" else str(part),
        )
        for grant, part in planned
    ]
    if len(burns) > 1:
        burns.sort(key=_denomination_order)
    return Cover(units - due["unit"], tokens - due["token"], dollars - due["usd"], burns)


def _denomination_order(burn: Burn) -> int:
    return _ORDER[burn.denomination]


def _flags(body: Usage, rating: Rating) -> list[str]:
    if (
        not (body.outer or rating.partial or rating.basis == "unpriced")
        and rating.currency == "USD"
    ):
        return NO_FLAGS
    flags = []
    if body.outer:
        flags.append(OUTER_SPAN)
    if rating.partial:
        flags.append(UNPRICED_QUANTITY)
    if rating.basis == "unpriced":
        flags.append(UNPRICED)
    if rating.currency != "USD" and rating.cost_pico:
        flags.append(FOREIGN_CURRENCY)
    return flags
