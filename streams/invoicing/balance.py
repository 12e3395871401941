"""What a customer was granted, has burnt and has left, from the rows that ClickHouse holds.

The worker's own tables decide; this is the same fold as a query, as of the rows that the sink has
delivered. A grant counts as open by the customer's domain time, as it does for the worker (M4):
between two entries of the partition, an expiry that has passed is not seen yet.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from schemas.budget import Denomination
from schemas.money import PICO
from schemas.times import MICROSECONDS
from streams.domain.periods import period_start
from streams.invoicing.asof import WITHIN_CUT, Mark, places_of, read_cut
from streams.invoicing.draft import pico_of
from streams.ports import Warehouse

GRANTS_SQL: Final = f"""
SELECT
    entry_id, denomination, priority, reason, resets,
    toUnixTimestamp64Micro(effective_at), toUnixTimestamp64Micro(expires_at),
    toString(toDecimal256(amount, 12))
FROM ledger
WHERE customer_id = {{customer:String}} AND kind = 'grant' AND {WITHIN_CUT}
ORDER BY denomination, priority, isNull(expires_at), expires_at, effective_at, entry_id
"""  # noqa: S608 - our own condition

BURNS_SQL: Final = f"""
SELECT burn.grant_id, burn.denomination, toString(sum(toDecimal256(burn.amount, 12)))
FROM ledger
ARRAY JOIN burns AS burn
WHERE customer_id = {{customer:String}} AND kind = 'usage' AND {WITHIN_CUT}
GROUP BY burn.grant_id, burn.denomination
"""  # noqa: S608 - our own condition

DAILY_BURNS_SQL: Final = f"""
SELECT
    burn.grant_id,
    toUnixTimestamp(toStartOfDay(decided_at, 'UTC')),
    toString(sum(toDecimal256(burn.amount, 12)))
FROM ledger
ARRAY JOIN burns AS burn
WHERE customer_id = {{customer:String}} AND kind = 'usage' AND {WITHIN_CUT}
    AND has({{resetting:Array(String)}}, burn.grant_id)
GROUP BY 1, 2
"""  # noqa: S608 - our own condition
"""Burns of grants that reset, by day (UTC) of domain time: every period is whole days."""

USED_SQL: Final = f"""
SELECT
    currency,
    countIf(kind = 'usage'),
    countIf(kind = 'signal'),
    sum(toUInt128(units)),
    sum(toUInt128(input_tokens) + cache_read_tokens + cache_write_tokens + output_tokens
        + reasoning_tokens + input_audio_tokens + output_audio_tokens),
    toString(sum(toDecimal256(cost, 12) + toDecimal256(provisional, 12)))
FROM ledger
WHERE customer_id = {{customer:String}} AND kind IN ('usage', 'signal') AND {WITHIN_CUT}
GROUP BY currency
ORDER BY currency
"""  # noqa: S608 - our own condition


@dataclass(frozen=True, slots=True)
class GrantBalance:
    """One grant. Amounts are whole units or tokens, or pico-dollars, by denomination.

    Of a grant that `resets`, `granted` and `burnt` are those of its present period, or of its last
    one where it has expired.
    """

    grant_id: str
    denomination: str
    priority: int
    reason: str
    effective_at_us: int
    expires_at_us: int | None
    granted: int
    burnt: int
    resets: str = ""

    @property
    def left(self) -> int:
        """What nothing has burnt yet, whether it may still be or not."""
        return self.granted - self.burnt

    def state(self, now_us: int) -> str:
        """`open`, `not yet` or `expired` at a domain time."""
        if self.expires_at_us is not None and self.expires_at_us <= now_us:
            return "expired"
        return "open" if self.effective_at_us <= now_us else "not yet"


@dataclass(frozen=True, slots=True)
class Balance:
    """All grants of one denomination: `granted` in all, `burnt` of it, what `expired` unused,
    what is `available` now, what is not effective `later`."""

    denomination: str
    granted: int
    burnt: int
    expired: int
    later: int
    available: int


@dataclass(frozen=True, slots=True)
class Used:
    """Everything ever accepted, covered or not. `charged_pico` is by currency, provisional charges
    included."""

    events: int
    signals: int
    units: int
    tokens: int
    charged_pico: dict[str, int]


@dataclass(frozen=True, slots=True)
class BudgetReport:
    """A customer's budget as of `as_of`; `now_us` is the domain time that it was judged by."""

    customer_id: str
    grants: tuple[GrantBalance, ...]
    used: Used
    as_of: tuple[Mark, ...]
    now_us: int

    def balances(self) -> list[Balance]:
        """One balance per denomination that something was granted in."""
        return [
            self._balance(denomination)
            for denomination in Denomination
            if any(grant.denomination == denomination for grant in self.grants)
        ]

    def _balance(self, denomination: str) -> Balance:
        grants = [grant for grant in self.grants if grant.denomination == denomination]

        def left(state: str) -> int:
            return sum(grant.left for grant in grants if grant.state(self.now_us) == state)

        return Balance(
            denomination,
            sum(grant.granted for grant in grants),
            sum(grant.burnt for grant in grants),
            left("expired"),
            left("not yet"),
            left("open"),
        )


def budget_report(warehouse: Warehouse, customer_id: str) -> BudgetReport | None:
    """The budget of a customer, None for one of whom there is no row at all."""
    cut = read_cut(warehouse)
    places = places_of(warehouse, cut, customer_id)
    if not places:
        return None
    parameters = {"customer": customer_id, **cut.parameters()}
    as_of = cut.of(places)
    now_us = max(mark.decided_at_us for mark in as_of)
    burnt = {
        (str(grant_id), str(denomination)): _amount(str(denomination), str(amount))
        for grant_id, denomination, amount in warehouse.query(BURNS_SQL, parameters).rows
    }
    rows = warehouse.query(GRANTS_SQL, parameters).rows
    burnt |= _burnt_in_period(warehouse, parameters, [row for row in rows if row[4]], now_us)
    grants = tuple(
        GrantBalance(
            str(grant_id),
            str(denomination),
            int(priority),
            str(reason),
            int(effective_at),
            None if expires_at is None else int(expires_at),
            _amount(str(denomination), str(amount)),
            burnt.get((str(grant_id), str(denomination)), 0),
            str(resets),
        )
        for grant_id, denomination, priority, reason, resets, effective_at, expires_at, amount in (
            rows
        )
    )
    return BudgetReport(customer_id, grants, _used(warehouse, parameters), as_of, now_us)


def _burnt_in_period(
    warehouse: Warehouse,
    parameters: dict[str, Any],
    resetting: Sequence[Sequence[Any]],
    now_us: int,
) -> dict[tuple[str, str], int]:
    """What grants that reset have burnt in their present period, or in that of their last
    moment. `resetting` are rows of GRANTS_SQL."""
    if not resetting:
        return {}
    ids = [str(row[0]) for row in resetting]
    daily: dict[str, list[tuple[int, str]]] = {}
    for grant_id, day, amount in warehouse.query(
        DAILY_BURNS_SQL, {**parameters, "resetting": ids}
    ).rows:
        daily.setdefault(str(grant_id), []).append((int(day) * MICROSECONDS, str(amount)))
    found = {}
    for grant_id, denomination, _, _, resets, _, expires_at, _ in resetting:
        last_us = now_us if expires_at is None else min(now_us, int(expires_at) - 1)
        begins_us = period_start(str(resets), last_us)
        burns = daily.get(str(grant_id), [])
        found[str(grant_id), str(denomination)] = sum(
            _amount(str(denomination), amount) for day_us, amount in burns if day_us >= begins_us
        )
    return found


def _used(warehouse: Warehouse, parameters: dict[str, Any]) -> Used:
    events = signals = units = tokens = 0
    charged: dict[str, int] = {}
    for row in warehouse.query(USED_SQL, parameters).rows:
        events += int(row[1])
        signals += int(row[2])
        units += int(row[3])
        tokens += int(row[4])
        charged[str(row[0])] = pico_of(str(row[5]))
    return Used(events, signals, units, tokens, charged)


def _amount(denomination: str, text: str) -> int:
    pico = pico_of(text)
    return pico if denomination == Denomination.USD else pico // PICO
