"""AgentBill's Python package, which ships no types: imported in this one place."""

import agentbill  # type: ignore[import-untyped]
from agentbill import (
    AgentBillClient,
    AuthenticationError,
    BudgetExhaustedError,
    CeilingExceededError,
    PreflightInProgressError,
    Refusal,
    TaskCeilingExceededError,
    TaskCeilingRequiredError,
)

__all__ = [
    "AgentBillClient",
    "AuthenticationError",
    "BudgetExhaustedError",
    "CeilingExceededError",
    "PreflightInProgressError",
    "Refusal",
    "TaskCeilingExceededError",
    "TaskCeilingRequiredError",
    "agentbill",
]
