"""Invoices of a simulated installation: closed, issued, voided and reissued in an order that fits,
so that every one of these facts has to count, whatever happens to who decides them."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from schemas import codec
from schemas.partitioner import partition_of
from schemas.structs import InvoiceCloseEntry, InvoiceVoidEntry, LedgerEntry
from schemas.topics import BUDGETS
from streams.domain.billing_rules import BillingEntry
from tests.builders import HOUR_US
from tests.invoice_facts import close, credit, issue, note_of, retold, terms, void_invoice
from tests.simulation.broker import Broker, Stored

CUSTOMERS: Final = tuple(f"c{number}" for number in range(5))


def script(customer: str) -> Iterator[Any]:
    """What is told of a customer, for ever: hours of 1970 for periods, each second one twice."""
    made = itertools.count(1)
    for hour in itertools.count():
        first, period = f"{customer}-{next(made):04d}", period_of(hour)
        yield terms(f"terms-{hour}")
        yield close(event_id=f"close-{hour}", **period)
        yield issue(first, f"{hour}.25")
        yield credit(f"credit-{hour}", number=first)
        if hour % 2:
            note, again = (f"{customer}-{next(made):04d}" for _ in range(2))
            yield void_invoice(first, reissue=True)
            yield close(event_id=f"anew-{hour}", reissues=first, **period)
            yield note_of(note, f"{hour}.25")
            yield issue(again, f"{hour}.5")


def period_of(hour: int) -> dict[str, Any]:
    """The fields of a close about an hour of 1970."""
    begin, end = hour * HOUR_US, (hour + 1) * HOUR_US
    segment = {"card": "pro", "version": "1", "from_us": begin, "to_us": end}
    return {
        "label": f"hour {hour}",
        "period_from": begin,
        "period_to": end,
        "segments": [segment],
    }


@dataclass
class Invoices:
    """What administration has told, by position, and what comes next."""

    broker: Broker
    partitions: int
    told: dict[tuple[str, int, int], Any] = field(default_factory=dict)
    scripts: dict[str, Iterator[Any]] = field(
        default_factory=lambda: {customer: script(customer) for customer in CUSTOMERS}
    )

    def tell(self, customer: str) -> None:
        """The next fact about a customer."""
        body = retold(next(self.scripts[customer]), customer_id=customer)
        partition = partition_of(customer.encode(), self.partitions)
        log = self.broker.logs[BUDGETS.name, partition]
        self.told[BUDGETS.name, partition, len(log)] = body
        log.append(Stored(customer.encode(), codec.encode(body), self.broker.now_us))

    def faults(self, partition: int, entries: list[LedgerEntry]) -> str:
        """What is wrong with a partition's ledger: all that was told has to be there once, in its
        order, under numbers without gaps."""
        due = [
            (body.customer_id, body.event_id)
            for (_, told, _), body in self.told.items()
            if told == partition
        ]
        billed = [entry for entry in entries if isinstance(entry, BillingEntry)]
        found = [(entry.customer_id, entry.event_id) for entry in billed]
        if found != due:
            return f"facts about invoices: {found}, due are {due}"
        for customer in CUSTOMERS:
            numbers = [
                entry.number
                for entry in billed
                if isinstance(entry, InvoiceCloseEntry | InvoiceVoidEntry)
                and entry.customer_id == customer
            ]
            if numbers != [f"{customer}-{n:04d}" for n in range(1, len(numbers) + 1)]:
                return f"numbers of documents: {numbers}"
        return ""
