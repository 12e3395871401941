"""The worker on the real broker: bad input beside good, every codec, aborted batches, kill -9."""

import asyncio
import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from schemas.errors import RejectCode
from schemas.limits import EVENT_BYTES_MAX
from schemas.partitioner import partition_of
from schemas.structs import CycleEntry, GrantEntry, LedgerEntry, UsageEntry
from schemas.times import format_time
from schemas.topics import BUDGETS, SIGNALS, USAGE
from streams.embedded.endpoints import Endpoints
from tests.builders import json_of
from tests.embedded_waiting import until
from tests.installation import WAIT_SECONDS, Installation

CODECS = (None, "gzip", "snappy", "lz4", "zstd")
CUSTOMER = "acme"
KILLS = 3


def event(event_id: str, customer: str = CUSTOMER, **fields: Any) -> bytes:
    return json_of(customer, event_id, {"units": 1} | fields)


def usage_entries(ledger: list[list[LedgerEntry]]) -> list[UsageEntry]:
    return [e for part in ledger for e in part if isinstance(e, UsageEntry)]


def cycle_entries(ledger: list[list[LedgerEntry]]) -> list[CycleEntry]:
    return [e for part in ledger for e in part if isinstance(e, CycleEntry)]


@pytest.fixture
def installation(endpoints: Endpoints, topic_prefix: str, tmp_path: Path) -> Any:
    with Installation.create(endpoints, topic_prefix, tmp_path / "home") as made:
        yield made


def bad_records() -> list[tuple[RejectCode, bytes]]:
    """A record for each reason that bytes can give, with the code it must get."""
    good = json.loads(event("bad"))
    aged = good | {"event_id": "old", "occurred_at": "2001-01-01T00:00:00Z"}
    ahead = good | {"event_id": "ahead", "occurred_at": format_time(4_000_000_000_000_000)}
    return [
        (RejectCode.MALFORMED, b"{not json"),
        (RejectCode.MALFORMED, b"[1, 2]"),
        (RejectCode.MALFORMED, b"\xff\xfe\x00"),
        (RejectCode.UNKNOWN_VERSION, json.dumps(good | {"schema_version": 2}).encode()),
        (RejectCode.UNKNOWN_FIELD, json.dumps(good | {"unit": 1}).encode()),
        (RejectCode.INVALID_FIELD, json.dumps(good | {"units": -1}).encode()),
        (RejectCode.INVALID_FIELD, json.dumps(good | {"cost": "NaN"}).encode()),
        (RejectCode.INVALID_FIELD, json.dumps(good | {"cost": "-0.1"}).encode()),
        (RejectCode.INVALID_FIELD, json.dumps(good | {"cost": 0.1}).encode()),
        (RejectCode.OVERSIZED, b'{"x":"' + b"x" * EVENT_BYTES_MAX + b'"}'),
        (RejectCode.OVERSIZED, b"y" * 900_000),
        (RejectCode.WRONG_KEY, event("other", customer="somebody else")),
        (RejectCode.TOO_OLD, json.dumps(aged).encode()),
        (RejectCode.IN_FUTURE, json.dumps(ahead).encode()),
    ]


def test_bad_records_become_dead_letters_and_their_neighbours_are_billed(
    installation: Installation,
) -> None:
    bad = bad_records()
    mixed = [value for n, (_, value) in enumerate(bad) for value in (event(f"good-{n}"), value)]
    installation.produce(USAGE.name, mixed, key=CUSTOMER, max_request_size=2_000_000)
    other = 1 - partition_of(CUSTOMER.encode(), 2)
    installation.produce(USAGE.name, [event("astray")], key=CUSTOMER, partition=other)
    installation.produce(USAGE.name, [event("keyless")], key=None, partition=0)
    conflict = [event("good-0", units=2), event("good-1")]
    installation.produce(USAGE.name, conflict, key=CUSTOMER)
    worker = installation.start_worker()
    installation.wait_consumed()

    letters = installation.dead_letters()
    expected = {code for code, _ in bad} | {RejectCode.WRONG_PARTITION, RejectCode.CONFLICT}
    assert {letter.code for letter in letters} == expected
    kept = {(letter.code, b64decode(letter.record_value or "")) for letter in letters}
    assert set(bad) <= kept, "a dead letter carries the original bytes"
    ledger = installation.entries()
    ids = sorted(entry.event_id for entry in usage_entries(ledger))
    assert ids == sorted(f"good-{n}" for n in range(len(bad)))
    cycles = cycle_entries(ledger)
    assert sum(cycle.duplicates for cycle in cycles) == 1
    assert sum(cycle.conflicts for cycle in cycles) == 1
    assert sum(cycle.dead_letters for cycle in cycles) == len(letters)
    assert worker.poll() is None, "no bad record stops a worker"


def test_every_codec_is_read_and_an_aborted_transaction_is_not(installation: Installation) -> None:
    for codec in CODECS:
        installation.produce(
            USAGE.name, [event(f"by-{codec}")], key=CUSTOMER, compression_type=codec
        )
    asyncio.run(produce_transactions(installation))
    installation.produce(USAGE.name, [event("last")], key=CUSTOMER)
    installation.start_worker()
    installation.wait_consumed()

    ledger = installation.entries()
    ids = [entry.event_id for entry in usage_entries(ledger)]
    assert ids == [*(f"by-{codec}" for codec in CODECS), "committed", "last"]
    assert installation.dead_letters() == []


async def produce_transactions(installation: Installation) -> None:
    settings = installation.settings
    async with AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap, transactional_id=f"{settings.app_id}-producer"
    ) as producer:
        partition = partition_of(CUSTOMER.encode(), settings.partitions)
        for event_id in ("aborted", "committed", "aborted-too"):
            await producer.begin_transaction()
            await producer.send_and_wait(
                settings.topic_prefix + USAGE.name,
                event(event_id),
                key=CUSTOMER.encode(),
                partition=partition,
            )
            if event_id == "committed":
                await producer.commit_transaction()
            else:
                await producer.abort_transaction()


def test_grants_come_before_usage_and_signals_are_entries_of_their_own(
    installation: Installation,
) -> None:
    grant = json_of(CUSTOMER, "g1", {"denomination": "usd", "amount": "0.5"})
    installation.produce(USAGE.name, [event("u1", units=1500, cost="0.2")], key=CUSTOMER)
    installation.produce(SIGNALS.name, [json_of(CUSTOMER, "s1", {"name": "won"})], key=CUSTOMER)
    installation.produce(BUDGETS.name, [grant], key=CUSTOMER)
    installation.start_worker()
    installation.wait_consumed()

    partition = partition_of(CUSTOMER.encode(), 2)
    lease, *ledger = installation.entries()[partition]
    assert isinstance(lease, CycleEntry)
    assert lease.leases == 1, "an owner begins with its lease"
    assert [type(entry).__name__ for entry in ledger] == [
        "CycleEntry", "GrantEntry", "GrantEntry", "SignalEntry", "UsageEntry",
    ]  # fmt: skip
    plan, granted = (entry for entry in ledger if isinstance(entry, GrantEntry))
    (usage,) = (entry for entry in ledger if isinstance(entry, UsageEntry))
    assert usage.covered_units == 1000
    assert usage.covered_usd == "0.2"
    assert [(burn.grant_id, burn.amount) for burn in usage.burns] == [
        (plan.entry_id, "1000"),
        (granted.entry_id, "0.2"),
    ]


def test_kill_9_in_mid_load_loses_and_doubles_nothing(installation: Installation) -> None:
    customers = [f"c{n}" for n in range(20)]
    sent = 0
    for batch in range(KILLS):
        for customer in customers:
            values = [event(f"{batch}-{n}", customer=customer) for n in range(100)]
            installation.produce(USAGE.name, [*values, values[0]], key=customer)
            sent += len(values)
        worker = installation.start_worker(cycle_records_max=50)
        wait_for_cycles(installation, more_than=4 * batch)
        worker.kill()
        worker.wait()
    # The last one has lost its disk as well: everything comes from the changelogs.
    installation.start_worker(state="another-disk")
    installation.wait_consumed()

    ledger = installation.entries()
    billed = [(entry.customer_id, entry.event_id) for entry in usage_entries(ledger)]
    assert len(billed) == sent
    assert len(set(billed)) == sent
    for part in ledger:
        assert [entry.sequence for entry in part] == list(range(len(part)))
    assert sum(cycle.duplicates for cycle in cycle_entries(ledger)) == KILLS * len(customers)


def wait_for_cycles(installation: Installation, more_than: int) -> None:
    """Returns in the middle of things: some cycles are committed, others are on their way."""

    def found() -> int:
        assert all(worker.poll() is None for worker in installation.workers[-1:])
        return len(cycle_entries(installation.entries()))

    until(
        lambda: found() > more_than,
        lambda: f"more than {more_than} cycles, but {found()}",
        WAIT_SECONDS,
    )


def test_two_workers_share_the_partitions_and_one_takes_over(installation: Installation) -> None:
    installation.produce(USAGE.name, [event("1", customer="a"), event("2", customer="a")], key="a")
    first = installation.start_worker("first")
    installation.wait_consumed()
    second = installation.start_worker("second")
    for n in range(3, 40):
        customer = f"c{n}"
        installation.produce(USAGE.name, [event(str(n), customer=customer)], key=customer)
    installation.wait_consumed()
    assert installation.stop(first) == 0
    installation.produce(USAGE.name, [event("2", customer="a"), event("9", customer="a")], key="a")
    installation.wait_consumed()
    billed = [
        (entry.customer_id, entry.event_id) for entry in usage_entries(installation.entries())
    ]
    assert len(billed) == len(set(billed)) == 2 + 37 + 1
    assert second.poll() is None
    assert "fenced partitions [0, 1]" in installation.log_text("second")


def test_a_second_worker_on_the_same_state_directory_is_refused(installation: Installation) -> None:
    installation.produce(USAGE.name, [event("1")], key=CUSTOMER)
    first = installation.start_worker()
    installation.wait_consumed()
    second = installation.start_worker()
    assert second.wait(60) == 2
    assert f"worker with pid {first.pid}" in installation.log_text()
