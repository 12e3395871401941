"""The demo's invoices: a month closed for everybody, made again from the log after ClickHouse was
dropped, and what comes late on the next draft.

What must come out is computed here from the bills that the CSV files say, with fractions and
without any code of invoices.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from importlib import resources
from typing import Any, Final

from schemas.partitioner import partition_of
from schemas.topics import USAGE
from streams.app.invoices.closing import close_periods
from streams.app.invoices.drafts import draft_one
from streams.app.invoices.lookup import list_documents
from streams.app.invoices.verifying import Choice, verify_invoices
from streams.app.rate_files import read_rate_files
from streams.app.rates import append_versions, now_us, plan_versions, read_rate_shelf
from streams.demo.compare import Difference
from streams.demo.installation import Installation
from streams.demo.load import Load
from streams.demo.stages import Stages
from streams.demo.totals import PICO, CustomerTotals
from streams.settings import Settings

Show = Callable[[str, int, int], None]

LATE_SOURCE: Final = "demo-late"
LATE_COST: Final = "1"
LATE_AMOUNT: Final = "1.25"
"""What the late call costs, and what is charged for it with the card's markup."""

FEE: Final = Fraction(20)
UNIT: Final = Fraction("0.002")
MARKUP: Final = Fraction("1.25")


@dataclass(frozen=True, slots=True)
class InvoicesResult:
    """What became of the month. `total` is that of all invoices, in dollars; the late call is a
    line of `draft_label` that corrects invoice `corrects`."""

    label: str
    invoices: int
    total: str
    verified: int
    entries: int
    late_customer: str
    draft_label: str
    corrects: str
    differences: Sequence[Difference]

    def plain(self) -> dict[str, Any]:
        """The result for a script, differences apart."""
        return {
            "period": self.label,
            "invoices": self.invoices,
            "total_usd": self.total,
            "verified": self.verified,
            "entries": self.entries,
            "late_customer": self.late_customer,
            "draft": self.draft_label,
            "corrects": self.corrects,
        }


def closable_day(today: date) -> date:
    """The last day of the latest month that can be closed: a day of grace follows its end."""
    return (today - timedelta(days=1)).replace(day=1) - timedelta(days=1)


def run_invoices(
    installation: Installation,
    load: Load,
    bills: Mapping[str, CustomerTotals],
    day: date,
    stages: Stages,
    show: Show,
) -> InvoicesResult:
    """Applies the demo's rate card, closes the month of `day` for everybody, drops ClickHouse and
    rebuilds it from the log, makes every invoice again, sends a late call and drafts the next
    invoice of its customer."""
    settings, label = installation.settings, f"{day:%Y-%m}"
    with stages.timed("apply a rate card, close the month for all customers"):
        asyncio.run(_apply(settings))
        close_periods(settings, None, label, _named(show, "closed"))
    with stages.timed("drop ClickHouse, rebuild it from the log"):
        installation.rebuild()
        asyncio.run(_settled(installation, load))
    with stages.timed("make every invoice again and compare bytes"):
        verification = verify_invoices(settings, Choice(), _named(show, "verified"))
    invoices = list_documents(settings, None, label, len(bills) + 1)
    amounts = {one.customer_id: dict(one.totals).get("USD", "0") for one in invoices}
    differences = [
        *compare_invoices(bills, amounts),
        *(Difference("invoice", "identical", line) for line in verification.differences),
    ]
    # The largest has used up what is free, so that its late call costs something.
    late = max(sorted(bills), key=lambda name: bills[name].calls)
    with stages.timed("send a late call, draft the next invoice"):
        asyncio.run(_send_late(installation, load, late, day))
        drafted = draft_one(settings, late, None)
    corrects, draft_label = "", ""
    if drafted is not None:
        draft_label = drafted.document.label
        found = [one for one in drafted.document.lines if one.corrects and one.item == "models"]
        corrects = found[0].corrects if found else ""
        amounts_late = [one.amount for one in found]
        if amounts_late != [LATE_AMOUNT]:
            differences.append(Difference("late on the draft", [LATE_AMOUNT], amounts_late))
    total = sum((Fraction(amount) for amount in amounts.values()), Fraction(0))
    return InvoicesResult(
        label=label,
        invoices=len(invoices),
        total=_dollars(total),
        verified=verification.documents,
        entries=verification.entries,
        late_customer=late,
        draft_label=draft_label,
        corrects=corrects,
        differences=differences,
    )


def _named(show: Show, name: str) -> Callable[[int, int], None]:
    return lambda done, total: show(name, done, total)


async def _apply(settings: Settings) -> None:
    with resources.as_file(resources.files("streams.demo").joinpath("rates.yaml")) as path:
        found = read_rate_files([str(path)])
    shelf = await read_rate_shelf(settings)
    await append_versions(settings, shelf, plan_versions(shelf, found.documents, now_us()))


async def _settled(installation: Installation, load: Load) -> None:
    async with installation.positions() as positions:
        await load.settled(positions)


async def _send_late(installation: Installation, load: Load, customer: str, day: date) -> None:
    body = {
        "schema_version": 1,
        "event_id": f"late-{day}",
        "source": LATE_SOURCE,
        "customer_id": customer,
        "occurred_at": f"{day}T23:30:00Z",
        "provider": "openai",
        "model": "gpt-4o",
        "units": 1,
        "cost": LATE_COST,
    }
    key = customer.encode()
    partition = partition_of(key, installation.settings.partitions)
    async with installation.positions() as positions, installation.producer() as producer:
        await producer.send(USAGE.name, partition, [(key, json.dumps(body).encode())])
        await producer.flush()
        await load.settled(positions)


def compare_invoices(
    bills: Mapping[str, CustomerTotals], amounts: Mapping[str, str]
) -> list[Difference]:
    """Invoices that are not what the data files say, to the cent."""
    return [
        Difference(f"{customer}, invoice", due, found)
        for customer in sorted(bills.keys() | amounts.keys())
        for due, found in [(_due(bills.get(customer)), amounts.get(customer, "none"))]
        if due == "none" or found == "none" or Fraction(due) != Fraction(found)
    ]


def _due(bill: CustomerTotals | None) -> str:
    if bill is None:
        return "none"
    cost = Fraction(bill.cost_pico_usd, PICO) * MARKUP
    return _dollars(FEE + _cents(bill.units_beyond * UNIT) + _cents(cost))


def _cents(amount: Fraction) -> Fraction:
    # Python rounds a fraction half to even, as invoices do.
    return Fraction(round(amount * 100), 100)


def _dollars(amount: Fraction) -> str:
    cents = round(amount * 100)
    return f"{cents // 100}.{cents % 100:02d}"
