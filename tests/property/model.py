"""A naive billing system, to compare the pipeline with: slow, obvious, and sharing no code with it.

It keeps everything that ever happened in lists and searches them anew for each record; money is a
Fraction of a dollar. It knows the rules from the documents (docs/domain), the prices and limits
from the table below.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import Any

from tests.property.logs import FUTURE_US, GRANTS_MAX, HORIZON_DAYS, LATENESS_DAYS, PLAN, Event

DAY_US = 86_400 * 10**6
MIDNIGHT_US = 1_768_521_600 * 10**6
"""2026-01-16T00:00:00Z, when model `dated` becomes dearer."""

PER_MILLION = Fraction(1, 10**6)
PROVISIONAL = 15 * PER_MILLION


def price(model: str | None, token_class: str, all_input: int, at_us: int) -> Fraction | None:
    """Dollars for one token, or None."""
    is_input = token_class in ("input", "cache_read", "input_audio")
    if model == "small":
        if token_class == "cache_read":
            return Fraction("0.3") * PER_MILLION
        return (3 if is_input else 15) * PER_MILLION
    if model == "tiered":
        if is_input:
            return (2 if all_input > 10 else 1) * PER_MILLION
        return (Fraction(8) if all_input > 10 else Fraction("4.0000005")) * PER_MILLION
    if model == "dated":
        if not 6 * 3600 <= at_us // 10**6 % 86_400 < 18 * 3600:
            return 5 * PER_MILLION
        return (2 if at_us >= MIDNIGHT_US else 1) * PER_MILLION
    if model == "half" and is_input:
        return Fraction("0.0000005") * PER_MILLION
    return None


def period_of(interval: str | None, time_us: int) -> Any:
    """A name of the day, week or month in which a time lies, by the standard library."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)
    if interval is None:
        return None
    if interval == "day":
        return moment.date()
    return moment.isocalendar()[:2] if interval == "week" else (moment.year, moment.month)


@dataclass
class Granted:
    """An allowance, and everything that was ever taken from it."""

    name: str
    denomination: str
    amount: Fraction
    priority: int
    begins_us: int
    ends_us: int | None
    resets: str | None = None
    taken: list[tuple[int, Fraction]] = field(default_factory=list)

    def order(self) -> tuple[int, bool, int, int, str]:
        """What burns first stands first; what never ends stands after everything that does."""
        return (self.priority, self.ends_us is None, self.ends_us or 0, self.begins_us, self.name)

    def is_open(self, now_us: int) -> bool:
        """Whether it pays for anything now."""
        return self.begins_us <= now_us and (self.ends_us is None or now_us < self.ends_us)

    def left(self, now_us: int) -> Fraction:
        """The amount without what was taken in the present period, all of it where there are
        none."""
        period = period_of(self.resets, now_us)
        return self.amount - sum(
            (part for at_us, part in self.taken if period_of(self.resets, at_us) == period),
            Fraction(0),
        )


Burnt = tuple[str, int, int | None, int]
"""Grants that burn as one: denomination, priority, end and beginning."""


@dataclass
class Bill:
    """What one accepted usage record came to."""

    offset: int
    cost: Fraction
    currency: str
    basis: str
    provisional: Fraction
    covered: dict[str, Fraction]
    burnt: dict[Burnt, Fraction]


@dataclass
class Accepted:
    """A record that counted: its identity, content and append time."""

    identity: tuple[str, str, str, str]
    content: Any
    appended_us: int


@dataclass(frozen=True)
class Letter:
    """A record that was refused, and where it lay."""

    event: Event
    offset: int
    generation: int = 1
    partition: int = 0


@dataclass(frozen=True)
class Limits:
    """The rules of the catalog."""

    horizon_us: int = HORIZON_DAYS * DAY_US
    lateness_us: int = LATENESS_DAYS * DAY_US
    future_us: int = FUTURE_US
    grants_max: int = GRANTS_MAX
    plan: tuple[tuple[Any, ...], ...] = PLAN
    """Denomination, amount, priority and, where it resets, the interval."""


@dataclass
class Spent:
    """What a customer has used in all."""

    units: int = 0
    tokens: int = 0
    money: dict[str, Fraction] = field(default_factory=dict)
    """By currency; whatever was charged, also provisionally."""
    events: int = 0


@dataclass
class Model:
    """The whole system."""

    past: list[Accepted] = field(default_factory=list)
    grants: dict[str, list[Granted]] = field(default_factory=dict)
    bills: list[Bill] = field(default_factory=list)
    signals: int = 0
    duplicates: int = 0
    refused: list[tuple[str, int, str]] = field(default_factory=list)
    resolved: list[tuple[int, str]] = field(default_factory=list)
    """Letters by offset, and what became of them."""
    spent: dict[str, Spent] = field(default_factory=dict)
    rate: Callable[[str | None, str, int, int], Fraction | None] = price
    """The prices in force; may be set to others between two cycles."""
    limits: Limits = field(default_factory=Limits)
    """The rules in force, likewise."""
    generation: int = 1

    def take(self, event: Event, offset: int, now_us: int) -> str:
        """One record, in the order of the fold, in a cycle that is decided at `now_us`. Returns
        what became of it: counted, duplicate or the code of a refusal."""
        here = Letter(event, offset, self.generation)
        outcome = event.flaw or self.verdict(event, event.appended_us) or self.count(here, now_us)
        if outcome == "duplicate":
            self.duplicates += 1
        elif outcome != "counted":
            self.refused.append((event.topic, offset, outcome))
        return outcome

    def replay(self, letter: Letter, offset: int, appended_us: int, now_us: int) -> str:
        """A letter once more, by a record at `offset` of the budgets: as `take`, or known: it
        counted before."""
        asked = ("letters", "replay", str(letter.generation), place_of(letter))
        if self.claim(asked, appended_us):
            self.duplicates += 1
            return "duplicate"
        event = letter.event
        # Where it lay no longer counts, what it says does.
        outcome = event.flaw if event.flaw == "invalid_field" else self.verdict(event, now_us)
        if outcome == "duplicate":
            outcome = "known"
        elif not outcome:
            age_us = now_us - happened(event)
            if age_us > self.limits.horizon_us - self.limits.future_us:
                outcome = "too_old"
        outcome = outcome or self.count(letter, now_us)
        if outcome not in ("known", "counted"):
            self.refused.append(("budgets", offset, outcome))
            return outcome
        self.past.append(Accepted(asked, None, appended_us))
        self.resolved.append((letter.offset, "duplicate" if outcome == "known" else "replayed"))
        return outcome

    def discard(self, letter: Letter, appended_us: int) -> str:
        """A letter that somebody gave up: counted, or a duplicate."""
        asked = ("letters", "discard", str(letter.generation), place_of(letter))
        if self.claim(asked, appended_us):
            self.duplicates += 1
            return "duplicate"
        self.past.append(Accepted(asked, None, appended_us))
        self.resolved.append((letter.offset, "discarded"))
        return "counted"

    def claim(self, identity: tuple[str, str, str, str], asked_us: int) -> Accepted | None:
        """The last record of an identity that counted, if it holds at a time."""
        last = [one for one in self.past if one.identity == identity][-1:]
        held = [one for one in last if asked_us - one.appended_us <= self.limits.horizon_us]
        return held[0] if held else None

    def verdict(self, event: Event, asked_us: int) -> str:
        """Why an event does not count, '' where nothing speaks against it."""
        held = self.claim(identity_of(event), asked_us)
        if held is not None:
            return "duplicate" if held.content == billing_content(event) else "conflict"
        if event.appended_us - happened(event) > self.limits.lateness_us:
            return "too_old"
        if happened(event) - event.appended_us > self.limits.future_us:
            return "in_future"
        return ""

    def count(self, letter: Letter, now_us: int) -> str:
        """Counts an event where it lay, unless its customer has been given too many grants."""
        event, offset = letter.event, letter.offset
        if event.topic == "budgets":
            given = [one for one in self.past if one.identity[:2] == ("budgets", event.customer)]
            if len(given) >= self.limits.grants_max:
                return "too_many_grants"
        self.past.append(Accepted(identity_of(event), billing_content(event), event.appended_us))
        place = place_of(letter)
        if event.customer not in self.grants:
            self.grants[event.customer] = default_plan(self.limits.plan, place, now_us)
        fields = dict(event.fields)
        if event.topic == "signals":
            self.signals += 1
        elif event.topic == "budgets":
            self.grants[event.customer].append(granted(fields, f"{place}-0", now_us))
        else:
            self.bills.append(self.bill(event, fields, offset, happened(event), now_us))
        return "counted"

    def bill(
        self, event: Event, fields: dict[str, Any], offset: int, happened_us: int, now_us: int
    ) -> Bill:
        """Rates one usage record and covers it by the customer's grants."""
        tokens = {k: v for k, v in fields.get("tokens", {}).items() if v}
        all_tokens = sum(tokens.values())
        cost, currency, basis, provisional = Fraction(0), "USD", "none", Fraction(0)
        if "cost" in fields:
            cost, basis = Fraction(fields["cost"]), "reported"
            currency = fields.get("currency", "USD")
        elif tokens:
            all_input = sum(tokens.get(k, 0) for k in ("input", "cache_read", "input_audio"))
            model = fields.get("model") if "provider" in fields else None
            prices = {k: self.rate(model, k, all_input, happened_us) for k in tokens}
            if None in prices.values():
                basis, provisional = "unpriced", rounded(all_tokens * PROVISIONAL)
            else:
                exact = sum((n * (prices[k] or 0) for k, n in tokens.items()), Fraction(0))
                cost, basis = rounded(exact), "priced"
        used = {
            "unit": Fraction(fields["units"]),
            "token": Fraction(all_tokens),
            "usd": cost + provisional if currency == "USD" else Fraction(0),
        }
        spent = self.spent.setdefault(event.customer, Spent())
        spent.events += 1
        spent.units += fields["units"]
        spent.tokens += all_tokens
        charged = cost + provisional
        spent.money[currency] = spent.money.get(currency, Fraction(0)) + charged
        burnt: dict[Burnt, Fraction] = {}
        covered = {d: self.cover(event.customer, d, n, now_us, burnt) for d, n in used.items()}
        return Bill(offset, cost, currency, basis, provisional, covered, burnt)

    def cover(
        self,
        customer: str,
        denomination: str,
        amount: Fraction,
        now_us: int,
        burnt: dict[Burnt, Fraction],
    ) -> Fraction:
        """Takes from the open grants, first to burn first, until the amount is reached; adds to
        `burnt` what was taken from which."""
        wanted = amount
        for grant in sorted(self.grants[customer], key=Granted.order):
            if grant.denomination == denomination and grant.is_open(now_us):
                part = min(grant.left(now_us), wanted)
                wanted -= part
                if part:
                    grant.taken.append((now_us, part))
                    key = (denomination, grant.priority, grant.ends_us, grant.begins_us)
                    burnt[key] = burnt.get(key, Fraction(0)) + part
        return amount - wanted


def identity_of(event: Event) -> tuple[str, str, str, str]:
    """Whose id it is."""
    return (event.topic, event.customer, event.source, event.event_id)


def happened(event: Event) -> int:
    """The event time."""
    return event.appended_us if event.occurred_us is None else event.occurred_us


def place_of(letter: Letter) -> str:
    """How the books call what comes of a record."""
    return f"{letter.generation}-{letter.event.topic}-{letter.partition}-{letter.offset}"


def default_plan(plan: tuple[tuple[Any, ...], ...], place: str, now_us: int) -> list[Granted]:
    """What a customer is granted when first seen."""
    return [
        Granted(f"{place}-{number}", d, Fraction(amount), priority, now_us, None, *resets)
        for number, (d, amount, priority, *resets) in enumerate(plan, 1)
    ]


def granted(fields: dict[str, Any], name: str, now_us: int) -> Granted:
    """The allowance of a budget record."""
    begins = microseconds(fields.get("effective_at"))
    ends = microseconds(fields.get("expires_at"))
    begins_us = now_us if begins is None else begins
    amount, resets = Fraction(fields["amount"]), fields.get("resets")
    return Granted(
        name, fields["denomination"], amount, fields["priority"], begins_us, ends, resets
    )


def billing_content(event: Event) -> Any:
    """What makes two records the same: their fields by value, without defaults."""
    fields = dict(event.fields)
    if "cost" in fields:
        fields["cost"] = Fraction(fields["cost"])
        fields.setdefault("currency", "USD")
    else:
        fields.pop("currency", None)
    if "tokens" in fields:
        fields["tokens"] = {k: v for k, v in fields["tokens"].items() if v}
        if not fields["tokens"]:
            del fields["tokens"]
    if fields.get("success") is True:
        del fields["success"]
    if fields.get("quantity") == 1:
        del fields["quantity"]
    return event.occurred_us, fields


def rounded(dollars: Fraction) -> Fraction:
    """Half-even at the twelfth decimal, by the standard library's decimals."""
    exact = Decimal(dollars.numerator) / Decimal(dollars.denominator)
    return Fraction(exact.quantize(Decimal(1).scaleb(-12), ROUND_HALF_EVEN))


def microseconds(text: str | None) -> int | None:
    """Microseconds since the epoch, by the standard library."""
    if text is None:
        return None
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
