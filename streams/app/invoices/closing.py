"""Closing periods and issuing what they come to: one customer or all of them, in batches.

A period is closed by two facts. The close says which period of whom, and by which rate cards it is
charged; where its entry comes to stand is the cut. The issue says what follows from everything up
to that cut. A run that ended between the two is finished by the next one, and every fact has an id
that makes a repeat count once: a run may be interrupted anywhere and given again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Final

from streams.app.invoices.documents import Made, Wanted, make_documents, unissued
from streams.app.invoices.facts import Fact, Refusal
from streams.app.invoices.plans import (
    Period,
    PlanError,
    charges,
    close_fields,
    next_period,
    pinned,
    recorded_period,
)
from streams.app.invoices.session import Session, open_session
from streams.domain.invoices.timeline import Segment
from streams.errors import SetupError
from streams.invoicing.billing import (
    Billing,
    Plain,
    billable_customers,
    customers_of,
    first_times,
    in_batches,
    read_billing,
    read_plain,
)
from streams.settings import Settings

Show = Callable[[int, int], None]
"""Told how many customers are done, and how many there are."""


BATCHES_AT_ONCE: Final = 2
"""While facts of one batch are decided and their rows come, another is read and priced."""

WRITTEN: Final = "customer_id IN {customers:Array(String)} AND event_id IN {ids:Array(String)}"


@dataclass(frozen=True, slots=True)
class Issued:
    """A document that now is in the log."""

    customer_id: str
    number: str
    document: str
    label: str
    lines: int
    totals_pico: Mapping[str, int]
    digest: str


@dataclass(frozen=True, slots=True)
class Refused:
    """What could not be done: about which period or number of whom, and why. The code is that of
    the dead letter, or `not_planned` where nothing could be told."""

    customer_id: str
    about: str
    code: str
    reason: str


@dataclass(slots=True)
class CloseReport:
    """What a run did. `not_due` counts customers whose next period, or its grace, has not ended;
    `uncharged` those who never had a rate card."""

    issued: list[Issued] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    not_due: int = 0
    uncharged: int = 0
    unknown: int = 0
    """Customers of whom there is no usage and no terms."""

    def add(self, other: "CloseReport") -> None:
        """Takes what another run did."""
        self.issued += other.issued
        self.refused += other.refused
        self.not_due += other.not_due
        self.uncharged += other.uncharged
        self.unknown += other.unknown


@dataclass(frozen=True, slots=True)
class _Due:
    """A period that can be closed now."""

    billing: Billing
    period: Period
    pieces: Sequence[Segment]


def close_periods(
    settings: Settings, customers: Sequence[str] | None, label: str | None, show: Show
) -> CloseReport:
    """Closes and issues every period that is due, of these customers or of all; with a label up to
    the period of that name.

    Raises SetupError and TransientError; what a worker refused is in the report, and does not keep
    the others from being closed.
    """
    with open_session(settings) as session:
        wanted = billable_customers(session.warehouse) if customers is None else list(customers)
        show(0, len(wanted))
        whole, done = CloseReport(), 0
        for batch, report in _reports(session, list(in_batches(wanted)), label):
            whole.add(report)
            done += len(batch)
            show(done, len(wanted))
    return whole


def _reports(
    session: Session, batches: Sequence[Sequence[str]], label: str | None
) -> Iterator[tuple[Sequence[str], CloseReport]]:
    """Closes batches, some at a time, and gives what became of each."""

    def close(batch: Sequence[str]) -> tuple[Sequence[str], CloseReport]:
        report = CloseReport()
        _Run(session, report, label).close(batch)
        return batch, report

    with ThreadPoolExecutor(BATCHES_AT_ONCE) as pool:
        futures = [pool.submit(close, batch) for batch in batches]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            # Those under way end by themselves; what they appended counts.
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class _Run:
    """One batch of customers."""

    def __init__(self, session: Session, report: CloseReport, label: str | None = None) -> None:
        self._session = session
        self._report = report
        self._label = label

    def close(self, customers: Sequence[str]) -> None:
        """Finishes what was begun, then closes period after period until nothing is due."""
        warehouse = self._session.warehouse
        billings = self.finish(read_billing(warehouse, customers))
        firsts = first_times(
            warehouse, [one.customer_id for one in billings if one.last_close is None]
        )
        active = billings
        while active:
            found = (self._due(one, firsts.get(one.customer_id)) for one in active)
            due = [one for one in found if one is not None]
            active = self._close_all(due)

    def finish(self, billings: Mapping[str, Billing]) -> list[Billing]:
        """Issues what is closed or voided and not issued yet, then invoices anew what was voided
        for it. Returns those of whom nothing is left undone."""
        self.issue([one for billing in billings.values() for one in unissued(billing)])
        again = []
        for billing in billings.values():
            anew = {one["reissues"] for one in billing.closes}
            waiting = [one for one in billing.voids if one["reissue"] and one["voids"] not in anew]
            again += [(billing, str(one["voids"])) for one in waiting]
        for billing, number in again:
            self.reissue(billing, number)
        return [one for one in billings.values() if not one.unissued]

    def reissue(self, billing: Billing, number: str) -> None:
        """Closes the period of a voided invoice once more, by today's cards, and issues it."""
        before = next(one for one in billing.closes if one["number"] == number)
        period = recorded_period(before)
        pieces = pinned(billing, period.civil.from_us, period.civil.to_us, self._session.shelf)
        fields = close_fields(period, pieces, reissues=number)
        fact = Fact("invoice_close", billing.customer_id, f"reissue:{number}:1", fields)
        if self._tell([fact], {fact.identity: number}):
            self.issue(self._closed([fact], {billing.customer_id: billing}))

    def _due(self, billing: Billing, first_us: int | None) -> _Due | None:
        """The period of a customer that can be closed now, if there is one."""
        try:
            return self._planned(billing, first_us)
        except PlanError as fault:
            refused = Refused(billing.customer_id, "its next period", "not_planned", fault.message)
            self._report.refused.append(refused)
            return None

    def _planned(self, billing: Billing, first_us: int | None) -> _Due | None:
        period = next_period(billing, first_us)
        if period is None:
            self._report.unknown += 1
            return None
        if self._label is not None and period.label > self._label:
            return None
        session = self._session
        if period.civil.to_us + session.grace_us > session.now_us:
            self._report.not_due += 1
            return None
        # A customer who gets a card later is closed from the first period on, with nothing charged
        # before the card; one who never had any is nobody to invoice.
        if billing.last_close is None and not charges(
            pinned(billing, period.civil.from_us, session.now_us, session.shelf)
        ):
            self._report.uncharged += 1
            return None
        pieces = pinned(billing, period.civil.from_us, period.civil.to_us, session.shelf)
        return _Due(billing, period, pieces)

    def _close_all(self, due: Sequence[_Due]) -> list[Billing]:
        """Closes and issues one period of each. Returns those that may have another one."""
        facts = [
            Fact(
                "invoice_close",
                one.billing.customer_id,
                one.period.close_id,
                close_fields(one.period, one.pieces),
            )
            for one in due
        ]
        labels = {fact.identity: one.period.label for fact, one in zip(facts, due, strict=True)}
        told = self._tell(facts, labels)
        wanted = self._closed(told, {one.billing.customer_id: one.billing for one in due})
        done = {made.wanted.customer_id for made in self.issue(wanted)}
        return [one.billing for one in due if one.billing.customer_id in done]

    def _closed(self, facts: Sequence[Fact], billings: Mapping[str, Billing]) -> list[Wanted]:
        """The documents that these closes, which now are in the ledger, ask for."""
        wanted = []
        for one in self._written("invoice_close", facts):
            billing = billings[str(one["customer_id"])]
            billing.add(one)
            wanted.append(Wanted(billing, one))
        return wanted

    def _written(self, kind: str, facts: Sequence[Fact]) -> list[Plain]:
        """The entries of facts that were told."""
        found = []
        events: dict[str, list[str]] = {}
        for fact in facts:
            events.setdefault(fact.customer_id, []).append(fact.event_id)
        for batch in in_batches(sorted(events)):
            ids = sorted({event for customer in batch for event in events[customer]})
            told = {"customers": batch, "ids": ids}
            rows = read_plain(self._session.warehouse, kind, WRITTEN, told, with_lines=False)
            found += [one for one in rows if one["event_id"] in events[one["customer_id"]]]
        return found

    def issue(self, wanted: Sequence[Wanted]) -> list[Made]:
        """Makes and issues documents. Returns those that were issued."""
        session = self._session
        made = {}
        for one in make_documents(session.warehouse, session.shelf, wanted):
            fact = Fact(
                "invoice_issue",
                one.wanted.customer_id,
                f"issue:{one.wanted.number}",
                one.fields(),
            )
            made[fact.identity] = (fact, one)
        labels = {identity: one.wanted.number for identity, (_, one) in made.items()}
        told = self._tell([fact for fact, _ in made.values()], labels)
        issued = []
        for entry in self._written("invoice_issue", told):
            _, found = made[str(entry["customer_id"]), str(entry["event_id"])]
            found.wanted.billing.add(entry)
            issued.append(found)
            self._report.issued.append(_issued(found))
        return issued

    def void(self, billing: Billing, number: str, reason: str, *, reissue: bool) -> None:
        """Voids an invoice and issues the credit note."""
        fields = {"number": number, "reason": reason, "reissue": reissue}
        fact = Fact("invoice_void", billing.customer_id, f"void:{number}", fields)
        if not self._tell([fact], {fact.identity: number}):
            return
        (void,) = self._written("invoice_void", [fact])
        billing.add(void)
        self.issue([one for one in unissued(billing) if one.number == void["number"]])

    def _tell(self, facts: Sequence[Fact], about: Mapping[tuple[str, str], str]) -> list[Fact]:
        """Tells facts and notes those that are refused. Returns the others."""
        refused: Mapping[tuple[str, str], Refusal] = self._session.books.tell(facts)
        for (customer, event), why in refused.items():
            self._report.refused.append(
                Refused(customer, about[customer, event], why.code, why.reason)
            )
        return [fact for fact in facts if fact.identity not in refused]


def _issued(made: Made) -> Issued:
    document = made.document
    return Issued(
        document.customer_id,
        document.number,
        document.document,
        document.label,
        len(document.lines),
        document.totals_pico,
        str(made.fields()["digest"]),
    )


# --- one invoice ---------------------------------------------------------------------------------


def void_invoice(
    settings: Settings, number: str, reason: str, *, reissue: bool = False
) -> CloseReport:
    """Takes an issued invoice back by a credit note; with `reissue` its period is invoiced again.

    Given again it goes on where it stopped. Raises SetupError for a number that names no invoice,
    and where an invoice that was voided for good is to be invoiced again.
    """
    report = CloseReport()
    with open_session(settings) as session:
        billing = _billing_of(session, number)
        run = _Run(session, report)
        voids = [one for one in billing.voids if one["voids"] == number]
        if not voids:
            run.issue(unissued(billing))
            run.void(billing, number, reason, reissue=reissue)
        elif reissue and not voids[0]["reissue"]:
            raise SetupError(
                f"invoice {number} was voided for good, by {voids[0]['number']}",
                action="What it charged stays credited; `tollgate invoice close` goes on with the "
                "next period.",
            )
        if not report.refused:
            run.finish({billing.customer_id: billing})
    return report


def _billing_of(session: Session, number: str) -> Billing:
    """What is known of the customer of an invoice."""
    for billing in read_billing(
        session.warehouse, customers_of(session.warehouse, [number])
    ).values():
        if any(one["number"] == number for one in billing.closes):
            return billing
        if any(one["number"] == number for one in billing.voids):
            raise SetupError(
                f"{number} is a credit note", action="Name the invoice that it takes back."
            )
    raise SetupError(
        f"there is no invoice {number}", action="`tollgate invoice list` shows all there are."
    )
