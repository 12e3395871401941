"""The private names that the batch adapter relies on: an upgrade that changes one fails here,
loudly.

Decision 005 says what is replaced and why; the versions are pinned in requirements/base.txt.
"""

import inspect
from importlib.metadata import version

import pytest
from aiokafka.consumer import AIOKafkaConsumer
from aiokafka.consumer.fetcher import Fetcher, FetchResult, PartitionRecords
from aiokafka.consumer.subscription_state import TopicPartitionState
from aiokafka.producer import AIOKafkaProducer
from aiokafka.producer.message_accumulator import (
    BatchBuilder,
    DefaultRecordBatchBuilder,
    MessageAccumulator,
)
from aiokafka.producer.sender import Sender, SendProduceReqHandler
from aiokafka.producer.transaction_manager import TransactionManager
from aiokafka.record.memory_records import MemoryRecords
from faust.stores.rocksdb import Store as RocksDBStore
from faust.tables.base import Collection
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.transport.consumer import Consumer, ThreadDelegateConsumer
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from faust.transport.drivers.aiokafka import Consumer as DriverConsumer
from mode.services import ServiceTask

VERSIONS = {"faust-streaming": "0.15.3", "aiokafka": "0.14.0", "mode-streaming": "0.7.1"}

METHODS = [
    (DriverConsumer, "_new_consumer_thread"),
    (DriverConsumer, "on_partitions_assigned"),
    (DriverConsumer, "on_partitions_revoked"),
    (DriverConsumer, "perform_seek"),
    (DriverConsumer, "_wait_next_records"),
    (DriverConsumer, "_drain_messages"),
    (ThreadDelegateConsumer, "_seek"),
    (AIOKafkaConsumerThread, "_create_worker_consumer"),
    (AIOKafkaConsumerThread, "_fetch_records"),
    (AIOKafkaConsumerThread, "on_start"),
    (Recovery, "on_rebalance"),
    (Recovery, "need_recovery"),
    (Recovery, "_build_highwaters"),
    (Recovery, "_seek_offsets"),
    (Recovery, "_set_recovery_ended"),
    (Collection, "_new_store"),
    (RocksDBStore, "_db_for_partition"),
    (RocksDBStore, "persisted_offset"),
    (RocksDBStore, "_open_for_partition"),
    (RocksDBStore, "partition_path"),
]


@pytest.mark.parametrize(("package", "pinned"), VERSIONS.items())
def test_the_version_is_the_one_whose_private_names_were_read(package: str, pinned: str) -> None:
    assert version(package) == pinned, "read the adapter against the new source, then change this"


@pytest.mark.parametrize(
    ("owner", "name"), METHODS, ids=lambda value: getattr(value, "__name__", value)
)
def test_the_method_that_is_overridden_or_called_exists(owner: type, name: str) -> None:
    assert callable(getattr(owner, name))


def test_reading_changelogs_is_a_task_of_the_recovery_service() -> None:
    # If it were renamed, Faust would read changelogs beside us and apply records twice.
    assert isinstance(inspect.getattr_static(Recovery, "_slurp_changelogs"), ServiceTask)


def test_the_consumer_keeps_what_we_read_of_its_state() -> None:
    source = inspect.getsource(Consumer.__init__)
    for name in ("_read_offset", "_committed_offset"):
        assert name in source
    assert "_recovery" in inspect.getsource(TableManager)
    assert "_changelogs" in inspect.getsource(TableManager)


def test_aiokafka_builds_its_fetcher_from_the_attributes_that_we_set() -> None:
    source = inspect.getsource(AIOKafkaConsumer.start)
    assert "self._isolation_level" in source
    assert "self._fetch_max_wait_ms" in source
    assert {"position", "has_valid_position"} <= set(dir(TopicPartitionState))
    assert "self.lso = None" in inspect.getsource(TopicPartitionState.__init__)
    assert "self._subscriptions = subscriptions" in inspect.getsource(Fetcher.__init__)


def test_fetched_batches_are_where_they_are_replaced() -> None:
    assert "self._records = collections.OrderedDict()" in inspect.getsource(Fetcher.__init__)
    assert "self._records[tp] = FetchResult(" in inspect.getsource(Fetcher._proc_fetch_request)
    assert "self._partition_records = partition_records" in inspect.getsource(FetchResult.__init__)
    source = inspect.getsource(PartitionRecords.__init__)
    assert "self._records = records" in source
    assert "self.next_fetch_offset = fetch_offset" in source


def test_a_batch_that_is_sent_is_where_it_is_filled() -> None:
    source = inspect.getsource(BatchBuilder.__init__)
    assert "self._builder = DefaultRecordBatchBuilder(" in source
    assert "self._relative_offset = 0" in source


@pytest.mark.parametrize("used", [MemoryRecords, DefaultRecordBatchBuilder])
def test_batches_are_packed_and_unpacked_in_c(used: type) -> None:
    # In Python the same takes a hundred times as long; nobody would see why.
    assert used.__module__.startswith("aiokafka.record._crecords")


async def test_a_producer_takes_an_identity_that_it_is_given_before_its_start() -> None:
    # The lease's producer appends under the epoch of a transactional id that it does not use.
    producer = AIOKafkaProducer(enable_idempotence=True)
    try:
        identity = producer._txn_manager
        assert isinstance(identity, TransactionManager)
        assert not identity.has_pid()
        identity.set_pid_and_epoch(7, 3)
        assert (identity.has_pid(), identity.producer_id, identity.producer_epoch) == (True, 7, 3)
        assert identity.transactional_id is None
    finally:
        await producer.stop()
    assert "self._txn_manager.has_pid()" in inspect.getsource(Sender._maybe_wait_for_pid)
    source = inspect.getsource(MessageAccumulator._pop_batch)
    assert "producer_epoch=self._txn_manager.producer_epoch" in source


def test_a_transaction_that_adds_a_partition_without_a_record_is_ended_at_the_broker() -> None:
    # A restored topic gets the offset of a marker that way where no record goes along.
    source = inspect.getsource(TransactionManager.maybe_add_partition_to_txn)
    assert "self._pending_txn_partitions.add(tp)" in source
    source = inspect.getsource(Sender._maybe_do_transactional_request)
    assert source.index("partitions_to_add()") < source.index("needs_transaction_commit()")


def test_a_sequence_that_the_broker_knows_comes_back_as_a_success() -> None:
    # That is why an append without an offset counts as unknown.
    source = inspect.getsource(SendProduceReqHandler.handle_response)
    assert "elif error is DuplicateSequenceNumber:" in source
    assert source.count("batch.done(offset, timestamp, log_start_offset)") == 2
