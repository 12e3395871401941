"""A partition with its worker on ports in memory, and the naive model beside it, record by record.

Whoever drives it (`tests.property.machine`) says what is sent, what operators do and where cycles
are cut; after each cycle everything that can be seen of the real one is compared with the model.
Accounts, claims and progress go through their bytes at every cycle.
"""

import json
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final, TypeVar

from schemas import codec
from schemas.budget import Denomination
from schemas.partitioner import partition_of
from schemas.structs import (
    CycleEntry,
    GrantEntry,
    LedgerEntry,
    ResolutionEntry,
    SignalEntry,
    UsageEntry,
)
from schemas.topics import ACCOUNTS_CHANGELOG, CLAIMS_CHANGELOG, DEAD_LETTERS, LEDGER
from streams.adapters.memory import (
    MemoryBroker,
    MemoryCatalog,
    MemoryClock,
    MemoryCycleLog,
    MemoryStore,
)
from streams.adapters.store import expand_segments
from streams.agents.cycle import PartitionCycle, TopicSlice, read_progress
from streams.agents.positions import start_positions
from streams.domain.appends import decode_account
from streams.domain.budget import Account, available
from streams.domain.context import CatalogView
from streams.domain.facts import SourceRecord
from streams.domain.folding import FOLD_ORDER
from streams.domain.replay import fold_entries
from streams.ports import PROGRESS_KEY, Changes, Table
from tests.builders import DAY_US, HOUR_US, NOON_US, book, catalog_record, record
from tests.builders import of_kind as entries_of
from tests.property.logs import (
    BUDGETS,
    PLAN,
    Event,
    prices,
    record_of,
)
from tests.property.model import Granted, Letter, Limits, Model, Spent, identity_of, price
from tests.property.test_model import bill_of

T = TypeVar("T")

PARTITIONS: Final = 2
NAMES: Final = [f"customer-{number}" for number in range(12)]
CUSTOMERS: Final = [n for n in NAMES if partition_of(n.encode(), PARTITIONS) == 0][:2]
STRAY: Final = next(n for n in NAMES if partition_of(n.encode(), PARTITIONS) == 1)
RENEWED: Final = (("unit", "7", 2, "day"), ("usd", "0.00003", 1, "week"), ("token", "9", 1))
RULES: Final = (
    Limits(),
    Limits(5 * DAY_US, DAY_US, HOUR_US, 4, RENEWED),
    Limits(2 * DAY_US, DAY_US, HOUR_US, 2, PLAN),
)
DENOMINATIONS: Final = (("unit", 1), ("token", 1), ("usd", 10**12))
LATER: Final = (0, 1, DAY_US, 31 * DAY_US)
"""Balances are compared at these times after the cycle, as somebody would who only reads."""

SEEN: Final[Counter[str]] = Counter()
"""How often each kind of step and of outcome occurred, over all machines of this process."""


def dearer(model: str | None, token_class: str, all_input: int, at_us: int) -> Fraction | None:
    """The second price book, by hand: model `small` costs twice."""
    found = price(model, token_class, all_input, at_us)
    return 2 * found if found is not None and model == "small" else found


def price_book(version: int, double: bool) -> Any:
    """A price book under a version of its own."""
    found = json.loads(codec.encode(prices()))
    if double:
        small = json.loads(
            codec.encode(book(small={"input": "6", "output": "30", "cache_read": "0.6"}))
        )
        models = found["providers"][0]["models"]
        changed = small["providers"][0]["models"][0]
        found["providers"][0]["models"] = [changed if m["id"] == "small" else m for m in models]
    return codec.decode_catalog(codec.encode(found | {"version": f"book-{version}"}))


def rules_record(version: int, limits: Limits) -> Any:
    """Rules under a version of their own."""
    names = ("denomination", "amount", "priority", "resets")
    return catalog_record(
        "rules",
        version=f"rules-{version}",
        default_plan=[dict(zip(names, one, strict=False)) for one in limits.plan],
        horizon_days=limits.horizon_us // DAY_US,
        lateness_days=limits.lateness_us // DAY_US,
        future_seconds=limits.future_us // 10**6,
        grants_max=limits.grants_max,
    )


def recover(broker: MemoryBroker, store: MemoryStore) -> None:
    """What a recovery does with an empty store: all of both changelogs."""
    for table, changelog in (
        (Table.ACCOUNTS, ACCOUNTS_CHANGELOG.name),
        (Table.CLAIMS, CLAIMS_CHANGELOG.name),
    ):
        log = broker.topics[changelog, 0]
        rows: list[tuple[bytes, bytes | None]] = [(key or b"", value) for key, value in log]
        rows = expand_segments(rows) if table is Table.CLAIMS else rows
        store.write(table, 0, Changes(rows, len(log) - 1))


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine that never waits returns."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("a port in memory waited")


@dataclass(frozen=True)
class Sent:
    """A record of an inbound topic, and what the model is told about it."""

    record: SourceRecord
    event: Event | None = None
    replayed: Letter | None = None
    discarded: Letter | None = None


@dataclass
class Inbound:
    """A topic: what nobody has taken yet, the next offset, and where the partition stands."""

    waiting: list[Sent] = field(default_factory=list)
    end: int = 0
    position: int = 0
    life: int = 1
    """Counts how often the topic was made."""


class SideBySide:
    """One partition of an installation, its topics, its worker, and the model."""

    first: bool
    """Whether the next cycle is the first one of its worker."""

    def start(self, rules: int, double: bool) -> None:
        """An empty installation."""
        self.broker, self.store = MemoryBroker(), MemoryStore()
        self.now_us, self.time_us = NOON_US, 0
        self.topics = {topic: Inbound() for topic in FOLD_ORDER}
        self.sent: list[Event] = []
        self.letters: list[Letter] = []
        self.refused_ids: set[tuple[str, str, str, str]] = set()
        self.grants: dict[str, GrantEntry] = {}
        self.view = CatalogView()
        self.model = Model()
        self.signals = self.read = self.letters_read = 0
        self.generation = 0
        self._new_generation()
        self._append_rules(rules)
        self._append_prices(double)
        self._restart()

    def run_cycle(self, takes: dict[str, int], gap: int) -> None:
        """A cycle over the first so many records that wait, and the comparison."""
        slices, taken = [], list[Sent]()
        for name in FOLD_ORDER:
            topic = self.topics[name]
            found, topic.waiting = topic.waiting[: takes[name]], topic.waiting[takes[name] :]
            if not found and not self.first:
                continue
            records = [one.record for one in found]
            end = records[-1].offset + 1 if records else topic.position
            if not topic.waiting and records:
                topic.end = end = end + gap  # a marker behind the records
            slices.append(TopicSlice(name, topic.position, end, records))
            topic.position = end
            taken += found
        if not slices:
            return
        self.first = False
        self.time_us = max([self.time_us, *(one.record.appended_at_us for one in taken)])
        self.model.generation = self.generation
        at_once(self.cycle.run(slices))
        accepted = sum(self._tell_the_model(one) for one in taken)
        self._compare(accepted)
        SEEN["cut"] += 1

    def check_ledger(self) -> None:
        """What the ledger folds back into is what the tables hold."""
        ledger = [codec.decode_entry(value) for _, value in self.broker.topics[LEDGER.name, 0]]
        if not ledger:
            return
        ids = [entry.entry_id for entry in ledger]
        assert len(set(ids)) == len(ids), "an entry is in the ledger twice"
        again = fold_entries(ledger)
        assert again.progress == read_progress(self.store, 0)
        assert again.accounts == {name: self._account(name) for name in again.accounts}
        generations = {entry.generation for entry in ledger}
        for one in generations:
            sequences = [entry.sequence for entry in ledger if entry.generation == one]
            assert sequences == list(range(len(sequences)))

    # --- how -----------------------------------------------------------------------------------

    def lose_store(self) -> None:
        """The disk is gone: the tables come back from the changelogs."""
        self.store = MemoryStore()
        recover(self.broker, self.store)

    def _pick(self, among: list[T], number: int) -> T:
        """Mostly one of the latest."""
        return among[-1 - number % len(among)]

    def _event(
        self, topic: str, fields: Any, customer: str, name: str, when: int | None, flaw: str
    ) -> Event:
        occurred_us = None if when is None else self.now_us + when
        place = (topic, customer, "crm", name)
        return Event(*place, self.now_us, occurred_us, tuple(fields.items()), flaw)

    def _send_new(
        self, topic: str, fields: Any, customer: str, name: str, when: int | None, flaw: str
    ) -> None:
        customer = STRAY if flaw == "wrong_partition" else customer
        self._send(self._event(topic, fields, customer, name, when, flaw))

    def _send(self, event: Event) -> None:
        self.sent.append(event)
        self._append(event.topic, Sent(record_of(event, self.topics[event.topic].end), event))

    def _append(self, topic: str, sent: Sent) -> None:
        self.topics[topic].waiting.append(sent)
        self.topics[topic].end += 1

    def _record(self, body: Any) -> SourceRecord:
        return record(body, self.topics[BUDGETS].end, self.now_us)

    def _append_rules(self, number: int) -> None:
        self.view.fold(self.view.next_offset, rules_record(self.view.next_offset, RULES[number]))
        self.model.limits = RULES[number]

    def _append_prices(self, double: bool) -> None:
        self.view.fold(self.view.next_offset, price_book(self.view.next_offset, double))
        self.model.rate = dearer if double else price

    def _new_generation(self) -> None:
        self.generation += 1
        ids = {name: f"{name}-{topic.life}" for name, topic in self.topics.items()}
        fields = {"generation": self.generation, "partitions": PARTITIONS, "topic_ids": ids}
        made = catalog_record("generation", version=f"generation-{self.generation}", **fields)
        self.view.fold(self.view.next_offset, made)

    def _recreate(self, anew: set[str]) -> None:
        """Some topics are made anew, with a new generation, and the worker starts again; what lay
        in them unread is gone."""
        for topic in anew:
            self.topics[topic] = Inbound(life=self.topics[topic].life + 1)
        self._new_generation()
        self._restart()
        SEEN["topic kept"] += len(anew) < len(FOLD_ORDER)

    def _restart(self) -> None:
        """What a worker does at its start: fence, find its place, name it in its first cycle."""
        self.catalog = MemoryCatalog(self.view.context())
        log = MemoryCycleLog(self.broker)
        at_once(log.fence([0]))
        progress = read_progress(self.store, 0)
        committed = {topic: self.broker.offsets.get((topic, 0)) for topic in FOLD_ORDER}
        positions = start_positions(0, progress, committed, self.view)
        assert positions == {name: topic.position for name, topic in self.topics.items()}
        clock = MemoryClock(self.now_us + 10_000 * DAY_US)
        self.cycle = PartitionCycle(0, self.store, log, clock, self.catalog)
        self.first = True

    def _account(self, customer: str) -> Account:
        (row,) = self.store.read(Table.ACCOUNTS, 0, [customer.encode()])
        assert row is not None, f"no account of {customer}"
        return decode_account(row)

    def _tell_the_model(self, sent: Sent) -> bool:
        """The same record for the model; True where it was accepted."""
        model, offset, appended_us = self.model, sent.record.offset, sent.record.appended_at_us
        if sent.replayed is not None:
            outcome = model.replay(sent.replayed, offset, appended_us, self.time_us)
            SEEN[f"replay {outcome}"] += 1
        elif sent.discarded is not None:
            outcome = model.discard(sent.discarded, appended_us)
            SEEN[f"discard {outcome}"] += 1
        else:
            event = sent.event
            assert event is not None
            identity = identity_of(event)
            before = any(one.identity == identity for one in model.past)
            outcome = model.take(event, offset, self.time_us)
            SEEN[f"{event.topic} {outcome}"] += 1
            SEEN["counted again beyond the horizon"] += outcome == "counted" and before
            SEEN["repeat within the horizon"] += outcome == "duplicate"
            SEEN["corrected"] += outcome == "counted" and identity in self.refused_ids
            if outcome not in ("counted", "duplicate"):
                self.refused_ids.add(identity)
                if event.flaw != "wrong_partition":
                    self.letters.append(Letter(event, offset, self.generation))
        return outcome in ("counted", "known")

    # --- the comparison ------------------------------------------------------------------------

    def _compare(self, accepted: int) -> None:
        model, ledger = self.model, self.broker.topics[LEDGER.name, 0]
        entries = [codec.decode_entry(value) for _, value in ledger[self.read :]]
        self.read = len(ledger)
        self._compare_entries(entries, accepted)
        dead = self.broker.topics[DEAD_LETTERS.name, 0]
        letters = [codec.decode_dead_letter(value) for _, value in dead[self.letters_read :]]
        self.letters_read = len(dead)
        found = [(one.topic, one.source_offset, one.code.value) for one in letters]
        assert found == model.refused
        segments = self.broker.topics[CLAIMS_CHANGELOG.name, 0]
        last_segment = segments[-1][0] if segments else b""
        assert read_progress(self.store, 0).claims_segment.encode() == last_segment
        changed = {key for key, _ in self.broker.topics[ACCOUNTS_CHANGELOG.name, 0]}
        assert changed - {PROGRESS_KEY} == {customer.encode() for customer in model.grants}
        accounts = {customer: self._account(customer) for customer in model.grants}
        for customer, account in accounts.items():
            self._compare_account(customer, account)
        self.signals += model.signals
        assert sum(account.signals for account in accounts.values()) == self.signals
        for told in (model.bills, model.refused, model.resolved):
            told.clear()
        model.duplicates = model.signals = 0

    def _compare_entries(self, entries: list[LedgerEntry], accepted: int) -> None:
        model, own = self.model, entries[0]
        assert isinstance(own, CycleEntry)
        assert (own.generation, own.decided_at) == (self.generation, self.time_us)
        assert (own.accepted, own.duplicates) == (accepted, model.duplicates)
        assert own.conflicts == sum(code == "conflict" for _, _, code in model.refused)
        self.grants |= {one.entry_id: one for one in entries_of(GrantEntry, entries)}
        bills = [bill_of(one, self.grants) for one in entries_of(UsageEntry, entries)]
        assert bills == model.bills
        assert len(entries_of(SignalEntry, entries)) == model.signals
        resolutions = entries_of(ResolutionEntry, entries)
        assert [one.resolution for one in resolutions] == [what for _, what in model.resolved]
        SEEN["priced"] += any(bill.basis == "priced" for bill in bills)
        SEEN["burnt"] += any(bill.burnt for bill in bills)

    def _times(self, grants: list[Granted]) -> list[int]:
        """When balances are compared: now, later, and where a grant begins or ends."""
        ends = [at for one in grants for at in (one.begins_us, one.ends_us) if at is not None]
        return [*(self.time_us + step for step in LATER), *(at for at in ends if at > self.time_us)]

    def _compare_account(self, customer: str, account: Account) -> None:
        spent = self.model.spent.get(customer, Spent())
        assert (account.used_units, account.used_tokens) == (spent.units, spent.tokens)
        money = {"USD": account.used_pico_usd, **account.used_other}
        assert {k: Fraction(v, 10**12) for k, v in money.items() if v} == {
            k: v for k, v in spent.money.items() if v
        }
        assert account.events == spent.events
        given = [one for one in self.model.past if one.identity[:2] == (BUDGETS, customer)]
        assert account.granted == len(given)
        grants = self.model.grants[customer]
        for later_us in self._times(grants):
            for denomination, scale in DENOMINATIONS:
                held = available(account, Denomination(denomination), later_us)
                due = sum(
                    one.left(later_us)
                    for one in grants
                    if one.denomination == denomination and one.is_open(later_us)
                )
                assert Fraction(held, scale) == due, (customer, denomination, later_us)
        whole_again = [
            one
            for one in grants
            if one.resets and one.taken and one.left(self.time_us) == one.amount
        ]
        SEEN["reset"] += bool(whole_again)
