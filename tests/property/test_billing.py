"""Invoices in any order: whatever is told, numbers are dense, intervals follow on one another, and
each cut lies behind the one before it."""

import random
from collections.abc import Iterable
from copy import deepcopy
from typing import Any

import pytest

from schemas import codec
from schemas.structs import (
    BillingRecord,
    InboundFact,
    InvoiceCloseEntry,
    InvoiceIssueEntry,
    InvoiceVoidEntry,
    LedgerEntry,
)
from streams.domain.appends import decode_billing, encode_billing
from streams.domain.billing import Billing, number_base, open_invoice, to_reissue
from streams.domain.billing_rules import BillingEntry
from streams.domain.replay import fold_entries
from tests.builders import grant, of_kind, signal, usage
from tests.invoice_facts import (
    MONTHS,
    Invoiced,
    close,
    credit,
    issue,
    note_of,
    retold,
    terms,
    void_invoice,
)
from tests.property.seed import SEED

CUSTOMERS = ("acme", "bolt 1")
RUNS = range(20)


def any_body(chance: random.Random, step: int, told: list[InboundFact]) -> Any:
    """Something that may or may not fit: most of it near what is due next."""
    customer = chance.choice(CUSTOMERS)
    base = number_base(customer)
    number = f"{base}-{chance.randrange(1, 9):04d}"
    named = {"customer": customer}
    month = chance.randrange(6)
    made: list[Any] = [
        *[close(month, event_id=f"close-{step}", **named)] * 4,
        *[close(month, event_id=f"anew-{step}", reissues=number, **named)] * 4,
        *[moved(issue(number), step, customer)] * 6,
        *[moved(note_of(number, "12.50"), step, customer)] * 3,
        *[moved(void_invoice(number, reissue=chance.random() < 0.6), step, customer)] * 4,
        credit(f"credit-{step}", number=chance.choice(("", number)), **named),
        terms(f"terms-{step}", **named),
        usage(customer, f"usage-{step}"),
        signal(customer, f"signal-{step}"),
        grant(customer, f"grant-{step}"),
    ]
    if told and chance.random() < 0.15:
        return chance.choice(told)
    return chance.choice(made)


def moved(body: Any, step: int, customer: str) -> Any:
    """The same of another customer, under an id of its own."""
    return retold(body, customer_id=customer, event_id=f"{body.event_id}-{step}")


def fitting(chance: random.Random, step: int, row: Billing) -> Any:
    """What may be told next of a customer."""
    customer = row.customer_id
    waiting, due = open_invoice(row), to_reissue(row)
    notes = [n for n, one in row.documents.items() if one.voids and one.status == "closed"]
    issued = [n for n, one in row.documents.items() if one.status == "issued" and not one.voids]
    if waiting:
        return moved(issue(waiting), step, customer)
    if due:
        month = MONTHS.index(row.documents[due].from_us)
        return close(month, event_id=f"due-{step}", reissues=due, customer=customer)
    if notes and chance.random() < 0.5:
        return moved(note_of(notes[0], "12.50"), step, customer)
    if issued and chance.random() < 0.4:
        taken = void_invoice(chance.choice(issued), reissue=chance.random() < 0.6)
        return moved(taken, step, customer)
    month = MONTHS.index(row.closed_to_us) if row.closed_to_us else 0
    return close(month, event_id=f"next-{step}", customer=customer)


def random_log(chance: random.Random, length: int = 100) -> list[InboundFact]:
    """Half of it is what may come next, decided one by one; the rest is anything."""
    told: list[InboundFact] = []
    books = Invoiced()
    for step in range(length):
        row = books.state.billing.get(customer := chance.choice(CUSTOMERS)) or Billing(customer)
        fits = chance.random() < 0.5 and row.closed_to_us < MONTHS[-4]
        body = fitting(chance, step, row) if fits else any_body(chance, step, told)
        books.cycle(body)
        told.append(body)
    return told


def run(chance: random.Random, log: Iterable[InboundFact], most: int = 5) -> Invoiced:
    """The log in cycles of random sizes."""
    books, left = Invoiced(), list(log)
    while left:
        size = chance.randrange(1, most + 1)
        books.cycle(*left[:size])
        del left[:size]
        books.now_us += 1_000_000
    return books


def entries_of(books: Invoiced, customer: str) -> list[Any]:
    return [e for e in books.entries if getattr(e, "customer_id", "") == customer]


@pytest.mark.parametrize("number", RUNS)
def test_numbers_are_dense_and_each_cut_lies_behind_the_one_before_it(number: int) -> None:
    chance = random.Random(f"{SEED} billing {number}")
    books = run(chance, random_log(chance))
    for customer in CUSTOMERS:
        check_documents(entries_of(books, customer))


def check_documents(entries: list[LedgerEntry]) -> None:
    """All that the ledger must say of the documents of one customer, told without the core."""
    given = [e for e in entries if isinstance(e, InvoiceCloseEntry | InvoiceVoidEntry)]
    base = given[0].number.rpartition("-")[0] if given else ""
    assert [e.number for e in given] == [f"{base}-{n:04d}" for n in range(1, len(given) + 1)]
    cut, end = (0, 0), 0
    closes: dict[str, InvoiceCloseEntry] = {}
    lines_of: dict[str, str] = {}
    voids: dict[str, InvoiceVoidEntry] = {}
    for entry in entries:
        if isinstance(entry, InvoiceCloseEntry):
            closes[entry.number] = entry
            assert all(n in lines_of for n in closes if n != entry.number), "one at a time"
            if entry.reissues:
                before = closes[entry.reissues]
                assert voids[entry.reissues].reissue
                assert interval(before) == interval(entry)
                continue
            due = {v.voids for v in voids.values() if v.reissue}
            assert due == {c.reissues for c in closes.values() if c.reissues}, "reissued first"
            assert (entry.after_generation, entry.after_sequence) == cut
            assert (entry.cut_generation, entry.cut_sequence) == (1, entry.sequence)
            assert (entry.generation, entry.sequence) > cut
            assert entry.after_end == end
            assert not end or entry.period_from == end
            cut, end = (1, entry.sequence), entry.period_to
        elif isinstance(entry, InvoiceVoidEntry):
            assert entry.voids in lines_of
            assert entry.voids not in voids
            voids[entry.voids] = entry
        elif isinstance(entry, InvoiceIssueEntry):
            assert entry.number not in lines_of
            lines_of[entry.number] = entry.totals[0].amount
            if entry.voids:
                assert lines_of[entry.voids] == entry.totals[0].amount.removeprefix("-")


def interval(entry: InvoiceCloseEntry) -> tuple[Any, ...]:
    return (
        *(entry.label, entry.period_from, entry.period_to),
        *(entry.cut_generation, entry.cut_sequence),
        *(entry.after_generation, entry.after_sequence, entry.after_end),
    )


def test_random_logs_come_to_every_kind_of_document() -> None:
    closes = reissues = voids = notes = 0
    for number in RUNS:
        chance = random.Random(f"{SEED} billing {number}")
        books = run(chance, random_log(chance))
        closes += len(of_kind(InvoiceCloseEntry, books.entries))
        reissues += sum(bool(getattr(e, "reissues", "")) for e in books.entries)
        voids += len(of_kind(InvoiceVoidEntry, books.entries))
        notes += sum(isinstance(e, InvoiceIssueEntry) and bool(e.voids) for e in books.entries)
    assert min(closes, reissues, voids, notes) >= 25


@pytest.mark.parametrize("number", RUNS)
def test_telling_everything_again_changes_nothing(number: int) -> None:
    chance = random.Random(f"{SEED} again {number}")
    log = random_log(chance, 80)
    books = run(chance, log)
    before = deepcopy(books.state.billing)
    accepted = {key for key, _ in what_counted(books.entries)}
    for body in log:
        if (body.customer_id, body.event_id) in accepted:
            assert books.tell(body) == []
    assert books.state.billing == before


@pytest.mark.parametrize("number", RUNS)
def test_the_cut_of_cycles_changes_no_document(number: int) -> None:
    # What lies before a cut depends on the cycles, as within one of them budgets come first: those
    # are recorded (D1). Which facts count, and what they say beside their places, does not (D7).
    chance = random.Random(f"{SEED} cycles {number}")
    log = random_log(chance)
    found = [run(chance, log, most) for most in (1, 4, len(log))]
    for other in found[1:]:
        assert what_counted(other.entries) == what_counted(found[0].entries)
        assert what_was_refused(other) == what_was_refused(found[0])
        assert documents(other) == documents(found[0])


PLACES = (
    *("sequence", "cycle", "decided_at", "appended_at", "occurred_at"),
    *("cut_sequence", "after_sequence"),
)


def what_counted(entries: Iterable[LedgerEntry]) -> list[tuple[tuple[str, str], Any]]:
    """What entries about terms and invoices say, beside where they stand and when."""
    found = []
    for entry in entries:
        if isinstance(entry, BillingEntry):
            plain = codec.to_plain(entry)
            said = {name: value for name, value in plain.items() if name not in PLACES}
            found.append(((entry.customer_id, entry.event_id), said))
    return found


def what_was_refused(books: Invoiced) -> list[tuple[int, str]]:
    return [(r.record.offset, r.code.value) for r in books.rejected]


def documents(books: Invoiced) -> Any:
    return {
        customer: (
            row.closed_to_us,
            row.next_number,
            {n: (d.status, d.label, d.totals, d.voids) for n, d in row.documents.items()},
        )
        for customer, row in books.state.billing.items()
    }


@pytest.mark.parametrize("number", RUNS)
def test_folding_the_ledger_again_gives_the_same_rows(number: int) -> None:
    chance = random.Random(f"{SEED} folded {number}")
    books = run(chance, random_log(chance))
    assert fold_entries(books.entries).billing == books.state.billing
    for row in books.state.billing.values():
        assert decode_billing(encode_billing(row)) == row


@pytest.mark.parametrize("number", range(10))
def test_invoices_change_nothing_for_usage(number: int) -> None:
    chance = random.Random(f"{SEED} usage {number}")
    log = random_log(chance)
    plain = [b for b in log if not isinstance(b, BillingRecord)]
    with_invoices, without = run(chance, log), run(chance, plain)
    for customer, account in without.state.accounts.items():
        found = with_invoices.state.accounts[customer]
        assert (found.events, found.used_units, found.signals) == (
            *(account.events, account.used_units),
            account.signals,
        )
    assert with_invoices.state.accounts.keys() == without.state.accounts.keys()
