"""What a run of preflights has left in the log: was more approved than there was, does a hold stand
that nobody closes, was anybody told what does not count?

Reads the ledger and adds up anew, with nothing of what decided. Judges overspend at each approval,
in the order of the ledger: what was used and what is held, this hold included, may not exceed what
was granted by then. The loads of these benchmarks use no more than they held, so any excess is the
owner's. A task is judged by its ceiling in the same way.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from schemas import codec
from schemas.money import PICO, parse_signed_amount
from schemas.structs import (
    CeilingEntry,
    ClosingEntry,
    CycleEntry,
    DecisionEntry,
    ExtensionEntry,
    GrantEntry,
    SettlementEntry,
    UsageEntry,
)

UNIT: Final = "unit"
"""The denomination in which these benchmarks ask."""

TASK: Final = "task "
"""Begins the name of a task's account here, so that a customer may have the name of a task."""

FAULTS_KEPT: Final = 5
"""The first ones show what kind of fault it is."""


@dataclass(frozen=True, slots=True)
class Told:
    """What an agent was answered: whether it may spend, and under which hold."""

    approved: bool
    reservation_id: str

    def is_what(self, told: "Told") -> bool:
        """Whether an agent that was told so was told this. A refusal holds nothing, so that agents
        are told no reservation with it."""
        if not told.approved:
            return not self.approved
        return self == told


@dataclass(slots=True)
class _Account:
    granted: int = 0
    used: int = 0
    held: int = 0
    overspent: int = 0
    open: dict[str, int] = field(default_factory=dict)
    """Amounts of the holds that nothing has closed yet."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong with a run, all of it 0 for a right one; `approved` and `refused` say how much
    there was."""

    approved: int
    refused: int
    overspent_units: int
    """The most by which an account exceeded its grants at an approval, summed over accounts."""
    leaked_holds: int
    """Holds that are still open although all were settled or have expired."""
    void_answers: int
    """Answers that the ledger does not know, or knows otherwise."""
    doubled: int
    """Keys that were decided more than once, and holds that were closed more than once."""
    faults: tuple[str, ...] = ()

    @property
    def is_right(self) -> bool:
        """Whether nothing is wrong."""
        wrong = self.overspent_units, self.leaked_holds, self.void_answers, self.doubled
        return not any(wrong) and not self.faults


class DecisionBooks:
    """A ledger, added up record by record."""

    def __init__(self) -> None:
        """Nothing was read yet."""
        self.decisions: dict[tuple[str, str], Told] = {}
        """By customer (or TASK and the ref) and idempotency key, as the ledger has them."""
        self.void_records = 0
        """Records of owners that had lost their lease: they count nowhere, and nobody may have been
        told of them."""
        self._accounts: dict[str, _Account] = {}
        self._sequences: dict[int, int] = {}
        self._closed: Counter[str] = Counter()
        self._doubled = 0
        self._faults: list[str] = []

    def open_holds(self, customers: Collection[str]) -> int:
        """Holds of these customers that nothing has closed so far."""
        return sum(len(self._account(customer).open) for customer in customers)

    def take(self, partition: int, _key: bytes | None, value: bytes, _at_ms: int) -> None:
        """Takes a committed record of the ledger."""
        entry = codec.decode_entry(value)
        if entry.sequence != self._sequences.get(partition, 0):
            self._fault(f"sequence {entry.sequence} of partition {partition} is not dense")
        self._sequences[partition] = entry.sequence + 1
        if isinstance(entry, CycleEntry):
            self.void_records += entry.void
        elif isinstance(entry, GrantEntry):
            if entry.denomination == UNIT:
                self._account(entry.customer_id).granted += units(entry.amount)
        elif isinstance(entry, UsageEntry):
            self._account(entry.customer_id).used += entry.units
        elif isinstance(entry, SettlementEntry):
            self._account(TASK + entry.task_ref).used += entry.units
        elif isinstance(entry, CeilingEntry):
            self._account(TASK + entry.task_ref).granted = units(entry.amount)
        elif isinstance(entry, DecisionEntry):
            self._take_decision(entry)
        elif isinstance(entry, ClosingEntry):
            self._take_closing(entry)
        elif isinstance(entry, ExtensionEntry):
            self._fault(f"hold {entry.reservation_id} was extended, and nobody asked for it")

    def _take_decision(self, entry: DecisionEntry) -> None:
        name = _name(entry)
        key = (name, entry.event_id)
        if key in self.decisions:
            self._doubled += 1
            self._fault(f"{key} was decided twice")
        self.decisions[key] = Told(entry.approved, entry.reservation_id)
        if not entry.approved:
            return
        account, amount = self._account(name), units(entry.amount)
        if entry.ceiling:
            account.granted = units(entry.ceiling)
        account.open[entry.reservation_id] = amount
        account.held += amount
        excess = account.used + account.held - account.granted
        if excess > account.overspent:
            account.overspent = excess
            self._fault(f"{entry.reservation_id} of {name} exceeds it by {excess}")

    def _take_closing(self, entry: ClosingEntry) -> None:
        account = self._account(_name(entry))
        self._closed[entry.reservation_id] += 1
        amount = account.open.pop(entry.reservation_id, None)
        if amount is None:
            self._doubled += self._closed[entry.reservation_id] > 1
            self._fault(f"{entry.reservation_id} was closed, but was not open")
        else:
            account.held -= amount

    def _account(self, name: str) -> _Account:
        return self._accounts.setdefault(name, _Account())

    def _fault(self, what: str) -> None:
        if len(self._faults) < FAULTS_KEPT:
            self._faults.append(what)

    def used_units(self, customers: Collection[str]) -> int:
        """What these customers have used."""
        return sum(self._account(customer).used for customer in customers)

    def knows(self, told: Mapping[tuple[str, str], Told]) -> bool:
        """Whether every answer that was given has its decision here."""
        return told.keys() <= self.decisions.keys()

    def judge(
        self, told: Mapping[tuple[str, str], Told], customers: Collection[str] | None = None
    ) -> Verdict:
        """The verdict on everything read so far, of these customers alone where they are given, and
        on the answers that agents were told by (customer, idempotency key)."""
        void = 0
        faults = list(self._faults)
        for key, answer in told.items():
            found = self.decisions.get(key)
            if found is None or not found.is_what(answer):
                void += 1
                if len(faults) < FAULTS_KEPT:
                    faults.append(f"{key} was answered {answer}, and the ledger has {found}")
        names = self._accounts.keys() if customers is None else set(customers)
        accounts = [account for name, account in self._accounts.items() if name in names]
        decided = [told for (name, _), told in self.decisions.items() if name in names]
        approved = sum(decision.approved for decision in decided)
        return Verdict(
            approved=approved,
            refused=len(decided) - approved,
            overspent_units=sum(account.overspent for account in accounts),
            leaked_holds=sum(len(account.open) for account in accounts),
            void_answers=void,
            doubled=self._doubled,
            faults=tuple(faults),
        )


def _name(entry: DecisionEntry | ClosingEntry) -> str:
    """The account of a decision or of the end of a hold."""
    return TASK + entry.task_ref if entry.account_kind == "task" else entry.customer_id


def units(amount: str) -> int:
    """A decimal text as whole units: read on the scale of money, whatever it counts. Raises
    ValueError for a part of one."""
    whole, rest = divmod(parse_signed_amount(amount), PICO)
    if rest:
        raise ValueError(f"{amount} are no whole units")
    return whole
