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

from tests.property.logs import FUTURE_US, GRANTS_MAX, HORIZON_DAYS, LATENESS_DAYS, Event

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


@dataclass
class Granted:
    """An allowance and what is left of it."""

    denomination: str
    left: Fraction
    priority: int
    begins_us: int
    ends_us: int | None

    def order(self) -> tuple[int, bool, int, int]:
        """What burns first stands first; what never ends stands after everything that does."""
        return (self.priority, self.ends_us is None, self.ends_us or 0, self.begins_us)


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


@dataclass
class Model:
    """The whole system."""

    past: list[Accepted] = field(default_factory=list)
    grants: dict[str, list[Granted]] = field(default_factory=dict)
    bills: list[Bill] = field(default_factory=list)
    signals: int = 0
    duplicates: int = 0
    refused: list[tuple[str, int, str]] = field(default_factory=list)
    rate: Callable[[str | None, str, int, int], Fraction | None] = price
    """The prices in force; may be set to others between two cycles."""

    def take(self, event: Event, offset: int, now_us: int) -> None:
        """One record, in the order of the fold, in a cycle that is decided at `now_us`."""
        identity = (event.topic, event.customer, event.source, event.event_id)
        content = billing_content(event)
        claims = [
            one
            for one in self.past
            if one.identity == identity
            and event.appended_us - one.appended_us <= HORIZON_DAYS * DAY_US
        ]
        if claims:
            if claims[-1].content == content:
                self.duplicates += 1
            else:
                self.refused.append((event.topic, offset, "conflict"))
            return
        happened_us = event.appended_us if event.occurred_us is None else event.occurred_us
        if event.appended_us - happened_us > LATENESS_DAYS * DAY_US:
            self.refused.append((event.topic, offset, "too_old"))
            return
        if happened_us - event.appended_us > FUTURE_US:
            self.refused.append((event.topic, offset, "in_future"))
            return
        if event.topic == "budgets":
            given = [one for one in self.past if one.identity[:2] == ("budgets", event.customer)]
            if len(given) >= GRANTS_MAX:
                self.refused.append((event.topic, offset, "too_many_grants"))
                return
        self.past.append(Accepted(identity, content, event.appended_us))
        if event.customer not in self.grants:
            self.grants[event.customer] = default_plan(now_us)
        fields = dict(event.fields)
        if event.topic == "signals":
            self.signals += 1
        elif event.topic == "budgets":
            self.grants[event.customer].append(granted(fields, now_us))
        else:
            self.bills.append(self.bill(event, fields, offset, happened_us, now_us))

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
            is_open = grant.begins_us <= now_us and (
                grant.ends_us is None or now_us < grant.ends_us
            )
            if grant.denomination == denomination and is_open:
                part = min(grant.left, wanted)
                grant.left -= part
                wanted -= part
                if part:
                    key = (denomination, grant.priority, grant.ends_us, grant.begins_us)
                    burnt[key] = burnt.get(key, Fraction(0)) + part
        return amount - wanted


def default_plan(now_us: int) -> list[Granted]:
    """What a customer is granted when first seen."""
    plan = (("unit", "20", 5), ("usd", "0.00001", 1), ("token", "30", 5), ("unit", "5", 1))
    return [Granted(d, Fraction(amount), priority, now_us, None) for d, amount, priority in plan]


def granted(fields: dict[str, Any], now_us: int) -> Granted:
    """The allowance of a budget record."""
    begins = microseconds(fields.get("effective_at"))
    ends = microseconds(fields.get("expires_at"))
    begins_us = now_us if begins is None else begins
    amount = Fraction(fields["amount"])
    return Granted(fields["denomination"], amount, fields["priority"], begins_us, ends)


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
