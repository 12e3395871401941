"""Whether an installation is at rest, so that what customers have left in it does not change any
more and nothing of it stays without an invoice."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from schemas.times import format_time
from schemas.topics import BUDGETS
from streams.app.carry.reading import Left, Unbilled
from streams.app.invoices.plans import PlanError, charges, next_period, period_after, pinned
from streams.domain.billing import to_reissue
from streams.invoicing.billing import Billing

NAMED_MAX: Final = 5
"""Examples of each thing that is open; the count says how many there are."""


@dataclass(frozen=True, slots=True)
class Open:
    """Something that is not at rest: how much of it, some of it by name, and what to do."""

    what: str
    count: int
    named: tuple[str, ...]
    action: str


@dataclass(slots=True)
class Billed:
    """How far customers are billed. `later` are those of whom a period is over and not closed: the
    numbers of their documents are not known yet."""

    due: list[str] = field(default_factory=list)
    unissued: list[str] = field(default_factory=list)
    unplanned: list[str] = field(default_factory=list)
    unbilled: list[str] = field(default_factory=list)
    later: set[str] = field(default_factory=set)


def judge_billing(left: Left, now_us: int) -> Billed:
    """How far everybody is billed whom anybody bills."""
    found = Billed()
    for customer in sorted({*left.billings, *left.unbilled, *left.rows.billing}):
        billing = left.billings.get(customer) or Billing(customer)
        row = left.rows.billing.get(customer)
        if billing.unissued or (row is not None and to_reissue(row)):
            found.unissued.append(customer)
        try:
            _judge(left, billing, left.unbilled.get(customer, Unbilled()), now_us, found)
        except PlanError as fault:
            found.unplanned.append(f"{customer}: {fault.message}")
    return found


def _judge(left: Left, billing: Billing, unbilled: Unbilled, now_us: int, found: Billed) -> None:
    customer = billing.customer_id
    period = next_period(billing, unbilled.first_us if unbilled.entries else None)
    if period is None or period.civil.from_us > now_us:
        return
    if not billing.billed_to and not charges(
        pinned(billing, period.civil.from_us, now_us + 1, left.shelf)
    ):
        return
    label = period.label
    while period.civil.to_us <= now_us:
        if customer not in found.later:
            found.later.add(customer)
            found.due.append(f"{customer} {label}")
        period = period_after(billing, period)
    # Of a period that goes on there must be nothing; of those that are over their invoice tells.
    going_on = unbilled.entries and unbilled.last_us >= period.civil.from_us
    if going_on or (unbilled.entries and customer not in found.later):
        found.unbilled.append(
            f"{customer}: {unbilled.entries} entries, the last of "
            f"{format_time(unbilled.last_us)}, {period.label} goes on"
        )


def written_early(now: Left) -> list[Open]:
    """What is in the new installation before customers are: a cycle takes a part of each topic, so
    usage might be decided before what its customer has left."""
    early = [
        f"{topic}/{number}: {count}"
        for (topic, number), count in sorted(now.lag.items())
        if topic != BUDGETS.name
    ]
    action = "let producers and gateways wait until the carry-over is complete; make it anew"
    what = "partitions of the new installation with records of producers"
    return [Open(what, len(early), tuple(early[:NAMED_MAX]), action)] if early else []


def open_ends(left: Left, members: int, billed: Billed, *, invoices_later: bool) -> list[Open]:
    """Everything that is not at rest, in the order in which to see to it. `members` is how many
    workers it has; periods may be closed afterwards with `invoices_later`."""
    rows, found = left.rows, []

    def note(what: str, named: Iterable[str], action: str) -> None:
        names = list(named)
        if names:
            found.append(Open(what, len(names), tuple(names[:NAMED_MAX]), action))

    note(
        "partitions with records that are not decided",
        (f"{topic}/{number}: {count}" for (topic, number), count in sorted(left.lag.items())),
        "stop what writes to them, and let the old workers go on until nothing is left",
    )
    note(
        "accounts with open holds",
        [
            *(one.customer_id for one in rows.accounts.values() if one.holds),
            *(f"task {one.task_ref}" for one in rows.tasks.values() if one.holds),
        ],
        "stop the old gateways, then wait until they are settled or have expired",
    )
    note(
        "customers with open trace windows",
        (one.customer_id for one in rows.accounts.values() if one.windows),
        "wait until they close: some minutes after their last event",
    )
    note(
        "partitions in which events wait for a customer",
        (f"{number}: {one.waiting}" for number, one in rows.progress.items() if one.waiting),
        "tell whose traces they are, or wait until they are dead letters",
    )
    note("customers without a next period", billed.unplanned, "correct their terms")
    note(
        "customers with documents that are not issued",
        billed.unissued,
        "`tollgate invoice close --all` in the old installation finishes them",
    )
    if not invoices_later:
        note(
            "customers with periods that are over and not closed",
            billed.due,
            "`tollgate invoice close --all` in the old installation, once the grace is over; or "
            "carry over with --invoices-later, close them then, and repeat",
        )
    note(
        "customers with usage that is on no invoice",
        billed.unbilled,
        "take over at the end of a period: what is used after it goes to the new installation",
    )
    if members:
        note(
            "workers of the old installation",
            [f"{members} are members of group {left.settings.app_id}"],
            "stop them, last of all",
        )
    return found
