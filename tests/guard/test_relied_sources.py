"""Behaviour of Faust and aiokafka that is relied on, not only names: the source of each function
is the one that was read.

An upgrade changes a digest here before it loses an event. For each function that fails: read its
new source against what the comment beside it says we rely on, change the adapter where it needs it,
run `make soak`, and only then put in the new digest (the failure shows it).
"""

import hashlib
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka.consumer import AIOKafkaConsumer
from aiokafka.consumer.fetcher import Fetcher, FetchResult, PartitionRecords
from aiokafka.producer import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder, MessageAccumulator
from faust.app.base import App
from faust.stores.rocksdb import Store as RocksDBStore
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.transport.consumer import Consumer
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from mode.worker import Worker

RELIED_ON: list[tuple[Callable[..., Any], str]] = [
    # Recovery runs before the streams' seek, ends by our signal, and seeks both kinds of table.
    (Recovery._restart_recovery.fun, "59c2f1e87c6fdc8e"),
    (Recovery.on_recovery_completed, "2835f40bae1d8c71"),
    (Recovery._resume_streams, "60cc8b191fe8b649"),
    (Recovery._build_highwaters, "f8fcd07879aca7ba"),
    (Recovery._build_offsets, "c81215b6f1628a8c"),
    (Recovery._seek_offsets, "6480755700291f9c"),
    (Recovery.on_rebalance, "f35254bedcebd386"),
    (Recovery.need_recovery, "01a3211d5101cc06"),
    # What is revoked is paused and given up before the next assignment; tables follow it.
    (App._on_partitions_assigned, "70e1f11219628b5a"),
    (App._on_partitions_revoked, "99aa6ba163476c6f"),
    (TableManager.on_rebalance, "adc79c5ca296bb0d"),
    (TableManager.on_partitions_revoked, "4bb3e67d7d9e557f"),
    (RocksDBStore.on_rebalance, "90d5fba644175714"),
    (RocksDBStore.persisted_offset, "0a366211daed6bc3"),
    # Committed offsets are read here and nowhere else; records come as whole runs.
    (Consumer.perform_seek, "907234e153925494"),
    (Consumer._wait_next_records, "7d5a17ddae3fee8f"),
    # A position moves past markers and aborted batches; a seek throws fetched records away.
    (Fetcher.fetched_records, "6432ce7f8eab840c"),
    (AIOKafkaConsumer.seek, "70169bc9359c1467"),
    # The consumer is started with its thread, before it has partitions; the fetch returns early
    # while the flow is stopped, and gives back what `fetched_records` gives.
    (AIOKafkaConsumerThread.on_start, "12c5c1cb30e3dbe4"),
    (AIOKafkaConsumerThread._fetch_records, "dcc2d96f49713c19"),
    # Which batches count is decided by these, between `next_batch` and iterating over it; a run
    # is one record to them, of which they read no more than its offset and its fields.
    (Fetcher._proc_fetch_request, "51e66543d787a186"),
    (FetchResult.getall, "cad8ce912d89c1e1"),
    (FetchResult.check_assignment, "4675ae771fd6ab00"),
    (PartitionRecords._unpack_records, "a2153689239f3325"),
    (PartitionRecords._consume_aborted_up_to, "927a7d1a8307db6b"),
    (PartitionRecords._consumer_record, "17c95ccc47b0369c"),
    # Between a batch and its C builder lies a count and nothing else; a closed one is sent as is.
    (BatchBuilder.append, "0cea41147d44e9e0"),
    (BatchBuilder.close, "75a9801935fe55f9"),
    (BatchBuilder._build, "eae1c3712e2ce1da"),
    (MessageAccumulator.create_builder, "3e644f8673b252b2"),
    (MessageAccumulator.add_batch, "fbd44632605b4630"),
    # Everything has stopped when these are called, in this order; nothing else follows them.
    (Worker._shutdown_loop, "0edbfd9e14679625"),
    (Worker._gather_all, "9595c79de7682982"),
    (Worker._sentinel_task, "d169a8e2ddb5db4e"),
    # start() fences; commit does not look at failed batches, so each future is awaited.
    (AIOKafkaProducer.start, "b2ebe3232e1f67ae"),
    (AIOKafkaProducer.send_batch, "343edc615192d17f"),
    (AIOKafkaProducer.send_offsets_to_transaction, "e0ef841647a1e127"),
    (AIOKafkaProducer.commit_transaction, "b58152eecd1b1a96"),
]


def digest(function: Callable[..., Any]) -> str:
    """The first half of a digest of a function's source."""
    return hashlib.blake2b(inspect.getsource(function).encode(), digest_size=8).hexdigest()


@pytest.mark.parametrize(
    ("function", "read"), RELIED_ON, ids=lambda value: getattr(value, "__qualname__", value)
)
def test_the_function_is_the_one_that_was_read(function: Callable[..., Any], read: str) -> None:
    assert digest(function) == read, f"{function.__qualname__} is another one; read it"
