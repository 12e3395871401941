"""A customer's account out of the rows that ClickHouse holds: the fold that its owner keeps.

Grants, limits and holds are few: the domain's own functions fold them. Usage comes as sums, no
coarser than what those functions tell apart: burns of a grant by day, use of a limit over its
present period. A test compares the outcome with the owner's, over random histories.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from schemas.money import format_amount
from schemas.structs import GrantEntry, LimitEntry
from streams.domain.budget import (
    Account,
    add_grant,
    apply_limit,
    open_grant,
    parse_balance_text,
)
from streams.domain.grants import OpenGrant, burn_order, renew
from streams.domain.limits import OpenLimit, used_at
from streams.domain.periods import period_start
from streams.domain.state import PartitionState, Progress
from streams.invoicing.asof import WITHIN_CUT
from streams.invoicing.draft import pico_of
from streams.invoicing.entries import Place, read_entries
from streams.invoicing.holds import OF_CUSTOMER, fold_open_holds
from streams.ports import Warehouse

OF_CUSTOMER_ID: Final = "customer_id = {customer:String}"

TOKENS: Final = (
    "toUInt128(input_tokens) + cache_read_tokens + cache_write_tokens + output_tokens "
    "+ reasoning_tokens + input_audio_tokens + output_audio_tokens + missing_tokens"
)
"""All tokens of a row, as `domain.budget.entry_tokens` adds them up."""

BURNS_AND_RETURNS: Final = (
    "arrayConcat(arrayMap(one -> (one.grant_id, one.amount), burns), "
    "arrayMap(one -> (one.grant_id, toDecimal128(-one.amount, 12)), returned))"
)
"""What an entry takes from grants and, negative, gives back to them."""

BURNS_SQL: Final = f"""
SELECT
    burn.1,
    max(toUnixTimestamp64Micro(decided_at)),
    toString(sum(toDecimal256(burn.2, 12)))
FROM ledger
ARRAY JOIN {BURNS_AND_RETURNS} AS burn
WHERE customer_id = {{customer:String}} AND kind IN ('usage', 'adjustment') AND {WITHIN_CUT}
GROUP BY burn.1, toStartOfDay(decided_at, 'UTC')
ORDER BY 2
"""  # noqa: S608 - our own condition
"""Burns, less what adjustments gave back, by grant and day: periods begin at midnight in UTC, with
an anchor as well."""

USED_SQL: Final = f"""
SELECT
    currency,
    countIf(kind = 'usage'),
    toInt64(countIf(kind = 'signal')) - countIf(kind = 'void'),
    sum(toUInt128(units)),
    sum({TOKENS}),
    toString(sum(toDecimal256(cost, 12) + toDecimal256(provisional, 12)))
FROM ledger
WHERE customer_id = {{customer:String}} AND kind IN ('usage', 'adjustment', 'signal', 'void')
    AND {WITHIN_CUT}
GROUP BY currency
ORDER BY currency
"""  # noqa: S608 - our own condition

LIMITS_AT_ONCE: Final = 500
"""Limits of one query: their names, of up to 128 bytes each, travel in its URL."""

LIMITED_SQL: Final = f"""
SELECT number, toString(sum(amount))
FROM
(
    SELECT
        if(kind = 'usage', generation, charged_generation) AS counted_generation,
        if(kind = 'usage', sequence, charged_sequence) AS counted_sequence,
        toUnixTimestamp64Micro(if(kind = 'usage', decided_at, charged_at)) AS counted_us,
        arrayJoin([
            ('unit', toDecimal256(units, 12)),
            ('token', toDecimal256({TOKENS}, 12)),
            ('usd', if(
                currency = 'USD',
                toDecimal256(cost, 12) + toDecimal256(provisional, 12),
                toDecimal256(0, 12)
            ))
        ]) AS counted,
        arrayJoin(if(agent_id = '', [''], ['', toString(agent_id)])) AS bounded,
        counted.2 AS amount,
        transform(
            concat(counted.1, ':', bounded),
            {{names:Array(String)}},
            {{numbers:Array(UInt32)}},
            toUInt32(0)
        ) AS number
    FROM ledger
    WHERE customer_id = {{customer:String}} AND kind IN ('usage', 'adjustment') AND {WITHIN_CUT}
)
WHERE number > 0
    AND counted_us >= {{froms:Array(Int64)}}[number]
    AND (counted_generation, counted_sequence)
        > ({{generations:Array(UInt32)}}[number], {{sequences:Array(UInt64)}}[number])
GROUP BY number
"""  # noqa: S608 - our own condition
"""What counts against limits, by the limit's number from 1 on: each bounds a denomination of the
whole customer or of one agent, from an entry and from a time on. An adjustment counts where the
charge that it corrects does."""


@dataclass(slots=True)
class FoldedGrant:
    """A grant, over or not, with what is left of it; `burns` are (domain time, amount), one for
    each day. `grant.remaining` has them taken off."""

    entry: GrantEntry
    grant: OpenGrant
    burns: list[tuple[int, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class FoldedAccount:
    """An account as its owner has committed it, and every grant that it ever had, in the order in
    which they burn. `charged_pico` is by currency."""

    account: Account
    grants: list[FoldedGrant]
    charged_pico: dict[str, int]


def fold_account(
    warehouse: Warehouse, customer_id: str, parameters: Mapping[str, Any], now_us: int
) -> FoldedAccount:
    """The account of a customer at a domain time.

    `parameters` are those of `WITHIN_CUT` and the customer's id as `customer`.
    """
    account = Account(customer_id)
    grants = _fold_grants(warehouse, parameters, account)
    _fold_limits(warehouse, parameters, account, now_us)
    state = PartitionState(Progress(), accounts={customer_id: account})
    fold_open_holds(warehouse, OF_CUSTOMER, parameters, state, account)
    return FoldedAccount(account, grants, _fold_used(warehouse, parameters, account))


def _fold_grants(
    warehouse: Warehouse, parameters: Mapping[str, Any], account: Account
) -> list[FoldedGrant]:
    folded: dict[str, FoldedGrant] = {}
    for entry in read_entries(warehouse, GrantEntry, OF_CUSTOMER_ID, parameters):
        add_grant(account, entry)
        folded[entry.entry_id] = FoldedGrant(entry, open_grant(entry))
    # The burns of a day take off what the period of its last one had: the same period for all.
    for grant_id, at_us, text in warehouse.query(BURNS_SQL, parameters).rows:
        one = folded[str(grant_id)]
        amount = parse_balance_text(one.grant.denomination, format_amount(pico_of(str(text))))
        renew(one.grant, int(at_us))
        one.grant.remaining -= amount
        assert one.grant.remaining >= 0, f"grant {grant_id} was burnt beyond its amount"
        one.burns.append((int(at_us), amount))
    grants = sorted(folded.values(), key=lambda one: burn_order(one.grant))
    account.grants = [one.grant for one in grants]
    return grants


def _fold_limits(
    warehouse: Warehouse, parameters: Mapping[str, Any], account: Account, now_us: int
) -> None:
    """Puts the limits in force into the account, with what was used of each in the period of a
    domain time."""
    for entry in read_entries(warehouse, LimitEntry, OF_CUSTOMER_ID, parameters):
        apply_limit(account, entry)
    for first in range(0, len(account.limits), LIMITS_AT_ONCE):
        some = account.limits[first : first + LIMITS_AT_ONCE]
        begins = [(limit.since_generation, limit.since_sequence) for limit in some]
        for limit in some:
            # Without usage, it is what was used before the customer was carried over.
            limit.used = used_at(limit, now_us)
            if limit.resets:
                limit.from_us = period_start(limit.resets, now_us, limit.anchor_us)
        for number, used in _limited(warehouse, parameters, some, begins):
            some[number - 1].used += used


def _limited(
    warehouse: Warehouse,
    parameters: Mapping[str, Any],
    limits: Sequence[OpenLimit],
    begins: Sequence[Place],
) -> list[tuple[int, int]]:
    """What was used of each limit since its entry and its period began, by its number."""
    asked = {
        "names": [f"{limit.denomination}:{limit.agent_id}" for limit in limits],
        "numbers": list(range(1, len(limits) + 1)),
        "froms": [limit.from_us if limit.resets else 0 for limit in limits],
        "generations": [generation for generation, _ in begins],
        "sequences": [sequence for _, sequence in begins],
    }
    found = []
    for number, text in warehouse.query(LIMITED_SQL, {**parameters, **asked}).rows:
        amount = format_amount(pico_of(str(text)))
        found.append(
            (int(number), parse_balance_text(limits[int(number) - 1].denomination, amount))
        )
    return found


def _fold_used(
    warehouse: Warehouse, parameters: Mapping[str, Any], account: Account
) -> dict[str, int]:
    """Puts everything ever accepted into the account; returns what was charged by currency."""
    charged: dict[str, int] = {}
    for currency, events, signals, units, tokens, cost in warehouse.query(
        USED_SQL, parameters
    ).rows:
        account.events += int(events)
        account.signals += int(signals)
        account.used_units += int(units)
        account.used_tokens += int(tokens)
        charged[str(currency)] = pico_of(str(cost))
    account.used_pico_usd = charged.get("USD", 0)
    account.used_other = {code: pico for code, pico in charged.items() if code != "USD"}
    return charged
