"""Carrying over, in order: what the old installation leaves (`reading`, `resting`), what is to be
said of it in the new one (`catalog`, `saying`), and what the new workers made of that
(`comparing`). Here it is decided whether that may be written, and it is written.

The order makes every step safe to repeat: the catalog with rules that grant no plan, then what the
customers have, then, once it is decided and found equal, the rules as they were.
"""

import asyncio
import time
from dataclasses import dataclass, field
from threading import Event
from typing import Any, Final, Literal

from schemas.topics import BUDGETS, PAID_CATALOGUE
from streams.adapters.books import open_books, read_bounds
from streams.adapters.catalog import append_catalog, read_catalog_into
from streams.adapters.clock import SystemClock
from streams.adapters.compacted import append_latest, read_latest
from streams.adapters.groups import group_members
from streams.adapters.positions import InboundPositions
from streams.adapters.producer import append_facts
from streams.app.addresses import kafka_bootstrap
from streams.app.carry.catalog import CatalogPlan, plan_catalog
from streams.app.carry.comparing import compare_accounts, numbers_that_begin_anew, read_refused
from streams.app.carry.reading import Left, Show, read_left, read_rows
from streams.app.carry.resting import Open, judge_billing, open_ends, written_early
from streams.app.carry.saying import ToSay, read_standing, to_say
from streams.app.generations import recorded_generation
from streams.domain.budget import available
from streams.domain.rate_cards import RateShelf
from streams.errors import RightsError, SetupError
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
    installation was used already or the old one went on, or where this user of Kafka lacks a right,
    and TransientError.
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
    try:
        asyncio.run(_check_group(old))
        left, now = read_left(old, show), read_left(settings, lambda _done, _total: None)
        return _Run(settings, left, now, wait_seconds).run(
            dry_run=dry_run, invoices_later=invoices_later
        )
    except RightsError as error:
        raise SetupError(
            error.message,
            action="Check both prefixes. An operator gets the rights for this by `tollgate topics "
            f"acls --role operator --user USER --from-prefix {from_prefix} --from-app-id "
            f"{from_app_id} --apply`, given with the settings of the new installation as a super "
            "user of Kafka; then give the command again.",
        ) from error


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
        self._standing = read_standing(now, left.origin)
        # As of when the old rows are read, a run before has fixed: the old workers may have been
        # started again to close periods.
        fixed = self._standing.as_of_us
        self._as_of_us = left.rows.domain_time_us if fixed is None else fixed
        self._report = CarryReport(
            left.origin, left.partitions, now.partitions, self._as_of_us, len(left.rows.accounts)
        )

    def run(self, *, dry_run: bool, invoices_later: bool) -> CarryReport:
        report, left, now = self._report, self._left, self._now
        members = asyncio.run(group_members(self._bootstrap, left.settings.app_id))
        billed = judge_billing(left, SystemClock().now_us())
        report.open = open_ends(left, members, billed, invoices_later=invoices_later)
        said = to_say(left, billed.later, self._as_of_us, now.partitions)
        catalog = plan_catalog(left, now)
        if not catalog.ended:
            report.open += written_early(now)
        report.catalog = catalog.counts()
        report.numbers_later = len(billed.later)
        self._count(said)
        missing = [one for one in said if one.identity not in self._standing.values]
        self._check(said, missing, catalog)
        if report.open or dry_run:
            report.state = "open" if report.open else "planned"
            return report
        self._append(catalog, missing)
        report.state = "written"
        if self._decided():
            self._conclude(said, catalog)
        return report

    def _count(self, said: list[ToSay]) -> None:
        for one in said:
            every, there = self._report.kinds.get(one.label, (0, 0))
            there += one.identity in self._standing.values
            self._report.kinds[one.label] = (every + 1, there)
        for account in self._left.rows.accounts.values():
            for denomination in account.budgeted:
                amount = available(account, denomination, self._as_of_us)
                self._report.left[denomination] = self._report.left.get(denomination, 0) + amount

    def _check(self, said: list[ToSay], missing: list[ToSay], catalog: CatalogPlan) -> None:
        """Raises SetupError where what was said before is not what would be said now, and where
        customers would be carried over into an installation that is in use."""
        values = {one.identity: one.record.value for one in said}
        changed = {name for (name, event), value in self._standing.values.items()
                   if values.get((name, event)) != value}  # fmt: skip
        if changed:
            raise SetupError(
                f"{sorted(changed)[0]!r} has something else in the old installation than what was "
                f"carried over, as have {len(changed) - 1} others: the old one went on",
                action="Find out who used it. What it took since is to be granted less, or made "
                "good, in the new installation by hand.",
            )
        if not any(one.carried.kind in ACCOUNT_KINDS for one in missing):
            return
        why = ""
        if catalog.ended:
            why = "the carry-over into it is complete, and the old one has customers that are new"
        elif not self._standing.values and self._now.rows.accounts:
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

    def _append(self, catalog: CatalogPlan, missing: list[ToSay]) -> None:
        prefix, origin = self._settings.topic_prefix, self._left.origin
        asyncio.run(self._append_catalog(catalog.records))
        old = read_latest(self._bootstrap, origin, PAID_CATALOGUE, self._left.partitions)
        new = read_latest(self._bootstrap, prefix, PAID_CATALOGUE, self._now.partitions)
        lacking = {key: value for key, value in old.items() if key not in new}
        if lacking and not catalog.ended:
            asyncio.run(append_latest(self._bootstrap, prefix, PAID_CATALOGUE, lacking))
            self._report.catalog["items of Paid's catalogue"] = len(lacking)
        records = [(one.told.partition, one.key, one.value) for one in (m.record for m in missing)]
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

    def _conclude(self, said: list[ToSay], catalog: CatalogPlan) -> None:
        """Compares; where nothing differs, the rules are again as they were."""
        report, now = self._report, self._now
        if not catalog.ended:
            found = compare_accounts(self._left.rows, now.rows, self._as_of_us)
            report.compared, report.moved_on = found.customers, found.moved_on
            report.differences += found.differences
        report.differences += numbers_that_begin_anew(said, now.rows)
        report.differences += read_refused(now, self._left.origin)
        report.state = "differs" if report.differences else "complete"
        if not report.differences and catalog.end is not None:
            asyncio.run(self._append_catalog([catalog.end]))
