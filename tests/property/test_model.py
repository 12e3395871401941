"""The pipeline and a naive billing system come to the same bill."""

import random
from fractions import Fraction

import pytest

from schemas.budget import Denomination
from schemas.structs import CycleEntry, GrantEntry, SignalEntry, UsageEntry
from schemas.times import format_time
from streams.domain.budget import available
from tests.builders import of_kind
from tests.property.logs import (
    Cut,
    Event,
    cuts,
    cycles_of,
    events,
    fold,
    property_test,
    random_cut,
    random_log,
    records,
)
from tests.property.model import Bill, Burnt, Model, microseconds
from tests.property.seed import SEED


def modelled(log: list[Event], cut: Cut) -> tuple[Model, int]:
    """The model after these cycles, and the time of the last one."""
    model, time_us = Model(), 0
    placed = list(zip(records(log), log, strict=True))
    by_position = {(record.topic, record.offset): event for record, event in placed}
    for batch in cycles_of([record for record, _ in placed], cut):
        time_us = max([time_us, *(record.appended_at_us for record in batch)])
        for record in batch:
            model.take(by_position[record.topic, record.offset], record.offset, time_us)
    return model, time_us


def bill_of(entry: UsageEntry, grants: dict[str, GrantEntry]) -> Bill:
    burnt: dict[Burnt, Fraction] = {}
    for burn in entry.burns:
        grant = grants[burn.grant_id]
        key = (burn.denomination.value, grant.priority, grant.expires_at, grant.effective_at)
        burnt[key] = burnt.get(key, Fraction(0)) + Fraction(burn.amount)
    return Bill(
        entry.source_offset,
        Fraction(entry.cost),
        entry.currency,
        entry.cost_basis,
        Fraction(entry.provisional),
        {
            "unit": Fraction(entry.covered_units),
            "token": Fraction(entry.covered_tokens),
            "usd": Fraction(entry.covered_usd),
        },
        burnt,
    )


@property_test(events(most=40), cuts(), examples=150)
def test_the_pipeline_bills_what_the_naive_model_bills(log: list[Event], cut: Cut) -> None:
    compare(log, cut)


@pytest.mark.parametrize("number", range(40))
def test_the_pipeline_bills_what_the_naive_model_bills_over_long_logs(number: int) -> None:
    chance = random.Random(f"{SEED}-{number}")
    compare(random_log(chance, length=120), random_cut(chance))


def compare(log: list[Event], cut: Cut) -> None:
    folded = fold(log, cut)
    model, now_us = modelled(log, cut)
    grants = {grant.entry_id: grant for grant in of_kind(GrantEntry, folded.entries)}
    bills = [bill_of(entry, grants) for entry in of_kind(UsageEntry, folded.entries)]
    assert bills == model.bills
    refused = [(r.record.topic, r.record.offset, r.code.value) for r in folded.rejected]
    assert refused == model.refused
    assert len(of_kind(SignalEntry, folded.entries)) == model.signals
    counted = sum(own.duplicates for own in of_kind(CycleEntry, folded.entries))
    assert counted == model.duplicates
    assert folded.state.accounts.keys() == model.grants.keys()
    for customer, account in folded.state.accounts.items():
        for denomination, scale in (("unit", 1), ("token", 1), ("usd", 10**12)):
            left = sum(
                (
                    grant.left(now_us)
                    for grant in model.grants[customer]
                    if grant.denomination == denomination and grant.is_open(now_us)
                ),
                Fraction(0),
            )
            held = available(account, Denomination(denomination), now_us)
            assert Fraction(held, scale) == left


def test_the_model_reads_times_as_tollgate_writes_them() -> None:
    assert microseconds(format_time(1_768_478_400_000_001)) == 1_768_478_400_000_001
