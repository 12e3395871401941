"""The largest state and the largest entry still fit the records that carry them."""

from typing import Any

import pytest

from schemas import codec
from schemas.catalog import Rules
from schemas.limits import ID_BYTES_MAX, NAME_CHARS_MAX, UNITS_MAX
from schemas.structs import UsageEntry
from schemas.topics import ACCOUNTS_CHANGELOG, LEDGER, Topic
from streams.domain.budget import Account
from streams.domain.grants import OpenGrant
from tests.builders import NOON_US, cycle, fact, of_kind, state, usage

FRAMING_BYTES = 1024
"""Key, headers and the record batch around a value."""


def grants_most() -> int:
    """As many grants as any rules may allow."""
    (most,) = [
        found.le for found in Rules.model_fields["grants_max"].metadata if hasattr(found, "le")
    ]
    assert isinstance(most, int)
    return most


def account(grants: int) -> Account:
    """An account all of whose grants are open, with ids of a log that has run for years."""
    opened = [
        OpenGrant(f"9-budgets-255-{10**12 + n}-0", "unit", 1, 1000, NOON_US, NOON_US + 10**15)
        for n in range(grants)
    ]
    return Account("acme", opened, used_pico_usd=10**30, granted=grants)


def room(topic: Topic) -> int:
    return topic.record_bytes_max - FRAMING_BYTES


@pytest.mark.parametrize("grants", [Rules.model_fields["grants_max"].default, grants_most()])
def test_an_account_with_every_grant_open_fits_a_record_of_its_changelog(grants: int) -> None:
    encode, _ = codec.state_codec(Account)
    assert len(encode(account(grants))) <= room(ACCOUNTS_CHANGELOG)


@pytest.mark.parametrize("grants", [Rules.model_fields["grants_max"].default, grants_most()])
def test_an_entry_that_burns_every_grant_fits_a_record_of_the_ledger(grants: int) -> None:
    into = state()
    into.accounts["acme"] = account(grants)
    (entry,) = of_kind(UsageEntry, cycle(into, fact(usage(units=grants))).entries)
    assert len(entry.burns) == grants
    assert len(codec.encode(entry)) <= room(LEDGER)


def test_the_entry_of_the_largest_event_fits_a_record_of_the_ledger() -> None:
    longest = "\x01" * ID_BYTES_MAX  # six bytes each in JSON
    names = ("source", "agent_id", "task_ref", "trace_id")
    fields: dict[str, Any] = dict.fromkeys(names, longest)
    fields |= {"provider": "\x01" * NAME_CHARS_MAX, "model": "\x01" * NAME_CHARS_MAX}
    body = usage(longest, longest, units=UNITS_MAX, **fields)
    (entry,) = of_kind(UsageEntry, cycle(state(), fact(body)).entries)
    encoded = codec.encode(entry)
    assert len(encoded) <= 16 * 1024 <= room(LEDGER)
    assert codec.decode_entry(encoded) == entry
