"""What is carried over from another installation: what it says, and what is refused of it."""

from typing import Any

import pytest

from schemas import codec
from schemas.envelope import SCHEMA_VERSION
from schemas.errors import RejectCode, RejectError
from schemas.structs import InvoiceCloseEntry, TermsEntry
from schemas.topics import BUDGETS
from streams.domain.budget import Account
from streams.domain.carrying import account_differences, carried_account, carried_task
from streams.domain.facts import SourceRecord, touched_by
from streams.domain.limits import OpenLimit
from streams.domain.tasks import Task
from tests.builders import NOON, NOON_US, context, cycle, fact, fact_of, record, state, usage
from tests.invoice_facts import MONTHS, Invoiced, close, terms

PLAN = context(plan=[("unit", "1000")])
NO_PLAN = context()


def said(account: Account) -> list[Any]:
    """What is carried over of an account, as facts."""
    common = {"schema_version": SCHEMA_VERSION, "source": "tollgate"}
    found = []
    for place, one in enumerate(carried_account(account, "old.", NOON_US)):
        fields = {name: value for name, value in one.fields.items() if value is not None}
        names = {"kind": one.kind, "customer_id": one.customer_id, "event_id": one.event_id}
        body = codec.decode_budget(codec.encode(common | names | fields))
        found.append(fact_of(record(body, place, NOON_US + 1)))
    return found


def test_who_has_spent_everything_may_spend_nothing_more_and_gets_no_plan_anew() -> None:
    old = state()
    cycle(old, fact(usage(units=1000)), context=PLAN)
    new = state()
    facts = said(old.accounts["acme"])
    assert [one.body.event_id for one in facts] == ["carry-over:old.:spent-unit"]
    cycle(new, *facts, context=NO_PLAN, at_us=NOON_US + 1)
    cycle(new, fact(usage(event_id="e2", units=1), 9), context=PLAN, at_us=NOON_US + 2)
    account = new.accounts["acme"]
    assert account.budgeted == ["unit"]
    assert not account_differences(old.accounts["acme"], account, NOON_US + 2)


def test_who_has_nothing_is_known_all_the_same() -> None:
    new = state()
    cycle(new, *said(Account("acme")), context=NO_PLAN, at_us=NOON_US + 1)
    assert new.accounts["acme"].limits == []
    assert new.accounts["acme"].budgeted == []


def test_every_fact_names_what_it_comes_from_and_is_the_same_again() -> None:
    old = state()
    cycle(old, fact(usage(units=1)), context=PLAN)
    account = old.accounts["acme"]
    account.limits.append(OpenLimit("planner", "usd", 5, 3))
    one, other = (carried_account(account, "old.", NOON_US) for _ in range(2))
    assert one == other
    assert one[0].event_id == "carry-over:old.:1-usage-0-0-1"
    assert one[0].fields["reason"] == "from old.: what was left of 1-usage-0-0-1"


def test_a_task_takes_along_what_is_left_under_its_ceiling_and_never_less_than_nothing() -> None:
    assert carried_task(Task("job"), "old.", NOON_US) == []
    (spent,) = carried_task(Task("job", "unit", 10, used_units=30), "old.", NOON_US)
    (left,) = carried_task(Task("job", "usd", 10**12, used_pico_usd=1), "old.", NOON_US)
    assert (spent.fields["amount"], left.fields["amount"]) == ("0", "0.999999999999")


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "grant", "amount": "5", "used": "1"},
        {"kind": "grant", "amount": "5", "used": "6", "resets": "day"},
        {"kind": "grant", "amount": "5", "used": "0.5", "resets": "day"},
        {"kind": "grant", "amount": "5", "used": "1", "resets": "day", "occurred_at": None},
        {"kind": "limit", "used": "1"},
        {"kind": "limit", "amount": "5", "used": "--1"},
    ],
)
def test_a_use_that_says_nothing_is_refused(fields: dict[str, Any]) -> None:
    common = {"schema_version": SCHEMA_VERSION, "event_id": "e", "source": "s"}
    body = common | {"customer_id": "acme", "denomination": "unit", "occurred_at": NOON} | fields
    with pytest.raises(RejectError) as refused:
        fact_of(SourceRecord(BUDGETS.name, 0, NOON_US, b"acme", codec.encode(body)))
    assert refused.value.code == RejectCode.INVALID_FIELD
    assert refused.value.field == "used"


def test_numbers_and_periods_go_on_where_another_installation_left_them() -> None:
    books = Invoiced()
    (opened,) = books.tell(terms(next_number=8, billed_to=MONTHS[1]))
    assert isinstance(opened, TermsEntry)
    assert (opened.next_number, opened.billed_to) == (8, MONTHS[1])
    assert books.refused(close(0)) == RejectCode.INVOICE_OUT_OF_ORDER
    (closed,) = books.tell(close(1))
    assert isinstance(closed, InvoiceCloseEntry)
    assert (closed.number, closed.after_generation, closed.after_end) == ("acme-0008", 0, MONTHS[1])
    again = terms("t2", next_number=2, billed_to=MONTHS[2])
    assert books.refused(again) == RejectCode.INVOICE_OUT_OF_ORDER


def test_terms_load_the_row_that_they_may_change() -> None:
    told = fact(terms(next_number=8, billed_to=MONTHS[1]))
    assert list(touched_by([told]).billed) == ["acme"]
