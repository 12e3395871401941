"""A program with `@meter`, run by a test in a process of its own: the decorator reads its settings
when it is imported. Prints what happened as one JSON object."""

import asyncio
import json
import sys

from agentbill import (  # type: ignore[import-untyped]
    AuthenticationError,
    BudgetExhaustedError,
    meter,
)

customer, job = sys.argv[1:]


@meter(event="research_run", customer_id_from="customer_id", metadata={"k": "v"}, units=14)  # type: ignore[untyped-decorator]
async def research(customer_id: str) -> str:
    return customer_id


@meter(event="report", customer_id=customer, units=lambda result: result, task_ref=job)  # type: ignore[untyped-decorator]
def report(pages: int) -> int:
    return pages


@meter(event="guarded", customer_id=customer, preflight=True)  # type: ignore[untyped-decorator]
def guarded() -> str:
    ran.append("guarded")
    return "ran"


ran: list[str] = []
found: dict[str, object] = {"async": asyncio.run(research(customer))}
found["sync"] = report(3)
found["none"] = report(0)
found["guarded"] = guarded()
for name, pages in (("to_the_end", 2_000), ("beyond", 1)):
    try:
        found[name] = report(pages)
    except BudgetExhaustedError as error:
        found[name] = str(error)
try:
    guarded()
except BudgetExhaustedError as error:
    found["blocked"] = error.customer_id
except AuthenticationError as error:
    found["blocked"] = error.error
found["ran"] = ran
print(json.dumps(found))
