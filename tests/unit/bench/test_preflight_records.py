"""streams.bench.preflight_records: the load records what it says, and a record that is not counted
exactly once is found."""

import pytest

from schemas import codec
from schemas.structs import UsageEntry
from streams.bench.preflight_books import DecisionBooks
from streams.bench.preflight_plan import IN_WORKER, OVER_HOP, USUAL, targets
from streams.bench.preflight_records import USED_UNITS, Recorders

CUSTOMERS = ["bench-00-00", "bench-00-01"]


def recorders() -> Recorders:
    return Recorders("07", CUSTOMERS, partitions=4)


def books(*customers: str) -> DecisionBooks:
    """A ledger with a usage entry of each of these customers, one after the other."""
    made = DecisionBooks()
    for sequence, customer in enumerate(customers):
        entry = UsageEntry(
            schema_version=1,
            entry_id=f"e{sequence}",
            generation=1,
            partition=0,
            sequence=sequence,
            cycle=1,
            decided_at=0,
            topic="usage",
            source_offset=sequence,
            entry_index=0,
            appended_at=0,
            occurred_at=0,
            customer_id=customer,
            source="bench",
            event_id=f"u{sequence}",
            units=USED_UNITS,
        )
        made.take(0, b"", codec.encode(entry), 0)
    return made


def test_a_record_is_whole_and_the_same_when_it_is_sent_again() -> None:
    load = recorders()
    for number in (0, 1, 999_999):
        head, _, body = load.record(number).partition(b"\r\n\r\n")
        assert head.startswith(b"POST /v1/records HTTP/1.1\r\n")
        assert b"content-length: %d" % len(body) in head
        fact = codec.decode_usage(body)
        assert (fact.customer_id, fact.units) == (CUSTOMERS[number % 2], USED_UNITS)
    assert load.record(5) == load.record(5) != load.record(6)


def test_what_is_not_decided_is_sent_again() -> None:
    load = recorders()
    for number, status in enumerate((200, 202, 503, 0, 200)):
        load.take_record(number, status, b"{}")
    assert load.unrecorded(6) == [1, 2, 3, 5]


@pytest.mark.parametrize(
    ("ledger", "wrong"), [((0, 1), 0), ((0,), 1), ((0, 1, 1), 1), ((), 2)], ids=str
)
def test_what_is_lost_or_counted_twice_is_found(ledger: tuple[int, ...], wrong: int) -> None:
    load = recorders()
    for number in range(2):
        load.take_record(number, 200, b"{}")
    assert load.miscounted(books("other", *(CUSTOMERS[at] for at in ledger))) == wrong


def test_what_is_left_is_known_within_300_ms() -> None:
    due = [
        {label: str(target) for label, target in targets(topology, scenario).items()}
        for topology in (IN_WORKER, OVER_HOP)
        for scenario in USUAL
        if scenario.records
    ]
    assert due == 4 * [{"p99": "≤ 300"}]
