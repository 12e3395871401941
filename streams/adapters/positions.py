"""How far the inbound topics are: where they end, and how far the workers' group has committed.

For onlookers (the demo, a lag display), never for deciding anything.
"""

from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from schemas.client.kafka_access import Bootstrap, client_options
from schemas.topics import PRODUCED
from streams.adapters.groups import group_offsets
from streams.adapters.kafka_trouble import kafka_trouble
from streams.errors import SetupError, TransientError


class InboundPositions:
    """Positions by (logical topic, partition). Use as an async context manager."""

    def __init__(self, bootstrap: Bootstrap, prefix: str, group: str, partitions: int) -> None:
        """`group` is the consumer group of the workers; it is looked at, never joined."""
        self._group = group
        self._places = {
            TopicPartition(topic.full_name(prefix), partition): (topic.name, partition)
            for topic in PRODUCED
            for partition in range(partitions)
        }
        self._consumer = AIOKafkaConsumer(**client_options(bootstrap), enable_auto_commit=False)
        self._admin = AIOKafkaAdminClient(**client_options(bootstrap))

    async def end_offsets(self) -> dict[tuple[str, int], int]:
        """The offset after the last record of each place. Raises TransientError."""
        try:
            ends = await self._consumer.end_offsets(list(self._places))
        except KafkaError as error:
            raise _unanswered(error) from error
        return {self._places[place]: int(offset) for place, offset in ends.items()}

    async def committed(self) -> dict[tuple[str, int], int]:
        """Up to where the group has committed; a place without a commit is missing.

        Raises TransientError.
        """
        try:
            commits = await group_offsets(self._admin, self._group, self._places)
        except KafkaError as error:
            raise _unanswered(error) from error
        return {self._places[place]: offset for place, offset in commits.items() if offset >= 0}

    async def __aenter__(self) -> Self:
        """Connect."""
        try:
            await self._consumer.start()
            await self._admin.start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Disconnect."""
        await self._admin.close()
        await self._consumer.stop()


async def end_offsets(bootstrap: Bootstrap, topic: str, partitions: int) -> list[int]:
    """The offset after the last record or marker of each partition of a topic (its full name).

    Raises TransientError where the broker does not answer.
    """
    consumer = AIOKafkaConsumer(**client_options(bootstrap), enable_auto_commit=False)
    try:
        await consumer.start()
        places = [TopicPartition(topic, partition) for partition in range(partitions)]
        ends = await consumer.end_offsets(places)
    except KafkaError as error:
        raise _unanswered(error) from error
    finally:
        await consumer.stop()
    return [int(ends[place]) for place in places]


def _unanswered(error: KafkaError) -> SetupError | TransientError:
    return kafka_trouble(
        error,
        f"Kafka does not say how far its topics are: {type(error).__name__}: {error}",
        action="Read the log of the broker, then try again.",
    )
