"""Whether the new workers made of what was said to them what the old installation had."""

from base64 import b64decode
from collections.abc import Iterable
from dataclasses import dataclass, field

from schemas import codec
from schemas.topics import BUDGETS, DEAD_LETTERS
from streams.app.carry.reading import Left, Rows, read_values
from streams.app.carry.saying import ToSay
from streams.domain.carrying import account_differences, event_id


@dataclass(slots=True)
class Compared:
    """How many customers were compared, how many had gone on already, and what differs."""

    customers: int = 0
    moved_on: int = 0
    differences: list[str] = field(default_factory=list)


def compare_accounts(before: Rows, now: Rows, as_of_us: int) -> Compared:
    """Every customer as the new workers have it, beside the old rows as of a moment."""
    found, at_us = Compared(), max(as_of_us, now.domain_time_us)
    for customer, account in sorted(before.accounts.items()):
        there = now.accounts.get(customer)
        if there is not None and (there.events or there.signals or there.holds):
            found.moved_on += 1
            continue
        found.customers += 1
        lines = account_differences(account, there, at_us)
        found.differences += [f"{customer}: {line}" for line in lines]
    return found


def numbers_that_begin_anew(said: Iterable[ToSay], now: Rows) -> list[str]:
    """Whose documents would get numbers that the old installation has given."""
    found = []
    for one in said:
        if one.next_number is not None:
            customer = one.carried.customer_id
            row = now.billing.get(customer)
            if row is None or row.next_number < one.next_number:
                found.append(f"{customer}: its invoices begin anew")
    return found


def read_refused(new: Left, origin: str) -> list[str]:
    """What no worker took, by its dead letters."""
    mark, found = event_id(origin, "").encode(), []
    for value in read_values(new.settings, new.partitions, DEAD_LETTERS.name):
        letter = codec.decode_dead_letter(value)
        if letter.topic == BUDGETS.name and mark in b64decode(letter.record_value or ""):
            found.append(f"{letter.entry_id}: {letter.code}: {letter.reason}")
    return found
