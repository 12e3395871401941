"""What a decision may look up: the rules and prices of one catalog offset, as exact integers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from schemas.budget import Denomination, Interval
from schemas.money import parse_amount
from schemas.structs import (
    ApiKey,
    CatalogRecord,
    Generation,
    PriceBook,
    PriceOverride,
    RateCard,
    RatePlan,
    Restoration,
    Rules,
    SellerPlan,
)
from schemas.times import MICROSECONDS
from schemas.topics import CLAIMS_MARGIN_DAYS, CLAIMS_RETENTION_DAYS
from streams.domain.canonical import parse_balance
from streams.domain.generations import restored
from streams.domain.overrides import (
    NO_OVERRIDES,
    OVERRIDES_MAX,
    Override,
    Overrides,
    make_ready,
)
from streams.domain.prices import DAY_SECONDS, EMPTY_BOOK, PriceIndex, index_prices

RULES_VERSION: Final = 4
"""Version of the semantics in this package. Each cycle records it; the audit runs that one or
refuses."""


@dataclass(frozen=True, slots=True)
class PlannedGrant:
    """What a plan grants; `amount` counts units, tokens or pico-dollars."""

    denomination: Denomination
    amount: int
    priority: int
    reason: str
    resets: Interval | None = None


@dataclass(frozen=True, slots=True)
class SellerLimit:
    """What the seller's plan allows each customer in all (P12)."""

    code: str
    denomination: str
    amount: int


@dataclass(frozen=True, slots=True)
class Context:
    """Everything beside the state that `decide` sees. Immutable: a catalog change makes a new one.

    `catalog_offset` is the next offset of the catalog: records below it are in here (D3).
    """

    generation: int
    partitions: int
    catalog_offset: int
    prices: PriceIndex
    horizon_us: int
    lateness_us: int
    future_us: int
    grants_max: int
    plan: tuple[PlannedGrant, ...]
    provisional_pico_per_million: int
    hold_ttl_us: int
    hold_ttl_us_max: int
    holds_max: int
    limits_max: int
    quiet_us: int
    """Lateness and grace of trace windows together."""
    window_us: int
    window_costs_max: int
    window_signals_max: int
    windows_open_max: int
    unassigned_us: int
    """How long an event without a customer waits."""
    unassigned_max: int
    invoice_grace_us: int
    """How long after its end a period can be closed."""
    seller_plan: SellerLimit | None = None
    overrides: Overrides = NO_OVERRIDES


class IncompleteCatalogError(ValueError):
    """The catalog holds no generation or no rules yet: nothing can be decided."""


class CatalogView:
    """A fold of the catalog topic. Give it the records in order; ask for the context at any
    offset."""

    def __init__(self) -> None:
        self._next_offset = 0
        self._seen: set[tuple[str, str, str]] = set()
        self._generations: dict[int, Generation] = {}
        self._rules: Rules | None = None
        self._plan: tuple[PlannedGrant, ...] = ()
        self._prices = EMPTY_BOOK
        self._overrides: dict[str, Override] = {}
        self._keys: dict[str, ApiKey] = {}
        self._context: Context | None = None

    @property
    def next_offset(self) -> int:
        """The offset after the last record folded."""
        return self._next_offset

    @property
    def generation(self) -> Generation | None:
        """The current generation of the topics, None before `topics create`."""
        return self._generations[max(self._generations)] if self._generations else None

    def generation_of(self, number: int) -> Generation | None:
        """A generation of the topics by its number."""
        return self._generations.get(number)

    @property
    def generations(self) -> Mapping[int, Generation]:
        """All generations of the topics by number, with the ids that their topics have now."""
        return self._generations

    def holds(self, record: CatalogRecord) -> bool:
        """Whether there is a record of this kind, id and version already."""
        return _catalog_key(record) in self._seen

    @property
    def has_rules(self) -> bool:
        """Whether any rules have been recorded."""
        return self._rules is not None

    @property
    def price_version(self) -> str:
        """The version of the price book in force, '' where there is none."""
        return self._prices.version

    @property
    def prices(self) -> PriceIndex:
        """The price book in force, an empty one where there is none."""
        return self._prices

    @property
    def overrides(self) -> Overrides:
        """The price overrides in force, beside the book in force."""
        in_force = tuple(self._overrides.values())
        return Overrides(self._prices, in_force) if in_force else NO_OVERRIDES

    @property
    def keys(self) -> Mapping[str, ApiKey]:
        """The latest version of each API key, by id. Only gateways look at them."""
        return self._keys

    def fold(self, offset: int, record: CatalogRecord) -> None:
        """Takes one record; the latest of a kind is in force.

        Raises ValueError for a record that contradicts itself or what was there before it.
        """
        if self.holds(record):
            # Compaction keeps one record of a key, so that a reader who comes later would decide
            # with other rules than the one who came first (D3).
            raise ValueError(
                f"{type(record).__name__} {record.id}@{record.version} is there already: what the "
                "catalog says is never changed; append it under a new version"
            )
        match record:
            case Generation():
                self._add_generation(record)
            case Restoration():
                self._generations = restored(self._generations, record)
            case Rules():
                _check_rules(record)
                self._plan = _plan(record)
                self._rules = record
            case PriceBook():
                self._prices = self._indexed(record)
            case PriceOverride():
                self._add_override(record)
            case ApiKey():
                self._add_key(record)
            case RateCard() | RatePlan():
                # Nothing that is decided depends on them: `rate_cards.RateShelf` keeps them.
                pass
        self._seen.add(_catalog_key(record))
        self._next_offset = max(self._next_offset, offset + 1)
        self._context = None

    def _indexed(self, record: PriceBook) -> PriceIndex:
        """A price book as events are priced by it."""
        return index_prices(record)

    def _add_generation(self, record: Generation) -> None:
        last = max(self._generations, default=0)
        if record.generation <= last:
            raise ValueError(
                f"generation {record.generation} of the topics after generation {last}: "
                "generations are counted upwards"
            )
        self._generations[record.generation] = record

    def _add_override(self, record: PriceOverride) -> None:
        ready = make_ready(record)
        # A new version comes last, wherever the one stood that it replaces.
        if len(self._overrides) - (record.id in self._overrides) >= OVERRIDES_MAX:
            raise ValueError(
                f"{OVERRIDES_MAX} price overrides are in force, the most that there may be: "
                "withdraw some, or make a price book of your own"
            )
        self._overrides.pop(record.id, None)
        if not record.withdrawn:
            self._overrides[record.id] = ready

    def _add_key(self, record: ApiKey) -> None:
        known = self._keys.get(record.id)
        if known is not None and known.digest != record.digest:
            raise ValueError(f"API key {record.id} has another secret: make a key under a new id")
        # Of two commands at one moment either may come last; a revocation stands all the same.
        if known is None or known.revoked_at is None:
            self._keys[record.id] = record

    def passed(self, next_offset: int) -> None:
        """Offsets below `next_offset` have been read, records or not (markers take offsets)."""
        if next_offset > self._next_offset:
            self._next_offset = next_offset
            self._context = None

    def context(self) -> Context:
        """The context at `next_offset`. Raises IncompleteCatalogError."""
        generation = self.generation
        if generation is None or self._rules is None:
            raise IncompleteCatalogError(
                "the catalog holds no generation or no rules: run `tollgate topics create`"
            )
        if self._context is None:
            self._context = _context(
                generation,
                self._rules,
                self._plan,
                self._prices,
                self._next_offset,
                self.overrides,
            )
        return self._context


def _catalog_key(record: CatalogRecord) -> tuple[str, str, str]:
    return (type(record).__name__, record.id, record.version)


def _check_rules(rules: Rules) -> None:
    # I3: within lateness + future the id of an event is certainly still claimed, so that no repeat
    # can count again.
    if rules.lateness_days * DAY_SECONDS + rules.future_seconds > rules.horizon_days * DAY_SECONDS:
        raise ValueError(
            f"rules {rules.id}@{rules.version}: lateness + future limit exceed the claims' "
            "horizon; lengthen horizon_days or shorten lateness_days"
        )
    # I6: what is dropped physically must be what no longer holds.
    if rules.horizon_days + CLAIMS_MARGIN_DAYS > CLAIMS_RETENTION_DAYS:
        raise ValueError(
            f"rules {rules.id}@{rules.version}: horizon_days is {rules.horizon_days}, claims are "
            f"kept for {CLAIMS_RETENTION_DAYS} days, {CLAIMS_MARGIN_DAYS} of them as margin; "
            "shorten horizon_days"
        )


def _plan(rules: Rules) -> tuple[PlannedGrant, ...]:
    plan = tuple(
        PlannedGrant(
            grant.denomination,
            parse_balance("amount", grant.amount, grant.denomination),
            grant.priority,
            grant.reason,
            grant.resets,
        )
        for grant in rules.default_plan
    )
    if not all(grant.amount for grant in plan):
        raise ValueError(f"rules {rules.id}@{rules.version}: a planned amount must not be zero")
    return plan


def _context(
    generation: Generation,
    rules: Rules,
    plan: tuple[PlannedGrant, ...],
    prices: PriceIndex,
    catalog_offset: int,
    overrides: Overrides,
) -> Context:
    day_us = DAY_SECONDS * MICROSECONDS
    return Context(
        generation=generation.generation,
        partitions=generation.partitions,
        catalog_offset=catalog_offset,
        prices=prices,
        horizon_us=rules.horizon_days * day_us,
        lateness_us=rules.lateness_days * day_us,
        future_us=rules.future_seconds * MICROSECONDS,
        grants_max=rules.grants_max,
        plan=plan,
        provisional_pico_per_million=parse_amount(rules.provisional_usd_per_million_tokens),
        hold_ttl_us=rules.hold_ttl_seconds * MICROSECONDS,
        hold_ttl_us_max=rules.hold_ttl_seconds_max * MICROSECONDS,
        holds_max=rules.holds_max,
        limits_max=rules.limits_max,
        quiet_us=(rules.trace_lateness_seconds + rules.trace_grace_seconds) * MICROSECONDS,
        window_us=rules.window_days * day_us,
        window_costs_max=rules.window_costs_max,
        window_signals_max=rules.window_signals_max,
        windows_open_max=rules.windows_open_max,
        unassigned_us=rules.unassigned_seconds * MICROSECONDS,
        unassigned_max=rules.unassigned_max,
        invoice_grace_us=rules.invoice_grace_seconds * MICROSECONDS,
        seller_plan=_seller_limit(rules.seller_plan),
        overrides=overrides,
    )


def _seller_limit(plan: SellerPlan | None) -> SellerLimit | None:
    if plan is None:
        return None
    return SellerLimit(
        plan.code,
        plan.denomination.value,
        parse_balance("amount", plan.amount, plan.denomination),
    )
