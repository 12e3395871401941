"""streams.adapters.owners: in whatever order announcements arrive, the newest lease holds."""

import itertools
import logging

import pytest

from schemas import codec
from schemas.structs import Owner
from streams.adapters.owners import OwnerDirectory


def owner(lease: int, generation: int = 1, partition: int = 0, nonce: str = "0" * 16) -> Owner:
    return Owner(
        schema_version=1,
        partition=partition,
        generation=generation,
        address=f"127.0.0.1:{lease}",
        lease=lease,
        nonce=nonce,
        since=lease,
    )


def directory() -> OwnerDirectory:
    return OwnerDirectory("127.0.0.1:1", "")


def test_the_newest_lease_holds_in_every_order() -> None:
    records = [owner(5), owner(9), owner(7), owner(2, generation=2)]
    for order in itertools.permutations(records):
        followed = directory()
        for record in order:
            followed.fold(codec.encode(record))
        assert followed.owner_of(0) == owner(2, generation=2)


def test_a_lower_lease_of_the_same_generation_never_replaces_a_higher_one() -> None:
    followed = directory()
    followed.fold(codec.encode(owner(9)))
    followed.fold(codec.encode(owner(8)))
    assert followed.owner_of(0) == owner(9)


def test_the_same_lease_said_again_holds_as_it_was_said_last() -> None:
    # A log that was cut gives offsets out again; only the topic's own order tells which is newer.
    followed = directory()
    followed.fold(codec.encode(owner(9)))
    followed.fold(codec.encode(owner(9, nonce="1" * 16)))
    assert followed.owner_of(0) == owner(9, nonce="1" * 16)


def test_partitions_do_not_touch_each_other() -> None:
    followed = directory()
    followed.fold(codec.encode(owner(9, partition=0)))
    followed.fold(codec.encode(owner(1, partition=1)))
    assert followed.owner_of(1) == owner(1, partition=1)
    assert followed.owner_of(2) is None


@pytest.mark.parametrize("junk", [None, b"", b"{", b"null", b"[]", b'{"partition":0}', b"\xff"])
def test_a_record_that_is_none_is_passed_over_with_a_warning(
    junk: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    followed = directory()
    followed.fold(codec.encode(owner(9)))
    with caplog.at_level(logging.WARNING):
        followed.fold(junk)
    assert followed.owner_of(0) == owner(9)
    assert "passed over" in caplog.text


def test_an_owner_record_is_keyed_by_its_partition_alone() -> None:
    assert codec.owner_key(7) == b"7"
