"""Events straight onto Kafka's topics, with aiokafka: acknowledged by all replicas, idempotent,
partitioned by murmur2 (K1).

The one module of the client that needs more than Pydantic.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner

from schemas.client.kafka_access import Bootstrap, client_options
from schemas.client.sending import Later, Outcome, Spooled
from schemas.limits import RECORD_BYTES_MAX
from schemas.partitioner import partition_of

BATCH_BYTES_MAX: Final = 256 * 1024
"""A produce batch: some 600 records of usual size, and below what a topic takes at once."""

LINGER_MS: Final = 5
"""How long a batch waits for company: a pass hands over a thousand records at once."""

ACKNOWLEDGED_SECONDS: Final = 30.0
"""Within which all replicas acknowledge. A leader that died is replaced within seconds; after that
the producer is made anew and the same records are sent again."""

STOP_SECONDS: Final = 5.0
"""How long an old producer may take to go."""

_LATE: Final = Later(f"not acknowledged within {ACKNOWLEDGED_SECONDS:.0f} s")

_PROBES: Final = (b"acme", b"customer-17", "Zürich".encode(), b"\xf0\x9f\x92\xb6", b"1")


class KafkaSender:
    """Sends to the topics under a prefix, into a Kafka that asks who it is by a `KafkaAccess`.
    Other `options` go to AIOKafkaProducer: timeouts, sizes."""

    def __init__(
        self, bootstrap_servers: Bootstrap, topic_prefix: str = "tollgate.", **options: Any
    ) -> None:
        """Nothing is connected yet. Raises ValueError for options that would break a rule: the
        partitioner (K1), idempotence and acknowledgements are not a choice."""
        fixed = {"partitioner", "enable_idempotence", "acks", "transactional_id", "loop"}
        if fixed & options.keys():
            raise ValueError(f"not for you to choose: {', '.join(sorted(fixed & options.keys()))}")
        self._bootstrap = bootstrap_servers
        self._prefix = topic_prefix
        self._options = options
        self._producer: AIOKafkaProducer | None = None

    async def send(self, records: Sequence[Spooled]) -> Sequence[Outcome]:
        """Every record to the partition of its key; waits for all acknowledgements."""
        try:
            producer = self._producer = self._producer or await self._started()
        except (KafkaError, OSError) as error:
            return [Later(f"no broker answers: {type(error).__name__}")] * len(records)
        waiting: list[asyncio.Future[Any] | Later] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ACKNOWLEDGED_SECONDS):
                for record in records:
                    # Not a comprehension: what was begun counts when the time runs out.
                    waiting.append(await self._begin(producer, record))  # noqa: PERF401
                pending = [one for one in waiting if isinstance(one, asyncio.Future)]
                if pending:
                    await asyncio.wait(pending)
        outcomes = [_outcome(one) for one in waiting]
        outcomes += [_LATE] * (len(records) - len(waiting))
        if any(outcome is not None for outcome in outcomes):
            # Its sequence numbers may have a gap now; the broker would refuse what follows.
            await self.close()
        return outcomes

    async def _begin(
        self, producer: AIOKafkaProducer, record: Spooled
    ) -> "asyncio.Future[Any] | Later":
        try:
            future: asyncio.Future[Any] = await producer.send(
                self._prefix + record.topic, value=record.value, key=record.key
            )
        except KafkaError as error:
            return Later(f"the broker does not take it: {type(error).__name__}")
        # One that is given up on must not complain later that nobody looked at it.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        return future

    async def _started(self) -> AIOKafkaProducer:
        partitioner = DefaultPartitioner()
        everywhere = list(range(12))
        for probe in _PROBES:
            # What lies on a wrong partition is a dead letter, so rather nothing is sent.
            assert partitioner(probe, everywhere, everywhere) == partition_of(probe, 12), (
                "the partitioner of this aiokafka is not Kafka's murmur2"
            )
        producer = AIOKafkaProducer(
            enable_idempotence=True,
            acks="all",
            partitioner=partitioner,
            **{
                **client_options(self._bootstrap),
                "linger_ms": LINGER_MS,
                "max_batch_size": BATCH_BYTES_MAX,
                "max_request_size": 4 * RECORD_BYTES_MAX,
                **self._options,
            },
        )
        try:
            await producer.start()
        except BaseException:
            await _stopped(producer)
            raise
        return producer

    async def close(self) -> None:
        """Disconnects; what was not acknowledged is not waited for."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await _stopped(producer)


async def _stopped(producer: AIOKafkaProducer) -> None:
    """Stops a producer; one that hangs is left behind."""
    with contextlib.suppress(TimeoutError, KafkaError):
        await asyncio.wait_for(producer.stop(), STOP_SECONDS)


def _outcome(one: "asyncio.Future[Any] | Later") -> Later | None:
    if isinstance(one, Later):
        return one
    if not one.done():
        return _LATE
    if one.cancelled():
        return Later("the producer was stopped")
    error = one.exception()
    if error is not None:
        # Also one that says that a batch is too large: which event that would be it does not say.
        return Later(f"not acknowledged: {type(error).__name__}")
    # -1: an answer was lost and the broker says it knows the batch, but not where it stands.
    return None if one.result().offset >= 0 else Later("the broker does not say where it stands")
