"""How customers and tasks stand, for commands: ClickHouse asked once, judged by this machine's
clock as an owner judges by its own."""

from contextlib import closing

from streams.adapters.clock import SystemClock
from streams.app.warehouse import clickhouse
from streams.invoicing.balance import BudgetReport, budget_report
from streams.invoicing.task import TaskReport, task_report
from streams.settings import Settings


def customer_budget(settings: Settings, customer_id: str) -> BudgetReport | None:
    """The budget of a customer, None for one of whom there is no row at all."""
    with closing(clickhouse(settings, analyst=True)) as warehouse:
        return budget_report(warehouse, customer_id, SystemClock().now_us())


def task_standing(settings: Settings, task_ref: str) -> TaskReport | None:
    """How a task stands, None for one that no row is about."""
    with closing(clickhouse(settings, analyst=True)) as warehouse:
        return task_report(warehouse, task_ref)
