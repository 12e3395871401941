"""What stands in an installation before: the forms in which a worker writes it."""

from schemas.partitioner import partition_of
from streams.bench.earlier import (
    CLAIMS_PER_SEGMENT,
    GRANTED_UNITS,
    account_rows,
    claims_segments,
    progress_rows,
)
from streams.domain.appends import decode_account, decode_progress
from streams.domain.identity import split_segment, unpack_claim

AT_US = 1_700_000_000_000_000


def test_segments_hold_claims_with_a_time_an_offset_and_ids_that_differ() -> None:
    records = list(claims_segments(2, 3, AT_US, seed=1))
    assert [record.partition for record in records] == [0, 1, 2, 0, 1, 2]
    rows = [row for record in records for row in split_segment(record.value)]
    assert len({key for key, _ in rows}) == len(rows) == 6 * CLAIMS_PER_SEGMENT
    claims = [unpack_claim(packed) for _, packed in split_segment(records[3].value)]
    assert {claim.appended_at_us for claim in claims} == {AT_US}
    offsets = [claim.offset for claim in claims]
    assert offsets == list(range(CLAIMS_PER_SEGMENT, 2 * CLAIMS_PER_SEGMENT))


def test_a_partition_names_the_last_of_its_segments() -> None:
    last = list(claims_segments(4, 2, AT_US, seed=1))[-2:]
    rows = list(progress_rows(4, 2))
    assert [row.partition for row in rows] == [record.partition for record in last]
    for row, record in zip(rows, last, strict=True):
        progress = decode_progress(row.value)
        assert progress.claims_segment.encode() == record.key
        assert progress.cycle == 4
        assert progress.next_sequence == 0


def test_every_customer_has_an_account_with_a_grant_in_its_partition() -> None:
    rows = list(account_rows(50, 8, AT_US))
    accounts = [decode_account(row.value) for row in rows]
    assert len({account.customer_id for account in accounts}) == 50
    for row, account in zip(rows, accounts, strict=True):
        assert row.key == account.customer_id.encode()
        assert row.partition == partition_of(row.key, 8)
        assert [grant.remaining for grant in account.grants] == [GRANTED_UNITS]
        assert account.events == 0
