"""Rules I1 to I6 of identity, one test or more under the name of each.

What a store or a topic does about them: tests/contract/test_store_claims.py, tests/guard.
"""

from typing import Any

import pytest

from schemas.codec import encode
from schemas.errors import RejectCode
from schemas.structs import UsageEntry
from schemas.topics import CLAIMS_CHANGELOG, CLAIMS_MARGIN_DAYS, CLAIMS_RETENTION_DAYS, DAY_MS
from streams.app.installation import default_rules
from streams.domain.facts import claim_key
from streams.domain.state import PartitionState
from tests.builders import (
    DAY_US,
    NOON,
    NOON_US,
    context,
    cycle,
    fact,
    of_kind,
    own_entry,
    record,
    replay,
    state,
    usage,
)
from tests.owned_account import Owned

RULES = context(horizon_days=35, lateness_days=34, future_seconds=3_600)


def fold(into: PartitionState, body: Any, offset: int, at_us: int = NOON_US) -> Any:
    return cycle(into, fact(body, offset, at_us), context=RULES, at_us=at_us)


def counts(result: Any) -> tuple[int, int, int]:
    """Accepted, duplicates, conflicts."""
    own = own_entry(result)
    return own.accepted, own.duplicates, own.conflicts


def test_i1_the_hash_decides_and_the_position_only_recognises_a_replay() -> None:
    into = state()
    assert counts(fold(into, usage(), 7)) == (1, 0, 0)
    assert counts(fold(into, usage(), 7)) == (0, 1, 0), "read again after a fault"
    assert counts(fold(into, usage(), 8)) == (0, 1, 0), "sent again"
    assert counts(fold(into, usage(units=2), 9)) == (0, 0, 1)
    assert counts(fold(into, usage(units=2), 7)) == (0, 0, 1), "another record at that position"


def test_i1_an_entry_is_called_by_its_position() -> None:
    (entry,) = of_kind(UsageEntry, fold(state(), usage(), 7).entries)
    assert entry.entry_id == "1-usage-0-7-0"


def test_i2_what_is_no_billing_content_makes_no_conflict() -> None:
    into = state()
    fold(into, usage(), 1)
    assert counts(fold(into, usage(metadata={"who": "me"}), 2)) == (0, 1, 0)


def test_i2_an_event_without_a_time_gets_none_stamped_into_its_body() -> None:
    """Sent again an hour later it is the same event; with a stamped time it would conflict."""
    into = state()
    fold(into, usage(), 1)
    later = NOON_US + 3_600 * 10**6
    assert counts(fold(into, usage(), 2, later)) == (0, 1, 0)
    assert counts(fold(into, usage(occurred_at=NOON), 3, later)) == (0, 0, 1)


def test_i2_only_an_accepted_record_claims_its_id() -> None:
    into = state()
    refused = fold(into, usage(occurred_at="2025-01-01T00:00:00Z"), 1)
    assert refused.rejected[0].code is RejectCode.TOO_OLD
    assert counts(fold(into, usage(occurred_at=NOON), 2)) == (1, 0, 0)


def test_i3_a_repeat_beyond_the_horizon_cannot_count_again_where_the_event_has_a_time() -> None:
    into, body = state(), usage(occurred_at=NOON)
    fold(into, body, 1)
    outcomes = [
        counts(fold(into, body, 2 + day, NOON_US + day * DAY_US)) for day in range(0, 400, 5)
    ]
    assert (1, 0, 0) not in outcomes


def test_i3_without_a_time_only_the_horizon_protects_and_that_is_documented() -> None:
    into = state()
    fold(into, usage(), 1)
    assert counts(fold(into, usage(), 2, NOON_US + 35 * DAY_US)) == (0, 1, 0)
    assert counts(fold(into, usage(), 3, NOON_US + 35 * DAY_US + 1)) == (1, 0, 0)
    assert counts(fold(into, usage(), 4, NOON_US + 36 * DAY_US)) == (0, 1, 0), "claimed anew"


def test_i4_a_claim_is_of_customer_source_and_id_and_of_nothing_that_rotates() -> None:
    into = state()
    fold(into, usage(), 1)
    for offset, other in enumerate(
        (usage(customer="bolt"), usage(source="erp"), usage(event_id="e2")), 2
    ):
        assert counts(fold(into, other, offset)) == (1, 0, 0)
    assert len(claim_key("usage", "acme", "crm", "x" * 128)) == 16


def test_i5_a_replayed_letter_counts_by_its_own_append_time() -> None:
    """Refused when it was new, replayed weeks later: as late as it was then, and only once."""
    into = state()
    original = record(usage(occurred_at=NOON), 3, NOON_US)
    body = replay(original)
    later = NOON_US + 20 * DAY_US
    first = cycle(into, fact(body, 0, later), context=RULES, at_us=later)
    (entry,) = of_kind(UsageEntry, first.entries)
    assert (entry.appended_at, entry.entry_id) == (NOON_US, "1-usage-0-3-0")
    assert counts(fold(into, usage(occurred_at=NOON), 9, later)) == (0, 1, 0)


def test_i6_what_is_kept_is_kept_longer_than_it_holds() -> None:
    kept_days = CLAIMS_CHANGELOG.retention_ms // DAY_MS
    assert CLAIMS_CHANGELOG.cleanup == "delete"
    assert kept_days == CLAIMS_RETENTION_DAYS
    assert default_rules().horizon_days + CLAIMS_MARGIN_DAYS <= kept_days


@pytest.mark.parametrize("occurred_at", [None, NOON])
def test_i6_dropping_claims_that_no_longer_hold_decides_nothing(occurred_at: str | None) -> None:
    """The same log over a store that has dropped every claim as soon as it may."""
    bodies = [usage(event_id=f"e{n % 3}", occurred_at=occurred_at) for n in range(40)]
    kept, dropping = state(), state()
    written: list[list[bytes]] = [[], []]
    for offset, body in enumerate(bodies):
        at_us = NOON_US + offset * 4 * DAY_US
        for into, out in zip((kept, dropping), written, strict=True):
            out += [encode(entry) for entry in fold(into, body, offset, at_us).entries]
        dropping.claims = {
            key: claim
            for key, claim in dropping.claims.items()
            if claim.appended_at_us >= at_us - 35 * DAY_US
        }
    assert written[0] == written[1]
    assert len(dropping.claims) <= len(kept.claims)


def test_i6_a_cycle_names_a_segment_of_claims_exactly_where_it_writes_one() -> None:
    books = Owned()
    books.give(usage(task_ref="job", units=1))
    claimed = books.fold()
    assert own_entry(claimed).accepted == 1
    segment = books.state.progress.claims_segment
    assert segment == f"1-{own_entry(claimed).cycle}"
    # The task hears of it: accepted, without an id that anybody could send again.
    told = books.fold()
    assert own_entry(told).accepted == 1
    assert books.state.progress.claims_segment == segment
