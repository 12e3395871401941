"""What a worker knows of invoices lies in its store: it is read by the cycles that need it, and by
no others."""

from collections.abc import Sequence
from typing import Any

from schemas.structs import InvoiceCloseEntry, InvoiceIssueEntry
from streams.adapters.memory import MemoryClock
from streams.adapters.memory_lease import MemoryTopic
from streams.domain.billing import is_billing_row, row_key
from streams.ports import Table
from tests.builders import of_kind, record, replay, signal, usage
from tests.invoice_facts import MONTHS, close, issue, terms, void_invoice
from tests.owned import PARTITION, OwnedPartition, RecoveringPartition, Shared


class Watched:
    """Counts the rows about invoices that are asked for."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.asked: list[bytes] = []
        self._read = store.read
        store.read = self.read

    def read(self, table: Table, partition: int, keys: Sequence[bytes]) -> Any:
        self.asked += [key for key in keys if is_billing_row(key)]
        return self._read(table, partition, keys)


def shared() -> Shared:
    """Logs of a year in which the first month is over."""
    return Shared(topic=MemoryTopic(now_us=MONTHS[4]))


def owner_of(logs: Shared, kind: type[OwnedPartition] = OwnedPartition) -> OwnedPartition:
    return kind(shared=logs, clock=MemoryClock(MONTHS[4]))


async def test_documents_go_on_from_the_store_in_the_next_cycle_and_at_the_next_owner() -> None:
    logs = shared()
    async with owner_of(logs) as owned:
        await owned.take()
        await owned.cycle(close(0), usage())
        (issued,) = of_kind(InvoiceIssueEntry, (await owned.cycle(issue())).entries)
        assert issued.number == "acme-0001"
    for kind, month in ((OwnedPartition, 1), (RecoveringPartition, 2)):
        async with owner_of(logs, kind) as owned:
            await owned.take()
            (closed,) = of_kind(InvoiceCloseEntry, (await owned.cycle(close(month))).entries)
            assert closed.number == f"acme-000{month + 1}"
            assert (closed.after_end, closed.period_from) == (MONTHS[month], MONTHS[month])
            outcome = await owned.cycle(issue(closed.number))
            assert not outcome.rejected


async def test_cycles_without_facts_about_invoices_never_ask_for_the_row() -> None:
    async with owner_of(shared()) as owned:
        await owned.take()
        await owned.cycle(close(0))
        store = Watched(owned.shared.store)
        await owned.cycle(usage(), signal())
        await owned.cycle(usage(event_id="e2"), replay(record(usage(event_id="e3"), 9)))
        assert store.asked == []
        await owned.cycle(usage(event_id="e4"), terms())
        await owned.cycle(void_invoice())
        assert store.asked == [row_key("acme")] * 2


async def test_the_row_is_written_by_the_cycles_that_change_it() -> None:
    async with owner_of(shared()) as owned:
        await owned.take()
        written = [row_key("acme") in (await owned.cycle(body)).rows for body in bodies()]
        assert written == [False, True, False, True, False, True]
        (row,) = owned.shared.store.read(Table.ACCOUNTS, PARTITION, [row_key("acme")])
        assert row is not None
        assert b'"to_reissue"' in row


def bodies() -> list[Any]:
    return [
        terms(),
        close(0),
        close(1),
        issue(),
        usage(),
        void_invoice(reissue=True),
    ]
