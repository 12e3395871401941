"""Catalog records, version 1: what a decision may look up. Topic `catalog`, one partition,
compacted.

Keyed by (kind, id, version) and never overwritten (D3): a change is a new version. Workers see the
catalog up to an offset that each cycle's entry records, so a decision can be made again.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from schemas.budget import Denomination, Interval
from schemas.envelope import Amount, Count, Currency, Id, Name, Part, Record, TimeUs
from schemas.limits import (
    CARD_DISCOUNTS_MAX,
    CARD_FEES_MAX,
    CARD_ITEMS_MAX,
    NAME_CHARS_MAX,
    PER_MAX,
    PRIORITY_MAX,
    REASON_CHARS_MAX,
    TIER_STEPS_MAX,
    UNITS_MAX,
)
from schemas.usage import Conditions, QuantityName

Days = Annotated[int, Field(ge=1, le=3650)]


class PlanGrant(Part):
    """What every customer is granted at first sight."""

    denomination: Denomination
    amount: Amount
    priority: Annotated[int, Field(ge=0, le=PRIORITY_MAX)] = 0
    reason: Name = "default plan"
    resets: Interval | None = None


class SellerPlan(Part):
    """What the seller's own plan allows each customer in all, where there is such a plan: beyond it
    preflights are refused with `code` (P12)."""

    code: Literal["free_tier_exceeded", "plan_limit_exceeded"]
    denomination: Denomination
    amount: Amount


class Rules(Record):
    """Every setting that a decision can see (D4)."""

    kind: Literal["rules"] = "rules"
    id: Name
    version: Name
    horizon_days: Days = 35
    """How long an id stays claimed."""
    lateness_days: Days = 34
    """How old an event may be when it is appended."""
    future_seconds: Annotated[int, Field(ge=0, le=86_400)] = 3_600
    """How far ahead of its append an event may be dated: an hour forgives a wrong zone on no
    server, but every clock that is merely off."""
    grants_max: Annotated[int, Field(ge=1, le=20_000)] = 1_000
    """Grants that one customer may ever be given. A bound on what is open would depend on what has
    been used by then, and so on the cut of cycles. 1,000 are one a week for 19 years; every event
    of the customer reads and writes the open ones, so 10,000 would cost 0.6 ms each."""
    default_plan: list[PlanGrant]
    hold_ttl_seconds: Annotated[int, Field(ge=1, le=86_400)] = 3_600
    """How long a preflight holds what it approved where the caller does not say."""
    hold_ttl_seconds_max: Annotated[int, Field(ge=1, le=7 * 86_400)] = 86_400
    """The longest that a caller may ask for."""
    holds_max: Annotated[int, Field(ge=1, le=10_000)] = 4_096
    """Open holds of one account. Its row carries them all: 4,096 are 400 KB in each cycle that
    touches it, and an agent that never settles is stopped before it stops others."""
    limits_max: Annotated[int, Field(ge=1, le=10_000)] = 1_000
    """Limits of one customer, those of its agents among them; each event looks at all of them."""
    seller_plan: SellerPlan | None = None
    provisional_usd_per_million_tokens: Amount = "15"
    """What an unpriced token charges a dollar balance until its event is rated anew (M1)."""
    trace_lateness_seconds: Annotated[int, Field(ge=0, le=86_400)] = 60
    """How far events may come out of order before a trace window counts as left behind."""
    trace_grace_seconds: Annotated[int, Field(ge=0, le=86_400)] = 240
    """How long a window stays open after the last event in it. Later ones count as well, and make
    rows of their own."""
    window_days: Annotated[int, Field(ge=1, le=3_650)] = 100
    """How long a window is kept after the last event in it: so long a signal finds its cost, and
    can be taken back with it. A quarter and its invoices fit in."""
    window_costs_max: Annotated[int, Field(ge=1, le=10_000)] = 1_000
    """Costs of one window, and traces of one scope: its row carries them all, some 80 KB. What is
    beyond is nobody's cost."""
    window_signals_max: Annotated[int, Field(ge=1, le=100)] = 32
    """Signals of one window. Each costs as many rows as there are costs in it."""
    windows_open_max: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """Open windows of one customer. What is beyond closes at once."""
    unassigned_seconds: Annotated[int, Field(ge=1, le=30 * 86_400)] = 86_400
    """How long an event that names no customer waits for one whom its trace belongs to. Spans of
    one trace come within minutes; a day forgives an exporter that was cut off over night."""
    unassigned_max: Annotated[int, Field(ge=1, le=1_000)] = 100
    """Events of one trace that may wait: a binding passes all of them on at once."""
    invoice_grace_seconds: Annotated[int, Field(ge=0, le=40 * 86_400)] = 86_400
    """How long after its end a period can be closed at the earliest. What comes later is a line of
    the next invoice."""


class Generation(Record):
    """One life of the topics: recreating or repartitioning them starts the next (K5)."""

    kind: Literal["generation"] = "generation"
    id: Name
    version: Name
    generation: Annotated[int, Field(ge=1)]
    partitions: Annotated[int, Field(ge=1)]
    topic_ids: dict[str, str] = {}
    """The broker's ids of the topics by logical name: a topic that was deleted and made anew has
    another one."""
    reason: str = ""
    """Why this generation began, for a person."""


class Rate(Part):
    """A price per million tokens; `tiers` [(threshold, price)] replace it above a total of input
    tokens."""

    base: Amount
    tiers: list[tuple[Count, Amount]] = []


class QuantityPrice(Part):
    """A price for so many of something that is counted beside tokens."""

    price: Amount
    per: Annotated[int, Field(ge=1, le=10**9)]
    least: Count = 0
    """So many are charged at least where there is any."""


Day = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]

QuantityPrices = dict[QuantityName, QuantityPrice]


class PriceVariant(Part):
    """Prices that take the place of the model's, each for itself, where a call was made under
    all of `when`; of several variants the first that has a price wins."""

    when: Conditions
    from_day: Day | None = None
    daily_from_second: Annotated[int, Field(ge=0, le=86_400)] | None = None
    daily_to_second: Annotated[int, Field(ge=0, le=86_400)] | None = None
    rates: dict[str, Rate] = {}
    quantities: QuantityPrices = {}


class PriceSpan(Part):
    """Prices that hold from a day (UTC) on, or between two times of each day; later spans win."""

    from_day: Day | None = None
    daily_from_second: Annotated[int, Field(ge=0, le=86_400)] | None = None
    daily_to_second: Annotated[int, Field(ge=0, le=86_400)] | None = None
    rates: dict[str, Rate]
    """By token class, as in `usage.Tokens`, or by part of one (`usage.TOKEN_PARTS`); what has no
    rate takes that of the class it is part of."""
    unsupported: list[Name] = []
    """What else this model is charged for, that usage does not tell."""
    quantities: QuantityPrices = {}
    """Of what is counted beside tokens."""


class ModelPrices(Part):
    """The prices of one model and the clause that recognises its name."""

    id: Name
    match: dict[str, Any]
    spans: list[PriceSpan]
    variants: list[PriceVariant] = []
    """For calls made under conditions."""


class ProviderPrices(Part):
    """A provider's models. `match` recognises the provider, `model_match` a model named without
    one."""

    id: Name
    match: dict[str, Any] | None = None
    model_match: dict[str, Any] | None = None
    fallback: list[Name] = []
    models: list[ModelPrices]


class PriceBook(Record):
    """All list prices of one version of their source."""

    kind: Literal["price_book"] = "price_book"
    id: Name
    version: Name
    providers: list[ProviderPrices]


class PriceOverride(Record):
    """A price of the seller's own, in place of the book's: for all customers, or for one.

    Of several that apply to an event the customer's own come before those for all, and among these
    the one appended last wins; it alone applies. A change is a new version under the same id.
    """

    kind: Literal["price_override"] = "price_override"
    id: Name
    version: Name
    provider: Name | None = None
    """By the id of the book or as producers name it; any where it is missing."""
    match: dict[str, Any]
    """The clause that recognises the model: by the name that the producer gives it, or by the id
    under which the book knows that name."""
    customer_id: Id | None = None
    """The only customer that it is for; all where it is missing."""
    effective_from: TimeUs | None = None
    """Of the event's own time; from ever where it is missing."""
    effective_to: TimeUs | None = None
    """Up to, but not at, this time; for ever where it is missing."""
    when: Conditions = {}
    """Applies only to calls made under all of these conditions."""
    rates: dict[str, Rate] = {}
    """Each takes the place of the book's rate of that class; the others stay."""
    quantities: QuantityPrices = {}
    multiplier: Amount | None = None
    """What the book's cost is multiplied with. Either this or prices, not both."""
    withdrawn: bool = False
    """Nothing that is decided from here on sees it any more."""
    reason: Annotated[str, StringConstraints(max_length=REASON_CHARS_MAX)] = ""
    """For a person."""


Title = Annotated[str, StringConstraints(max_length=NAME_CHARS_MAX)]
"""What a person reads on an invoice; the id where it is empty."""

Metric = Literal[
    "calls",
    "units",
    "uncovered_units",
    "tokens",
    "uncovered_tokens",
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "input_audio_tokens",
    "output_audio_tokens",
    "cost",
    "signals",
]
"""What an item of a rate card counts. `uncovered_*` is what no grant paid for, `cost` what the AI
calls cost the seller."""


class CardFee(Part):
    """A flat fee for each period, by the share of it that the card is in force."""

    id: Name
    title: Title = ""
    amount: Amount
    """In the card's currency."""


class TierStep(Part):
    """A step of tiered prices: from the end of the step before it up to and with `up_to`."""

    up_to: Annotated[int, Field(ge=1, le=UNITS_MAX)] | None = None
    """In the item's metric; without end where it is missing, as in the last step alone."""
    price: Amount
    """For so many as the item's `per` says."""
    flat: Amount = "0"
    """Once, as soon as the step is reached."""


class CardTiers(Part):
    """Prices that follow from how much there is.

    `graduated` charges each step's part at that step's price; `volume` charges everything at the
    price of the step in which the whole quantity lies.
    """

    mode: Literal["graduated", "volume"]
    steps: Annotated[list[TierStep], Field(min_length=1, max_length=TIER_STEPS_MAX)]


class CardItem(Part):
    """Something that is charged by how much of it there is.

    It counts whatever matches all filters that are given; what matches several items is charged by
    each of them. Either `price` or `tiers`; of `cost` neither, but `markup_percent`.
    """

    id: Name
    title: Title = ""
    metric: Metric
    provider: Name | None = None
    """Exactly this one; any where it is missing. So with the filters below."""
    model: Name | None = None
    agent: Name | None = None
    signal: Name | None = None
    """The name of the signal; of metric `signals` alone."""
    group_by: Literal["", "model", "agent", "signal"] = ""
    """A line for each of them, with an allowance and tiers of its own."""
    price: Amount | None = None
    """For so many as `per` says, in the card's currency."""
    per: Annotated[int, Field(ge=1, le=PER_MAX)] = 1
    included: Count = 0
    """So many of the metric are free in each period."""
    tiers: CardTiers | None = None
    markup_percent: Amount | None = None
    """What is added to the cost, of metric `cost` alone; nothing where it is missing."""


class CardDiscount(Part):
    """A part that is taken off the lines of items; never off fees."""

    id: Name
    title: Title = ""
    percent: Amount
    """Above 0, 100 at the most."""
    items: Annotated[list[Name], Field(max_length=CARD_ITEMS_MAX)] = []
    """Ids of the items that it is for; all where it is empty."""


class CardTerms(Part):
    """What a rate card charges: the part that a file and the catalog say alike."""

    title: Title = ""
    currency: Currency = "USD"
    """Of every amount in the card. Costs stay in the currency that they were made in."""
    fees: Annotated[list[CardFee], Field(max_length=CARD_FEES_MAX)] = []
    items: Annotated[list[CardItem], Field(max_length=CARD_ITEMS_MAX)] = []
    discounts: Annotated[list[CardDiscount], Field(max_length=CARD_DISCOUNTS_MAX)] = []
    minimum: Amount | None = None
    """What a whole period costs at the least, by the share of it that the card is in force."""


class RateCard(CardTerms, Record):
    """What a customer is charged. No worker's decision looks at it: invoices do.

    At any time the version with the latest `effective_from` that has come is in force, of equal
    ones the one appended last.
    """

    kind: Literal["rate_card"] = "rate_card"
    id: Name
    version: Name
    effective_from: TimeUs | None = None
    """From ever where it is missing."""


class RatePlan(Record):
    """A name that points to a rate card, so that many customers can change cards at once. The plan
    `default` is that of customers who were assigned none."""

    kind: Literal["rate_plan"] = "rate_plan"
    id: Name
    version: Name
    card: Name
    """The id of the card."""
    effective_from: TimeUs | None = None
    """From ever where it is missing."""


KeyId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
"""The public part of an API key: names it in lists, logs and commands."""

KeyScope = Literal["ingest", "preflight", "read", "admin"]
"""What an API key may be used for; `admin` implies the others."""


class ApiKey(Record):
    """What is kept of an API key: never the key. No decision looks at it.

    `id` is the key's public part. A change is a new version under the same digest, and nothing
    takes a revocation back: of two versions appended at one moment either may come last.
    """

    kind: Literal["api_key"] = "api_key"
    id: KeyId
    version: Name
    label: Name
    """Whose key it is, for a person."""
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Of the secret part, as docs/keys.md says."""
    scopes: Annotated[list[KeyScope], Field(min_length=1, max_length=4)]
    created_at: TimeUs
    """Of the key, the same in all its versions."""
    customers: Annotated[list[Id], Field(min_length=1, max_length=100)] | None = None
    """The only customers that it may name; any where it is missing. A gateway holds the customers
    of all keys in memory: 10,000 keys with 100 each are some 100 MB at the worst."""
    expires_at: TimeUs | None = None
    """From then on it is refused."""
    revoked_at: TimeUs | None = None
    """When it was revoked; refused from the moment that a gateway has read this."""
    requests_per_second: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """What one gateway takes under it; the gateway's own default where it is missing."""
    replaces: KeyId | None = None
    """The key in whose place this one came."""
