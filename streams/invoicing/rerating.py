"""Usage that could be rated anew, and what the books say of it now: its entry and all adjustments
of that together. From the rows that ClickHouse holds; decides nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from streams.domain.invoices.tallies import TOKEN_CLASSES
from streams.invoicing.asof import WITHIN_CUT, Cut
from streams.invoicing.draft import pico_of
from streams.ports import Warehouse

PAGE_ROWS: Final = 5_000
"""Rows read at once: some megabytes."""

_COLUMNS: Final = (
    "entry_id",
    "customer_id",
    "agent_id",
    "task_ref",
    "trace_id",
    "scope_id",
    "provider",
    "model",
    "cost_basis",
    "usage_missing",
    *TOKEN_CLASSES,
    "quantities",
    "conditions",
)

ADJUSTED_SQL: Final = f"""
SELECT
    adjusted_entry AS corrected,
    count() AS times,
    sum(toDecimal256(cost, 12)) AS cost_rise,
    sum(toDecimal256(provisional, 12)) AS provisional_rise,
    sum(toDecimal256(covered_usd, 12)) AS covered_rise,
    argMax(price_version, (generation, sequence)) AS last_version,
    argMax(price_override, (generation, sequence)) AS last_override,
    groupArrayArray(burns) AS more_burns,
    groupArrayArray(returned) AS all_returned
FROM ledger
WHERE kind = 'adjustment' AND {WITHIN_CUT}
GROUP BY adjusted_entry
"""  # noqa: S608 - our own condition

PAGE_SQL: Final = """
SELECT
    generation, `partition`, sequence,
    toUnixTimestamp64Micro(decided_at), toUnixTimestamp64Micro(occurred_at),
    toString(toDecimal256(cost, 12) + cost_rise),
    toString(toDecimal256(provisional, 12) + provisional_rise),
    toString(toDecimal256(covered_usd, 12) + covered_rise),
    times,
    if(times = 0, price_version, last_version) AS version_now,
    if(times = 0, price_override, last_override) AS override_now,
    arrayMap(one -> (one.1, toString(one.3)), arrayFilter(one -> one.2 = 'usd', burns)),
    arrayMap(one -> (one.1, toString(one.3)), more_burns),
    arrayMap(one -> (one.1, toString(one.2)), all_returned),
    {columns}
FROM ledger
LEFT JOIN ({adjusted}) AS corrections ON corrected = entry_id
WHERE kind = 'usage' AND currency = 'USD' AND {within}
    AND (generation, `partition`, sequence) > ({{g:UInt64}}, {{p:UInt64}}, {{s:UInt64}})
    AND {chosen}
ORDER BY generation, `partition`, sequence
LIMIT {{rows:UInt32}}
"""

TERMS_SQL: Final = """
SELECT entry_id, priority, toUnixTimestamp64Micro(effective_at), toUnixTimestamp64Micro(expires_at)
FROM ledger
WHERE kind = 'grant' AND customer_id IN {customers:Array(String)}
    AND entry_id IN {grants:Array(String)}
"""

UNKNOWN_SQL: Final = """
SELECT
    provider, model,
    count() AS events,
    sum(toUInt128(input_tokens) + cache_read_tokens + cache_write_tokens + output_tokens
        + reasoning_tokens + input_audio_tokens + output_audio_tokens),
    toString(sum(toDecimal256(provisional, 12))),
    uniqExact(customer_id),
    toUnixTimestamp64Micro(max(occurred_at)),
    countIf(cost_basis != 'unpriced')
FROM ledger
WHERE kind = 'usage'
    AND (cost_basis = 'unpriced' OR has(flags, 'unpriced_quantity'))
    AND entry_id NOT IN (SELECT adjusted_entry FROM ledger WHERE kind = 'adjustment')
GROUP BY provider, model
ORDER BY events DESC, provider, model
LIMIT {rows:UInt32}
"""

WITHOUT_PRICE: Final = "(cost_basis = 'unpriced' OR has(flags, 'unpriced_quantity'))"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which usage is meant: that without a price, or without the price of some quantity; with
    `from_version`, that whose price is of this book or override."""

    from_version: str | None = None
    customer_id: str | None = None
    provider: str | None = None
    model: str | None = None
    since_us: int | None = None
    until_us: int | None = None

    def where(self) -> tuple[str, dict[str, Any]]:
        """The condition, and its parameters."""
        parts = [WITHOUT_PRICE, "times = 0"]
        parameters: dict[str, Any] = {}
        if self.from_version is not None:
            parts = [
                "cost_basis IN ('priced', 'unpriced')",
                "(version_now = {version:String} OR override_now = {version:String})",
            ]
            parameters["version"] = self.from_version
        for column, value in (
            ("customer_id", self.customer_id),
            ("provider", self.provider),
            ("model", self.model),
        ):
            if value is not None:
                parts.append(f"{column} = {{of_{column}:String}}")
                parameters[f"of_{column}"] = value
        for name, sign, time_us in (("since", ">=", self.since_us), ("until", "<", self.until_us)):
            if time_us is not None:
                parts.append(
                    f"occurred_at {sign} fromUnixTimestamp64Micro({{{name}:Int64}}, 'UTC')"
                )
                parameters[name] = time_us
        return " AND ".join(parts), parameters


@dataclass(frozen=True, slots=True)
class Terms:
    """Under which a grant is open."""

    priority: int
    effective_at_us: int
    expires_at_us: int | None


@dataclass(frozen=True, slots=True)
class Rated:
    """A usage entry as it stands with all its adjustments, of which there are `times`. `paid` is
    what grants have paid, in the order in which they were burnt; amounts are pico-dollars."""

    place: tuple[int, int, int]
    charged_at_us: int
    used_at_us: int
    cost_pico: int
    provisional_pico: int
    covered_pico: int
    times: int
    price_version: str
    price_override: str
    paid: dict[str, int]
    fields: Mapping[str, Any]
    """Columns of the entry by name."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A model without a price: how much is waiting for one. `partly` counts the events that have a
    price but for some quantity."""

    provider: str
    model: str
    events: int
    tokens: int
    provisional_pico: int
    customers: int
    last_used_at_us: int
    partly: int


def rated_usage(warehouse: Warehouse, cut: Cut, choice: Choice, limit: int) -> Iterator[Rated]:
    """The usage that is meant, by its place in the ledger, at most `limit` entries."""
    chosen, parameters = choice.where()
    sql = PAGE_SQL.format(
        columns=", ".join(_COLUMNS), adjusted=ADJUSTED_SQL, within=WITHIN_CUT, chosen=chosen
    )
    parameters |= cut.parameters()
    place = (0, 0, 0)
    while limit > 0:
        page = dict(zip("gps", place, strict=True)) | {"rows": min(limit, PAGE_ROWS)}
        rows = warehouse.query(sql, parameters | page).rows
        for row in rows:
            found = _rated(row)
            place = found.place
            yield found
        limit -= len(rows)
        if len(rows) < page["rows"]:
            return


def _rated(row: Sequence[Any]) -> Rated:
    generation, partition, sequence, charged, used, cost, provisional, covered, *more = row
    times, version, override, burns, more_burns, returned, *columns = more
    paid: dict[str, int] = {}
    for sign, parts in ((1, burns), (1, more_burns), (-1, returned)):
        for grant_id, amount in parts:
            paid[str(grant_id)] = paid.get(str(grant_id), 0) + sign * pico_of(str(amount))
    return Rated(
        (int(generation), int(partition), int(sequence)),
        int(charged),
        int(used),
        pico_of(str(cost)),
        pico_of(str(provisional)),
        pico_of(str(covered)),
        int(times),
        str(version),
        str(override),
        {grant_id: amount for grant_id, amount in paid.items() if amount > 0},
        dict(zip(_COLUMNS, columns, strict=True)),
    )


def grant_terms(
    warehouse: Warehouse, customers: Sequence[str], grants: Sequence[str]
) -> dict[str, Terms]:
    """The terms of these customers' grants, by id."""
    if not grants:
        return {}
    rows = warehouse.query(TERMS_SQL, {"customers": list(customers), "grants": list(grants)}).rows
    return {
        str(grant_id): Terms(int(priority), int(begins), None if ends is None else int(ends))
        for grant_id, priority, begins, ends in rows
    }


def unknown_models(warehouse: Warehouse, limit: int) -> list[Unknown]:
    """What has no price, the most frequent first."""
    rows = warehouse.query(UNKNOWN_SQL, {"rows": limit}).rows
    return [
        Unknown(
            str(provider),
            str(model),
            int(events),
            int(tokens),
            pico_of(str(provisional)),
            int(customers),
            int(last),
            int(partly),
        )
        for provider, model, events, tokens, provisional, customers, last, partly in rows
    ]
