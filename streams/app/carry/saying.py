"""What is said of an installation in the one that takes its place, and what of it stands there.

Facts are a function of the old rows and of one moment, so that every run says the same. Each keeps
what it was made of beside its record: nothing that was written here is decoded again.
"""

import json
from collections.abc import Set
from dataclasses import dataclass, field
from typing import Any, cast

from schemas.limits import REASON_CHARS_MAX
from schemas.times import format_time, parse_time_us
from schemas.topics import BUDGETS
from streams.app.administration import Kind, Planned, plan
from streams.app.carry.reading import Left, read_values
from streams.domain.carrying import Carried, carried_account, carried_task, event_id
from streams.invoicing.billing import Billing, Plain, place_of

Identity = tuple[str, str]
"""Customer (of a ceiling the task) and event id."""


@dataclass(frozen=True, slots=True)
class ToSay:
    """A fact that comes from the old installation, and the record that says it in the new one."""

    carried: Carried
    record: Planned

    @property
    def identity(self) -> Identity:
        """What a worker knows it by."""
        return self.carried.customer_id, self.carried.event_id

    @property
    def next_number(self) -> int | None:
        """Where the customer's documents go on, of the terms that say so."""
        number: int | None = self.carried.fields.get("next_number")
        return number

    @property
    def label(self) -> str:
        """What a report counts it as."""
        return self.carried.kind if self.next_number is None else "invoice number"


@dataclass(slots=True)
class Standing:
    """What runs before have said in the new installation, as it stands there, and as of when: the
    first of them fixed it."""

    values: dict[Identity, bytes] = field(default_factory=dict)
    as_of_us: int | None = None


def read_standing(new: Left, origin: str) -> Standing:
    """Reads `budgets` of the new installation, and of its records those of a carry-over from
    `origin`."""
    found, begins = Standing(), event_id(origin, "")
    mark = begins.encode()
    for value in read_values(new.settings, new.partitions, BUDGETS.name):
        if mark not in value:
            continue
        record = json.loads(value)
        if str(record.get("event_id", "")).startswith(begins):
            found.values[str(record["customer_id"]), str(record["event_id"])] = value
            if found.as_of_us is None and (occurred := record.get("occurred_at")):
                found.as_of_us = parse_time_us(occurred)
    return found


def to_say(left: Left, later: Set[str], as_of_us: int, partitions: int) -> list[ToSay]:
    """Everything that is said of the old installation as of a moment, in the order in which it is
    written; `later` are the customers whose periods are closed there afterwards. Raises SetupError
    for what no worker would accept."""
    rows, origin, said = left.rows, left.origin, list[Carried]()
    for _, account in sorted(rows.accounts.items()):
        said += carried_account(account, origin, as_of_us)
    for _, task in sorted(rows.tasks.items()):
        said += carried_task(task, origin, as_of_us)
    for customer in sorted({*left.billings, *rows.billing}):
        said += _billing_facts(left, customer, as_of_us, billed=customer not in later)
    return [ToSay(one, _record(one, partitions)) for one in said]


def _record(one: Carried, partitions: int) -> Planned:
    return plan(cast(Kind, one.kind), one.customer_id, one.fields, one.event_id, partitions)


def _billing_facts(left: Left, customer: str, as_of_us: int, *, billed: bool) -> list[Carried]:
    """Terms in their order and, once nothing is to be closed in the old installation, credits that
    no invoice has, and where documents go on."""
    billing = left.billings.get(customer) or Billing(customer)
    row = left.rows.billing.get(customer)

    def told(kind: str, entry: Plain, fields: dict[str, Any]) -> Carried:
        name = event_id(left.origin, str(entry["entry_id"]))
        return Carried(kind, customer, name, {"occurred_at": format_time(as_of_us)} | fields)

    said = [told("terms", one, _terms(one)) for one in billing.terms]
    if not billed:
        return said
    cut = (0, 0) if row is None else (row.cut_generation, row.cut_sequence)
    said += [told("credit", one, _credit(one)) for one in billing.credits if place_of(one) > cut]
    if row is not None and row.closed_to_us:
        last = _terms(billing.terms[-1]) if billing.terms else {"plan": "default"}
        opening = last | {"next_number": row.next_number, "billed_to": row.closed_to_us}
        said.append(told("terms", {"entry_id": "invoices"}, opening))
    return said


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
