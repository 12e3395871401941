"""What holds for every log, however it is cut into cycles."""

import random
from collections import Counter
from copy import copy, deepcopy
from dataclasses import replace
from fractions import Fraction

import msgspec
import pytest
from hypothesis import assume
from hypothesis import strategies as st

from schemas import codec
from schemas.structs import CycleEntry, GrantEntry, SignalEntry, UsageEntry
from streams.domain.budget import Account
from streams.domain.entries import Position
from streams.domain.folding import fold_cycle
from streams.domain.identity import Claim
from streams.domain.pipeline import decide, evolve
from streams.domain.refusal import Refusal
from streams.domain.replay import accounts_digest, fold_entries
from streams.domain.state import PartitionState, Progress
from tests.builders import DAY_US, HOUR_US, NOON_US, consumed_by, context, fact_of, of_kind
from tests.property.logs import (
    BUDGETS,
    HORIZON_DAYS,
    ONE_CYCLE,
    SIGNALS,
    USAGE,
    Cut,
    Event,
    Folded,
    cuts,
    cycles_of,
    events,
    fold,
    property_test,
    random_cut,
    random_log,
    records,
    rules,
)
from tests.property.seed import SEED


def what_counted(folded: Folded) -> dict[tuple[str, int], object]:
    """The accepted records by position, each with all that must not depend on the cut (D7)."""
    found: dict[tuple[str, int], object] = {}
    for entry in folded.entries:
        if isinstance(entry, UsageEntry):
            found[entry.topic, entry.source_offset] = (
                entry.units,
                entry.cost,
                entry.currency,
                entry.cost_basis,
                entry.priced_as,
                entry.price_version,
                entry.provisional,
                entry.occurred_at,
                entry.flags,
            )
        elif isinstance(entry, SignalEntry):
            found[entry.topic, entry.source_offset] = entry.quantity
        elif isinstance(entry, GrantEntry) and entry.reason != "default plan":
            found[entry.topic, entry.source_offset] = (entry.amount, entry.expires_at)
    return found


def what_was_refused(folded: Folded) -> list[tuple[str, int, str]]:
    return sorted((r.record.topic, r.record.offset, r.code.value) for r in folded.rejected)


def sums(folded: Folded) -> dict[str, object]:
    """What an account adds up over everything accepted."""
    return {
        customer: (a.used_units, a.used_tokens, a.used_pico_usd, a.used_other, a.events, a.signals)
        for customer, a in folded.state.accounts.items()
    }


@property_test(events(), cuts())
def test_what_counts_and_what_it_costs_does_not_depend_on_the_cut(
    log: list[Event], cut: Cut
) -> None:
    compare_cuts(log, cut)


@pytest.mark.parametrize("number", range(25))
def test_what_counts_and_what_it_costs_does_not_depend_on_the_cut_of_long_logs(
    number: int,
) -> None:
    chance = random.Random(f"{SEED}-{number}")
    compare_cuts(random_log(chance, length=120), random_cut(chance))


def compare_cuts(log: list[Event], cut: Cut) -> None:
    # D7. What may differ, because inside a cycle grants are folded before usage and time is the
    # cycle's: what is covered, by which grants, what is left of them and what is beyond; when a
    # grant without a beginning begins; which of a customer's facts brings the default plan, so the
    # ids of the plan's grants; sequences, cycles and decided_at.
    whole, in_parts = fold(log, ONE_CYCLE), fold(log, cut)
    assert what_counted(in_parts) == what_counted(whole)
    assert what_was_refused(in_parts) == what_was_refused(whole)
    assert sums(in_parts) == sums(whole)
    assert in_parts.state.claims == whole.state.claims


def test_the_limit_on_grants_does_not_depend_on_the_cut() -> None:
    # Usage stands between two grants in the log. In one cycle both are folded before it, in three
    # it has used the first one up when the second one comes: a limit on open grants would differ.
    def grant(number: int) -> Event:
        fields = (("denomination", "unit"), ("amount", "1"))
        return Event(BUDGETS, "acme", "crm", f"g{number}", NOON_US, None, fields)

    used = Event(USAGE, "acme", "crm", "e1", NOON_US, None, (("units", 1),))
    log, one = [grant(1), used, grant(2)], context(grants_max=1)
    steps: Cut = [{BUDGETS: 1, SIGNALS: 0, USAGE: 0}, {BUDGETS: 0, SIGNALS: 0, USAGE: 1}]
    in_parts, whole = fold(log, steps, one), fold(log, ONE_CYCLE, one)
    assert what_counted(in_parts).keys() == what_counted(whole).keys()


@property_test(events(), cuts())
def test_the_default_plan_comes_once_per_customer_whatever_the_cut(
    log: list[Event], cut: Cut
) -> None:
    def plans(folded: Folded) -> Counter[tuple[str, str]]:
        grants = of_kind(GrantEntry, folded.entries)
        return Counter((g.customer_id, g.amount) for g in grants if g.reason == "default plan")

    found = plans(fold(log, cut))
    assert found == plans(fold(log, ONE_CYCLE))
    assert set(found.values()) <= {1}


@property_test(events(), cuts())
def test_a_fold_of_a_batch_is_a_fold_one_by_one(log: list[Event], cut: Cut) -> None:
    # Inside a cycle the working state is changed in place. Here each fact is decided and evolved on
    # copies that went through the store's bytes, under the same cycle: nobody can see the
    # difference.
    encode, decode = codec.state_codec(Account)
    at_once, stepwise = PartitionState(Progress()), PartitionState(Progress())
    under, time_us = rules(), 0
    for batch in cycles_of(records(log), cut):
        time_us = max([time_us, *(record.appended_at_us for record in batch)])
        facts = [fact_of(record) for record in batch]
        result = fold_cycle(at_once, 0, consumed_by(batch), deepcopy(facts), under, time_us)
        entries = []
        position = Position(1, 0, stepwise.progress.cycle + 1, time_us)
        stepwise.progress.next_sequence += 1
        for fact in facts:
            stored = {c: encode(a) for c, a in stepwise.accounts.items()}
            decision = decide(stepwise, fact, under, position)
            # Deciding changed nothing.
            assert {c: encode(a) for c, a in stepwise.accounts.items()} == stored
            stepwise = PartitionState(
                stepwise.progress,
                {c: decode(a) for c, a in stored.items()},
                dict(stepwise.claims),
            )
            if isinstance(decision, list):
                for entry in decision:
                    evolve(stepwise, entry)
                entries += decision
                source = fact.record
                claim = Claim(fact.body_hash, source.appended_at_us, source.offset)
                stepwise.claims[fact.claim_key] = claim
            else:
                assert isinstance(decision, Refusal) or decision.value in ("duplicate", "replay")
        evolve(stepwise, result.entries[0])
        assert [codec.encode(e) for e in entries] == [codec.encode(e) for e in result.entries[1:]]
        assert stepwise.accounts == at_once.accounts
        assert stepwise.claims == at_once.claims
        assert stepwise.progress == at_once.progress


@property_test(events(), cuts())
def test_deciding_again_writes_the_same_bytes(log: list[Event], cut: Cut) -> None:
    first, again = fold(log, cut), fold(log, cut)
    assert [codec.encode(e) for e in first.entries] == [codec.encode(e) for e in again.entries]
    assert accounts_digest(first.state) == accounts_digest(again.state)


@property_test(events(), st.data())
def test_a_repeat_anywhere_changes_nothing(log: list[Event], choice: st.DataObject) -> None:
    one_by_one = [dict.fromkeys((e.topic,), 1) for e in log]
    before = fold(log, _steps(one_by_one))
    accepted = what_counted(before)
    positions = _positions(log)
    repeatable = [
        (place, later)
        for place, event in enumerate(log)
        if (event.topic, positions[place]) in accepted
        for later in range(place, len(log))
        if log[later].appended_us - event.appended_us <= HORIZON_DAYS * DAY_US
    ]
    assume(repeatable)
    place, later = choice.draw(st.sampled_from(repeatable))
    again = replace(log[place], appended_us=log[later].appended_us)
    longer = [*log[: later + 1], again, *log[later + 1 :]]
    steps = [dict.fromkeys((e.topic,), 1) for e in longer]
    # The repeat stands in the cycle of the record before it, so that cycles and times stay the
    # same.
    merged = _steps(steps[: later + 1] + steps[later + 2 :])
    merged[later][again.topic] += 1
    after = fold(longer, merged)
    assert _without_place(after) == _without_place(before)
    assert sums(after) == sums(before)
    assert [a.grants for a in _by_name(after)] == _moved(before, after)
    # It is counted once: as a duplicate, or, where the id was claimed anew beyond the horizon by
    # other content since, as a conflict.
    counted = _count(after) - _count(before)
    assert counted in (
        Counter(duplicates=1),
        Counter(conflicts=1, dead_letters=1),
    )


def _steps(cut: Cut) -> Cut:
    return [{topic: take.get(topic, 0) for topic in (BUDGETS, SIGNALS, USAGE)} for take in cut]


def _positions(log: list[Event]) -> list[int]:
    return [record.offset for record in records(log)]


def _by_name(folded: Folded) -> list[Account]:
    return [folded.state.accounts[name] for name in sorted(folded.state.accounts)]


def _without_place(folded: Folded) -> list[tuple[object, ...]]:
    """The usage entries without what moves when a record is put in front: offsets and ids."""
    return [
        (
            *(e.sequence, e.cycle, e.decided_at, e.event_id, e.cost, e.provisional),
            *(e.covered_units, e.covered_tokens, e.covered_usd),
            [(b.denomination, b.amount) for b in e.burns],
        )
        for e in of_kind(UsageEntry, folded.entries)
    ]


def _moved(before: Folded, after: Folded) -> list[object]:
    """The grants of `before` under the ids that they have in `after`."""
    old, new = of_kind(GrantEntry, before.entries), of_kind(GrantEntry, after.entries)
    ids = {a.entry_id: b.entry_id for a, b in zip(old, new, strict=True)}
    return [
        [msgspec.structs.replace(g, grant_id=ids[g.grant_id]) for g in a.grants]
        for a in _by_name(before)
    ]


def _count(folded: Folded) -> Counter[str]:
    found: Counter[str] = Counter()
    for own in of_kind(CycleEntry, folded.entries):
        found.update(
            duplicates=own.duplicates, conflicts=own.conflicts, dead_letters=own.dead_letters
        )
    return found


@property_test(events(), cuts())
def test_sequences_are_dense_and_every_record_ends_somewhere(log: list[Event], cut: Cut) -> None:
    folded = fold(log, cut)
    assert [e.sequence for e in folded.entries] == list(range(len(folded.entries)))
    assert folded.state.progress.next_sequence == len(folded.entries)
    own = of_kind(CycleEntry, folded.entries)
    assert [e.cycle for e in own] == list(range(1, len(own) + 1))
    total = sum(e.accepted + e.duplicates + e.dead_letters for e in own)
    assert total == len(log) == sum(c.to_offset - c.from_offset for e in own for c in e.consumed)
    assert sum(e.dead_letters for e in own) == own[-1].dead_letter_sequence == len(folded.rejected)
    assert len(what_counted(folded)) == sum(e.accepted for e in own)
    ids = [e.entry_id for e in folded.entries]
    assert len(set(ids)) == len(ids)


@property_test(events(), cuts())
def test_the_ledger_folds_back_into_the_accounts(log: list[Event], cut: Cut) -> None:
    folded = fold(log, cut)
    through_bytes = [codec.decode_entry(codec.encode(entry)) for entry in folded.entries]
    rebuilt = fold_entries(through_bytes)
    assert rebuilt.accounts == folded.state.accounts
    assert rebuilt.progress == folded.state.progress


@property_test(events(), cuts())
def test_what_is_used_is_covered_or_beyond_and_grants_are_never_overdrawn(
    log: list[Event], cut: Cut
) -> None:
    folded = fold(log, cut)
    granted = {
        g.entry_id: (g.denomination.value, Fraction(g.amount))
        for g in of_kind(GrantEntry, folded.entries)
    }
    burnt: Counter[str] = Counter()
    for entry in of_kind(UsageEntry, folded.entries):
        used = {
            "unit": Fraction(entry.units),
            "token": Fraction(_tokens(entry)),
            "usd": Fraction(entry.cost) + Fraction(entry.provisional),
        }
        covered = {
            "unit": Fraction(entry.covered_units),
            "token": Fraction(entry.covered_tokens),
            "usd": Fraction(entry.covered_usd),
        }
        if entry.currency != "USD":
            used["usd"] = Fraction(0)
        parts: Counter[str] = Counter()
        for burn in entry.burns:
            assert Fraction(burn.amount) > 0
            assert granted[burn.grant_id][0] == burn.denomination.value
            parts[burn.denomination.value] += Fraction(burn.amount)  # type: ignore[assignment]
            burnt[burn.grant_id] += Fraction(burn.amount)  # type: ignore[assignment]
        for denomination in used:
            assert parts[denomination] == covered[denomination] <= used[denomination]
    for grant_id, (_, amount) in granted.items():
        assert burnt[grant_id] <= amount
    left = {g.grant_id: g for a in folded.state.accounts.values() for g in a.grants}
    for grant_id, grant in left.items():
        denomination, amount = granted[grant_id]
        scale = 10**12 if denomination == "usd" else 1
        assert Fraction(grant.remaining, scale) == amount - burnt[grant_id] > 0


def _tokens(entry: UsageEntry) -> int:
    return (
        entry.input_tokens
        + entry.cache_read_tokens
        + entry.cache_write_tokens
        + entry.output_tokens
        + entry.reasoning_tokens
        + entry.input_audio_tokens
        + entry.output_audio_tokens
    )


@property_test(events(), st.integers(0, 25))
def test_a_fold_goes_on_from_any_snapshot(log: list[Event], place: int) -> None:
    # Accounts, progress and claims are all there is: written and read back between two cycles, the
    # fold goes on as if nothing had happened.
    encode, decode = codec.state_codec(Account)
    cut: Cut = [dict.fromkeys((BUDGETS, SIGNALS, USAGE), 2)] * 6
    place = place % 7
    kept = PartitionState(Progress())
    entries = []
    time_us = 0
    for number, batch in enumerate(cycles_of(records(log), cut)):
        if number == place:
            kept = PartitionState(
                copy(kept.progress),
                {c: decode(encode(a)) for c, a in kept.accounts.items()},
                dict(kept.claims),
            )
        time_us = max([time_us, *(record.appended_at_us for record in batch)])
        facts = [fact_of(record) for record in batch]
        entries += fold_cycle(kept, 0, consumed_by(batch), facts, rules(), time_us).entries
    assert [codec.encode(e) for e in entries] == [codec.encode(e) for e in fold(log, cut).entries]


def test_the_limits_of_the_random_logs_are_within_reach() -> None:
    # Else the properties above would never see a late, an early or an expired event.
    found = rules()
    assert found.lateness_us == 2 * DAY_US
    assert found.horizon_us == HORIZON_DAYS * DAY_US
    assert found.future_us == HOUR_US
