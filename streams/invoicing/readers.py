"""Who may read what in ClickHouse: the analyst everything, a restricted one some customers' rows.

Owns the list of what there is to read and the condition on each table; the embedded server's users
and the statements for a server of one's own are both made of it. Views run with the rights of who
asks, so the conditions on tables hold in every view."""

from collections.abc import Sequence
from typing import Final

ANALYST_SECONDS: Final = 120
"""The longest that one query of an analyst may take."""

ANALYST_MEMORY_BYTES: Final = 1_000_000_000
"""What one query may hold in memory, so that it cannot push out the sink's inserts."""

ANALYST_QUERIES: Final = 50
"""Queries of one analyst at once: half of what the embedded server takes, so that the sink always
finds a place. A page of Grafana asks some fifteen."""

CUSTOMERS_MAX: Final = 100
"""Customers of one restricted analyst: its conditions are read for every query."""

_OWN: Final = "customer_id IN ({customers})"

CONDITIONS: Final = {
    "ledger": _OWN,
    "attributions": _OWN,
    "draft_lines": _OWN,
    "draft_runs": "1",
    # Refused records belong to nobody: what is wrong in them may be the customer's id.
    "dead_letters": "0",
    # List prices, what changes them for all or for these customers, and what these were charged by.
    # Other rate cards are what others pay.
    "catalog_records": (
        "kind = 'price_book' "
        "OR (kind = 'price_override' AND customer_id IN ('', {customers})) "
        "OR (kind = 'rate_card' AND (id, version) IN ("
        "SELECT part.card, part.version FROM {database}.ledger ARRAY JOIN segments AS part "
        "WHERE kind = 'invoice_close' AND customer_id IN ({customers})))"
    ),
}
"""Which rows of each table a restricted analyst sees. Rows that name no customer (cycles, what is a
task's alone) are in none."""

COLUMNS: Final = {"draft_runs": "run, drawn_at"}
"""The columns that a restricted analyst may read, where it is not all of them: how many customers
there are is none of its business."""

VIEWS: Final = (
    "adjustments",
    "anomalies",
    "billing_periods",
    "budget_history",
    "cost_by_model",
    "credits",
    "decisions",
    "drafts",
    "grants",
    "holds_closed",
    "invoice_lines",
    "invoices",
    "letters",
    "margin_by_agent",
    "margin_by_customer",
    "margin_by_signal",
    "margin_of_period",
    "monthly_usage",
    "open_holds",
    "period_costs",
    "period_signals",
    "price_book",
    "rate_cards",
    "rate_plans",
    "revenue_parts",
    "signal_costs",
    "signals",
    "terms",
    "tokens_by_flow",
    "trace_costs",
    "unattributed_costs",
    "unpriced_models",
    "usage",
    "usage_by_day",
    "voids",
)
"""All views. A new one is granted to restricted analysts only when it is named here, which a test
asks for."""


def literal(text: str) -> str:
    """A text as SQL says it."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def conditions(database: str, customers: Sequence[str]) -> dict[str, str]:
    """The condition on each table for an analyst of these customers. Raises ValueError for none or
    too many."""
    if not 1 <= len(customers) <= CUSTOMERS_MAX:
        raise ValueError(
            f"a restricted analyst has 1 to {CUSTOMERS_MAX} customers, not {len(customers)}"
        )
    named = ", ".join(map(literal, customers))
    return {
        # A customer may be called {database}: names come last.
        table: text.replace("{database}", database).replace("{customers}", named)
        for table, text in CONDITIONS.items()
    }


def grants(database: str, customers: Sequence[str] = ()) -> list[str]:
    """The rights of an analyst, those of a restricted one where there are customers."""
    if not customers:
        return [f"SELECT ON {database}.*", f"SHOW ON {database}.*", f"dictGet ON {database}.*"]
    return [
        f"SELECT({COLUMNS[name]}) ON {database}.{name}"
        if name in COLUMNS
        else f"SELECT ON {database}.{name}"
        for name in (*CONDITIONS, *VIEWS)
    ]


def statements(name: str, database: str, customers: Sequence[str] = ()) -> list[str]:
    """What an administrator of a ClickHouse of one's own runs to make an analyst there.

    The password is left open, as a parameter of the first client that asks for it: `{password}`.
    `name` and `database` are identifiers."""
    profile = "tollgate_analyst"
    make_profile = (
        f"CREATE SETTINGS PROFILE IF NOT EXISTS {profile} SETTINGS readonly = 2, "
        f"max_execution_time = {ANALYST_SECONDS} MIN 1 MAX {ANALYST_SECONDS}, "
        f"max_memory_usage = {ANALYST_MEMORY_BYTES} MIN 1 MAX {ANALYST_MEMORY_BYTES}, "
        f"max_concurrent_queries_for_user = {ANALYST_QUERIES} CONST, log_queries = 1 CONST, "
        "allow_introspection_functions = 0 CONST"
    )
    make_user = (
        f"CREATE USER IF NOT EXISTS {name} IDENTIFIED WITH sha256_password BY '{{password}}' "
        f"DEFAULT ROLE NONE SETTINGS PROFILE {literal(profile)}"
    )
    found = [make_profile, make_user]
    found += [f"GRANT {right} TO {name}" for right in grants(database, customers)]
    if customers:
        # Whatever another policy lets everybody see, the restrictive one holds; it lets nothing be
        # seen by itself.
        for table, condition in conditions(database, customers).items():
            policy = f"ON {database}.{table} FOR SELECT USING"
            row_policy = f"CREATE ROW POLICY OR REPLACE tollgate_{name}"
            found += [
                f"{row_policy} {policy} 1 AS PERMISSIVE TO {name}",
                f"{row_policy}_only {policy} {condition} AS RESTRICTIVE TO {name}",
            ]
    return found
