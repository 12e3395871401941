"""streams.bench.preflight_books: each kind of wrong is found in a ledger that has it, and nothing
in one that is right."""

from typing import Any

import pytest

from schemas import codec
from schemas.structs import ClosingEntry, CycleEntry, DecisionEntry, GrantEntry, UsageEntry
from streams.bench.preflight_books import DecisionBooks, Told, units

WRITTEN: dict[str, Any] = {
    "schema_version": 1,
    "generation": 1,
    "partition": 0,
    "cycle": 1,
    "decided_at": 0,
    "entry_id": "e",
}
SOURCED: dict[str, Any] = {
    "source_offset": 0,
    "entry_index": 0,
    "appended_at": 0,
    "occurred_at": 0,
    "customer_id": "c",
    "source": "s",
}


class Ledger:
    """Entries in their order, taken as they are written."""

    def __init__(self) -> None:
        self.books = DecisionBooks()
        self.sequence = 0

    def take(self, kind: Any, **more: Any) -> None:
        base = WRITTEN if kind is CycleEntry else WRITTEN | SOURCED
        entry = kind(**(base | {"sequence": self.sequence} | more))
        self.sequence += 1
        self.books.take(0, b"c", codec.encode(entry), 0)

    def grant(self, amount: int, customer: str = "c", denomination: Any = "unit") -> None:
        self.take(
            GrantEntry,
            topic="budgets",
            event_id="g",
            customer_id=customer,
            denomination=denomination,
            amount=str(amount),
            priority=1,
            effective_at=0,
        )

    def decision(self, key: str, amount: int, approved: bool = True, customer: str = "c") -> None:
        self.take(
            DecisionEntry,
            topic="preflights",
            event_id=key,
            customer_id=customer,
            denomination="unit",
            amount=str(amount),
            approved=approved,
            reservation_id=f"r-{key}",
            expires_at=0,
        )

    def close(self, key: str, how: Any = "expired", amount: int = 10) -> None:
        self.take(
            ClosingEntry,
            topic="preflights",
            event_id=f"r-{key}",
            reservation_id=f"r-{key}",
            denomination="unit",
            amount=str(amount),
            closed_as=how,
            released=str(amount),
        )

    def use(self, count: int) -> None:
        self.take(UsageEntry, topic="usage", event_id="u", units=count)


def told(*keys: str, approved: bool = True) -> dict[tuple[str, str], Told]:
    return {("c", key): Told(approved, f"r-{key}") for key in keys}


def full_ledger() -> Ledger:
    """20 units granted; two holds of 10, one settled and one expired, then another."""
    ledger = Ledger()
    ledger.grant(20)
    ledger.decision("a", 10)
    ledger.decision("b", 10)
    ledger.decision("refused", 10, approved=False)
    ledger.use(10)
    ledger.close("a", "settled")
    ledger.close("b")
    ledger.decision("d", 10)
    ledger.close("d")
    return ledger


def test_a_ledger_that_is_right_is_right() -> None:
    ledger = full_ledger()
    answers = told("a", "b", "d") | {("c", "refused"): Told(False, "")}
    verdict = ledger.books.judge(answers)
    assert verdict.is_right
    assert (verdict.approved, verdict.refused) == (3, 1)


def test_a_hold_beyond_what_was_granted_is_overspent() -> None:
    ledger = full_ledger()
    ledger.decision("e", 10)
    assert ledger.books.judge({}).overspent_units == 0
    ledger.decision("f", 7)
    verdict = ledger.books.judge({})
    assert verdict.overspent_units == 7
    assert any("exceeds it by 7" in fault for fault in verdict.faults)


def test_units_of_another_denomination_cover_no_hold() -> None:
    ledger = Ledger()
    ledger.grant(1_000, denomination="token")
    ledger.decision("a", 10)
    assert ledger.books.judge({}).overspent_units == 10


def test_a_refusal_holds_nothing() -> None:
    ledger = Ledger()
    ledger.decision("a", 10, approved=False)
    verdict = ledger.books.judge({})
    assert (verdict.overspent_units, verdict.leaked_holds) == (0, 0)


def test_a_hold_that_nothing_closes_has_leaked() -> None:
    ledger = full_ledger()
    ledger.decision("e", 10)
    assert ledger.books.open_holds(["c"]) == 1
    assert ledger.books.judge({}).leaked_holds == 1


@pytest.mark.parametrize(
    "answer",
    [
        told("nobody decided this"),
        told("refused"),
        told("a", approved=False),
        {("c", "a"): Told(True, "r-b")},
        {("other", "a"): Told(True, "r-a")},
    ],
)
def test_an_answer_that_the_ledger_does_not_know_so_is_void(answer: Any) -> None:
    verdict = full_ledger().books.judge(answer)
    assert verdict.void_answers == 1
    assert not verdict.is_right


def test_a_key_decided_twice_and_a_hold_closed_twice_are_counted() -> None:
    ledger = full_ledger()
    ledger.decision("a", 10)
    ledger.close("a")
    ledger.close("d")
    assert ledger.books.judge({}).doubled == 2


def test_a_hole_in_the_sequence_is_a_fault() -> None:
    ledger = full_ledger()
    ledger.sequence += 1
    ledger.use(1)
    assert any("not dense" in fault for fault in ledger.books.judge({}).faults)


def test_void_records_of_the_log_are_counted_and_wrong_for_nobody() -> None:
    ledger = full_ledger()
    ledger.take(
        CycleEntry,
        catalog_offset=0,
        rules_version=1,
        consumed=[],
        accepted=0,
        duplicates=0,
        conflicts=0,
        dead_letters=0,
        dead_letter_sequence=0,
        void=3,
    )
    assert ledger.books.void_records == 3
    assert ledger.books.judge({}).is_right


def test_some_customers_are_judged_apart_from_the_others() -> None:
    ledger = full_ledger()
    ledger.grant(10, customer="other")
    ledger.decision("x", 12, customer="other")
    assert ledger.books.judge({}, ["c"]).overspent_units == 0
    verdict = ledger.books.judge({}, ["other"])
    assert (verdict.approved, verdict.overspent_units, verdict.leaked_holds) == (1, 2, 1)


def test_units_are_whole() -> None:
    assert units("12") == 12
    assert units("-3") == -3
    with pytest.raises(ValueError, match="whole"):
        units("1.5")
