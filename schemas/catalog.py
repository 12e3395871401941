"""Catalog records, version 1: what a decision may look up. Topic `catalog`, one partition,
compacted.

Keyed by (kind, id, version) and never overwritten (D3): a change is a new version. Workers see the
catalog up to an offset that each cycle's entry records, so a decision can be made again.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from schemas.budget import Denomination, Interval
from schemas.envelope import Amount, Count, Id, Name, Part, Record, TimeUs
from schemas.limits import PRIORITY_MAX

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


class PriceSpan(Part):
    """Prices that hold from a day (UTC) on, or between two times of each day; later spans win."""

    from_day: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")] | None = None
    daily_from_second: Annotated[int, Field(ge=0, le=86_400)] | None = None
    daily_to_second: Annotated[int, Field(ge=0, le=86_400)] | None = None
    rates: dict[str, Rate]
    """By token class, as in `usage.Tokens`; a class without a rate takes that of the class it is
    part of."""
    unsupported: list[Name] = []
    """What else this model is charged for, that tokens alone do not tell."""


class ModelPrices(Part):
    """The prices of one model and the clause that recognises its name."""

    id: Name
    match: dict[str, Any]
    spans: list[PriceSpan]


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
