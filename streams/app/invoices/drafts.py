"""Drafts: what a period would come to if it were closed now, always current, nothing appended."""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from schemas.partitioner import partition_of
from streams.adapters.clock import SystemClock
from streams.app.invoices.documents import Made, Wanted, make_documents
from streams.app.invoices.lookup import cards_of
from streams.app.invoices.plans import (
    Period,
    draft_close,
    next_period,
    period_after,
    pinned,
    recorded_period,
)
from streams.app.invoices.session import Session, open_session
from streams.app.warehouse import clickhouse
from streams.domain.invoices.documents import Document
from streams.domain.rate_cards import RateShelf
from streams.errors import SetupError
from streams.invoicing import drafts_store
from streams.invoicing.asof import read_cut
from streams.invoicing.billing import (
    Billing,
    Place,
    Plain,
    billable_customers,
    first_times,
    in_batches,
    read_billing,
)
from streams.invoicing.drafts_store import DraftRun
from streams.settings import Settings

Show = Callable[[int, int], None]
"""Told how many customers are done, and how many there are."""

LeftOut = Callable[[str], None]
"""Told why a customer has no draft."""

PERIODS_MAX = 1_200
"""Periods that are looked through for a label: a century of months."""


def drafts(
    settings: Settings,
    customers: Sequence[str] | None,
    label: str | None,
    shelf: RateShelf | None,
    show: Show,
) -> Iterator[tuple[str, Document]]:
    """The drafts of these customers or of all: of the period called `label`, open or closed, as if
    it were invoiced for the first time now, without what corrects earlier periods.

    Without a label of what is closed next, with its corrections. `shelf` are the rate cards, those
    of the catalog where None. Customers who have no such period are left out.
    """
    with open_session(settings, caught_up=False) as session:
        cards = session.shelf if shelf is None else shelf
        wanted = billable_customers(session.warehouse) if customers is None else list(customers)
        show(0, len(wanted))
        done = 0
        for batch in in_batches(wanted):
            for made in draft_batch(session, batch, label, cards, anew=label is not None):
                yield made.wanted.customer_id, made.document
            done += len(batch)
            show(done, len(wanted))


@dataclass(frozen=True, slots=True)
class Drafted:
    """A draft, and the records of the rate cards that its lines name."""

    document: Document
    cards: Mapping[str, Mapping[str, Any]]


def draft_one(settings: Settings, customer_id: str, label: str | None) -> Drafted | None:
    """The draft of one customer: of an open period, the next one where there is no label. None
    where there is no such period. Raises SetupError for one that is closed."""
    with open_session(settings, caught_up=False) as session:
        made = draft_batch(session, [customer_id], label, session.shelf)
        if not made:
            return None
        return Drafted(made[0].document, cards_of(session, made[0].document))


def draft_all(
    settings: Settings, label: str | None, show: Show, left_out: LeftOut
) -> Iterator[Document]:
    """The drafts of everybody who is charged: of an open period, the next one where there is no
    label. Customers whose period is closed, or whose terms make none, are left out with a word."""
    with open_session(settings, caught_up=False) as session:
        wanted = billable_customers(session.warehouse)
        show(0, len(wanted))
        done = 0
        for batch in in_batches(wanted):
            for made in draft_batch(session, batch, label, session.shelf, left_out=left_out):
                document = made.document
                if document.lines or any(segment.card for segment in document.segments):
                    yield document
            done += len(batch)
            show(done, len(wanted))


def store_drafts(settings: Settings, label: str | None, show: Show, left_out: LeftOut) -> DraftRun:
    """Draws the drafts of `draft_all` and keeps them in ClickHouse for analysts, in place of those
    of the run before."""
    drawn_at_us = SystemClock().now_us()
    with closing(clickhouse(settings)) as store:
        run = f"{drawn_at_us}-{secrets.token_hex(4)}"
        drawn = draft_all(settings, label, show, left_out)
        return drafts_store.store_drafts(store, run, drawn_at_us, drawn)


def draft_batch(
    session: Session,
    customers: Sequence[str],
    label: str | None,
    shelf: RateShelf,
    *,
    anew: bool = False,
    left_out: LeftOut | None = None,
) -> list[Made]:
    """The drafts of one batch of customers. `anew` drafts a period that is closed already, too, and
    corrects nothing.

    Raises SetupError for a customer whose period is closed or cannot be planned, unless somebody is
    to be told who is left out.
    """
    # At the same time, because each takes longer to be planned than to read one customer's rows.
    with ThreadPoolExecutor(1) as beside:
        read = beside.submit(_cuts, session)
        # A further question for lines costs one customer more than lines that no one needs.
        alone = len(customers) == 1
        billings = read_billing(session.warehouse, customers, with_lines=alone)
        firsts = first_times(
            session.warehouse, [name for name, one in billings.items() if one.last_close is None]
        )
        cuts = read.result()
    wanted = []
    for name, billing in billings.items():
        cut = cuts.get(partition_of(name.encode(), session.books.generation.partitions), (1, 0))
        try:
            close = _drawn(billing, firsts.get(name), label, shelf, cut, anew=anew)
        except SetupError as fault:
            if left_out is None:
                raise
            left_out(fault.message)
            continue
        if close is not None:
            wanted.append(Wanted(billing, close))
    return make_documents(session.warehouse, shelf, wanted, corrects=not anew)


def _drawn(
    billing: Billing,
    first_us: int | None,
    label: str | None,
    shelf: RateShelf,
    cut: Place,
    *,
    anew: bool,
) -> Plain | None:
    """What the close of the wanted period would say; None where there is no such period."""
    following = next_period(billing, first_us)
    found = _called(billing, following, label)
    if found is None or following is None:
        return None
    if found.civil.from_us < following.civil.from_us and not anew:
        raise SetupError(
            f"period {label} of customer {billing.customer_id!r} is closed",
            action=f"`tollgate invoice list {billing.customer_id}` shows its invoices.",
        )
    pieces = pinned(billing, found.civil.from_us, found.civil.to_us, shelf)
    # What came late is for the next invoice, not for the one after it.
    after = cut if anew or found != following else None
    return draft_close(billing, found, pieces, cut, after)


def _called(billing: Billing, following: Period | None, label: str | None) -> Period | None:
    """The period of a name, among the closed ones and those to come."""
    if label is None or following is None:
        return following
    for one in billing.closes:
        if one["label"] == label:
            return recorded_period(one)
    period = following
    for _ in range(PERIODS_MAX):
        if period.label >= label:
            break
        period = period_after(billing, period)
    return period if period.label == label else None


def _cuts(session: Session) -> Mapping[int, Place]:
    """How far the rows of each partition go."""
    found: dict[int, Place] = {}
    for mark in read_cut(session.warehouse).marks:
        place = (mark.generation, mark.sequence)
        found[mark.partition] = max(found.get(mark.partition, place), place)
    return found
