"""Carrying over: what is to be said in the new installation, what of it stands there already, and
whether its workers made of it what the old installation had.

The order makes every step safe to repeat: the catalog with rules that grant no plan, then what the
customers have, then, once it is decided and found equal, the rules as they were.
"""

import asyncio
import json
import time
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Event
from typing import Any, Final, Literal, cast

from schemas import codec
from schemas.limits import REASON_CHARS_MAX
from schemas.times import format_time, parse_time_us
from schemas.topics import BUDGETS, DEAD_LETTERS, PAID_CATALOGUE
from streams.adapters.books import open_books, read_bounds
from streams.adapters.catalog import append_catalog, read_catalog_into
from streams.adapters.clock import SystemClock
from streams.adapters.compacted import append_latest, read_latest
from streams.adapters.groups import group_members
from streams.adapters.positions import InboundPositions
from streams.adapters.producer import append_facts
from streams.app.addresses import kafka_bootstrap
from streams.app.administration import Kind, Planned, plan
from streams.app.carry.catalog import CatalogPlan, plan_catalog
from streams.app.carry.reading import Left, Show, read_left, read_rows
from streams.app.carry.resting import Open, judge_billing, open_ends, written_early
from streams.app.generations import recorded_generation
from streams.domain.budget import available
from streams.domain.carrying import (
    Carried,
    account_differences,
    carried_account,
    carried_task,
    event_id,
)
from streams.domain.rate_cards import RateShelf
from streams.errors import SetupError
from streams.invoicing.billing import Billing, Plain, place_of
from streams.settings import Settings

PREFIX_CHARS_MAX: Final = 60
"""Of the old topic prefix: it is part of every id and reason, which hold 128 characters."""

POLL_SECONDS: Final = 1.0
"""Between two looks at how far the new workers are."""

ACCOUNT_KINDS: Final = ("grant", "limit", "ceiling")
"""What is said once, before anybody uses the new installation."""

State = Literal["open", "planned", "written", "differs", "complete"]


@dataclass(slots=True)
class CarryReport:
    """What a run found and did. `state`: something is open and nothing was written; what would be
    written (`--dry-run`); written and not decided yet; decided otherwise; done. `kinds` count facts
    by kind: all, and those that were in the new log before this run."""

    origin: str
    from_partitions: int
    partitions: int
    as_of_us: int
    customers: int
    state: State = "open"
    open: list[Open] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, tuple[int, int]] = field(default_factory=dict)
    catalog: dict[str, int] = field(default_factory=dict)
    numbers_later: int = 0
    compared: int = 0
    moved_on: int = 0
    differences: list[str] = field(default_factory=list)


def carry_over(
    settings: Settings,
    from_prefix: str,
    from_app_id: str,
    show: Show,
    *,
    dry_run: bool = False,
    invoices_later: bool = False,
    wait_seconds: float = 60.0,
) -> CarryReport:
    """Brings an installation to where another one under `from_prefix` on the same brokers stands.

    May be given again at any time, also after it was interrupted. Raises SetupError where the new
    installation was used already or the old one went on, and TransientError.
    """
    if from_prefix == settings.topic_prefix or len(from_prefix) > PREFIX_CHARS_MAX:
        raise SetupError(
            f"{from_prefix!r} is the new installation, or has more than {PREFIX_CHARS_MAX} "
            "characters",
            action="Set TOLLGATE_TOPIC_PREFIX to the new prefix and --from-prefix to the old one.",
        )
    if from_app_id == settings.app_id:
        raise SetupError(
            f"both installations have workers of the group {from_app_id}",
            action="Give the new installation a TOLLGATE_APP_ID of its own.",
        )
    old = settings.model_copy(update={"topic_prefix": from_prefix, "app_id": from_app_id})
    asyncio.run(_check_group(old))
    left, now = read_left(old, show), read_left(settings, lambda _done, _total: None)
    return _Run(settings, left, now, wait_seconds).run(
        dry_run=dry_run, invoices_later=invoices_later
    )


async def _check_group(old: Settings) -> None:
    """Raises SetupError where the old workers are of another group: nobody could say whether they
    run."""
    partitions = (await recorded_generation(old)).partitions
    bootstrap, prefix = kafka_bootstrap(old), old.topic_prefix
    async with InboundPositions(bootstrap, prefix, old.app_id, partitions) as positions:
        if not await positions.committed():
            raise SetupError(
                f"group {old.app_id} has never read the topics under {prefix!r}",
                action="Set --from-app-id to the TOLLGATE_APP_ID of the old workers.",
            )


class _Run:
    def __init__(self, settings: Settings, left: Left, now: Left, wait_seconds: float) -> None:
        self._settings = settings
        self._bootstrap = kafka_bootstrap(settings)
        self._left, self._now = left, now
        self._wait_seconds = wait_seconds
        self._there = self._said()
        self._as_of_us = self._moment()
        self._report = CarryReport(
            left.origin, left.partitions, now.partitions, self._as_of_us, len(left.rows.accounts)
        )

    def run(self, *, dry_run: bool, invoices_later: bool) -> CarryReport:
        report, left = self._report, self._left
        members = asyncio.run(group_members(self._bootstrap, left.settings.app_id))
        billed = judge_billing(left, SystemClock().now_us())
        report.open = open_ends(left, members, billed, invoices_later=invoices_later)
        planned = self._planned(billed.later)
        catalog = plan_catalog(left, self._now)
        if not catalog.ended:
            report.open += written_early(self._now)
        report.catalog = catalog.counts()
        report.numbers_later = len(billed.later)
        self._count(planned)
        missing = [one for one in planned if self._identity(one) not in self._there]
        self._check(planned, missing, catalog)
        if report.open or dry_run:
            report.state = "open" if report.open else "planned"
            return report
        self._append(catalog, missing)
        report.state = "written"
        if self._decided():
            if not catalog.ended:
                self._compare()
            self._compare_numbers(planned)
            report.differences += self._refused()
            report.state = "differs" if report.differences else "complete"
        if report.state == "complete" and catalog.end is not None:
            asyncio.run(self._append_catalog([catalog.end]))
        return report

    # --- what is to be said

    def _said(self) -> dict[tuple[str, str], bytes]:
        """What a run before has said in the new installation, by customer and event id."""
        found: dict[tuple[str, str], bytes] = {}
        begins = event_id(self._left.origin, "")
        mark = begins.encode()
        for value in self._values(BUDGETS.name):
            if mark in value:
                record = json.loads(value)
                if str(record.get("event_id", "")).startswith(begins):
                    found[str(record["customer_id"]), str(record["event_id"])] = value
        return found

    def _values(self, topic: str) -> Iterator[bytes]:
        """All values of a topic of the new installation."""
        prefix = self._settings.topic_prefix
        bounds = read_bounds(self._bootstrap, prefix, self._now.partitions)
        for partition in range(self._now.partitions):
            with open_books(self._bootstrap, prefix, partition, bounds) as books:
                for batch in books[topic].batches(0):
                    yield from (record.value for record in batch if record.value is not None)

    def _moment(self) -> int:
        """As of when the old rows are read: a run before has fixed it, since the old workers may
        have been started again to close periods."""
        for value in self._there.values():
            if occurred := json.loads(value).get("occurred_at"):
                return parse_time_us(occurred)
        return self._left.rows.domain_time_us

    def _planned(self, later: set[str]) -> list[Planned]:
        rows, origin, as_of_us = self._left.rows, self._left.origin, self._as_of_us
        said: list[Carried] = []
        for _, account in sorted(rows.accounts.items()):
            said += carried_account(account, origin, as_of_us)
        for _, task in sorted(rows.tasks.items()):
            said += carried_task(task, origin, as_of_us)
        for customer in sorted({*self._left.billings, *rows.billing}):
            said += self._billing_facts(customer, billed=customer not in later)
        partitions = self._now.partitions
        return [
            plan(cast(Kind, one.kind), one.customer_id, one.fields, one.event_id, partitions)
            for one in said
        ]

    def _billing_facts(self, customer: str, *, billed: bool) -> list[Carried]:
        """Terms in their order and, once nothing is to be closed in the old installation, credits
        that no invoice has, and where documents go on."""
        billing = self._left.billings.get(customer) or Billing(customer)
        row = self._left.rows.billing.get(customer)
        said = [self._told("terms", customer, one, _terms(one)) for one in billing.terms]
        if not billed:
            return said
        cut = (0, 0) if row is None else (row.cut_generation, row.cut_sequence)
        said += [
            self._told("credit", customer, one, _credit(one))
            for one in billing.credits
            if place_of(one) > cut
        ]
        if row is not None and row.closed_to_us:
            last = _terms(billing.terms[-1]) if billing.terms else {"plan": "default"}
            opening = last | {"next_number": row.next_number, "billed_to": row.closed_to_us}
            entry = {"entry_id": "invoices"}
            said.append(self._told("terms", customer, entry, opening))
        return said

    def _told(self, kind: str, customer: str, entry: Plain, fields: dict[str, Any]) -> Carried:
        name = event_id(self._left.origin, str(entry["entry_id"]))
        at = {"occurred_at": format_time(self._as_of_us)}
        return Carried(kind, customer, name, at | fields)

    def _identity(self, one: Planned) -> tuple[str, str]:
        return one.told.customer_id, one.told.event_id

    def _count(self, planned: list[Planned]) -> None:
        for one in planned:
            kind = str(json.loads(one.value)["kind"])
            if "next_number" in json.loads(one.value):
                kind = "invoice number"
            every, there = self._report.kinds.get(kind, (0, 0))
            there += self._identity(one) in self._there
            self._report.kinds[kind] = (every + 1, there)
        for account in self._left.rows.accounts.values():
            for denomination in account.budgeted:
                amount = available(account, denomination, self._as_of_us)
                self._report.left[denomination] = self._report.left.get(denomination, 0) + amount

    def _check(self, planned: list[Planned], missing: list[Planned], catalog: CatalogPlan) -> None:
        """Raises SetupError where what was said before is not what would be said now, and where
        customers would be carried over into an installation that is in use."""
        values = {self._identity(one): one.value for one in planned}
        changed = {name for (name, event), value in self._there.items()
                   if values.get((name, event)) != value}  # fmt: skip
        if changed:
            raise SetupError(
                f"{sorted(changed)[0]!r} has something else in the old installation than what was "
                f"carried over, as have {len(changed) - 1} others: the old one went on",
                action="Find out who used it. What it took since is to be granted less, or made "
                "good, in the new installation by hand.",
            )
        if not any(_kind(one) in ACCOUNT_KINDS for one in missing):
            return
        why = ""
        if catalog.ended:
            why = "the carry-over into it is complete, and the old one has customers that are new"
        elif not self._there and self._now.rows.accounts:
            why = "it has customers already"
        elif asyncio.run(group_members(self._bootstrap, self._settings.app_id)):
            why = "its workers run, and might grant the default plan to who has spent it"
        if why:
            raise SetupError(
                f"nothing can be carried into the installation {self._settings.topic_prefix!r}: "
                f"{why}",
                action="Stop its workers, or make it anew; nothing was written.",
            )

    # --- saying it

    def _append(self, catalog: CatalogPlan, missing: list[Planned]) -> None:
        prefix, origin = self._settings.topic_prefix, self._left.origin
        asyncio.run(self._append_catalog(catalog.records))
        old = read_latest(self._bootstrap, origin, PAID_CATALOGUE, self._left.partitions)
        new = read_latest(self._bootstrap, prefix, PAID_CATALOGUE, self._now.partitions)
        lacking = {key: value for key, value in old.items() if key not in new}
        if lacking and not catalog.ended:
            asyncio.run(append_latest(self._bootstrap, prefix, PAID_CATALOGUE, lacking))
            self._report.catalog["items of Paid's catalogue"] = len(lacking)
        records = [(one.told.partition, one.key, one.value) for one in missing]
        if records:
            asyncio.run(append_facts(self._bootstrap, prefix, BUDGETS.name, records))

    async def _append_catalog(self, records: list[Any]) -> None:
        if records:
            prefix = self._settings.topic_prefix
            view = await read_catalog_into(RateShelf(), self._bootstrap, prefix)
            await append_catalog(self._bootstrap, prefix, view, records)

    # --- what became of it

    def _decided(self) -> bool:
        """Whether the new workers have decided all of `budgets`; waits for those that run."""
        if not asyncio.run(group_members(self._bootstrap, self._settings.app_id)):
            return not self._behind()
        deadline, pause = time.monotonic() + self._wait_seconds, Event()
        while self._behind():
            if time.monotonic() > deadline:
                return False
            pause.wait(POLL_SECONDS)
        return True

    def _behind(self) -> bool:
        prefix, partitions = self._settings.topic_prefix, self._now.partitions
        rows = self._now.rows = read_rows(self._settings, partitions)
        bounds = read_bounds(self._bootstrap, prefix, partitions)
        for partition in range(partitions):
            progress = rows.progress.get(partition)
            consumed = 0 if progress is None else progress.consumed.get(BUDGETS.name, 0)
            with open_books(self._bootstrap, prefix, partition, bounds) as books:
                if any(batch for batch in books[BUDGETS.name].batches(consumed)):
                    return True
        return False

    def _compare(self) -> None:
        """Every customer as the new workers have it, beside the old rows."""
        report, before, now = self._report, self._left.rows, self._now.rows
        at_us = max(self._as_of_us, now.domain_time_us)
        for customer, account in sorted(before.accounts.items()):
            found = now.accounts.get(customer)
            if found is not None and (found.events or found.signals or found.holds):
                report.moved_on += 1
                continue
            report.compared += 1
            lines = account_differences(account, found, at_us)
            report.differences += [f"{customer}: {line}" for line in lines]

    def _compare_numbers(self, planned: list[Planned]) -> None:
        for one in planned:
            record = json.loads(one.value)
            if "next_number" in record:
                customer = one.told.customer_id
                row = self._now.rows.billing.get(customer)
                if row is None or row.next_number < record["next_number"]:
                    self._report.differences.append(f"{customer}: its invoices begin anew")

    def _refused(self) -> list[str]:
        """What no worker took, by its dead letters."""
        mark, found = event_id(self._left.origin, "").encode(), []
        for value in self._values(DEAD_LETTERS.name):
            letter = codec.decode_dead_letter(value)
            if letter.topic == BUDGETS.name and mark in b64decode(letter.record_value or ""):
                found.append(f"{letter.entry_id}: {letter.code}: {letter.reason}")
        return found


def _kind(one: Planned) -> str:
    return str(json.loads(one.value)["kind"])


def _terms(one: Plain) -> dict[str, Any]:
    return {
        "plan": one["plan"] or None,
        "card": one["card"] or None,
        "zone": one["zone"],
        "anchor_day": int(one["anchor_day"]),
        "effective_from": int(one["terms_from"]) or None,
    }


def _credit(one: Plain) -> dict[str, Any]:
    reason = str(one["reason"])
    if one["number"]:
        # The new installation does not know that document, so only a person is told.
        reason = f"{one['number']}: {reason}"[:REASON_CHARS_MAX]
    return {"amount": one["amount"], "currency": one["currency"], "reason": reason}
