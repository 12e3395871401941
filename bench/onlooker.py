"""How far a contender is, asked of the broker and never of the contender: the same for all."""

from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from schemas.client.kafka_access import Bootstrap, client_options


class Onlooker:
    """Counts over all partitions of a topic. An async context manager; one for a whole run, so that
    a look costs the broker one small request."""

    def __init__(self, bootstrap: Bootstrap, partitions: int) -> None:
        self._partitions = partitions
        self._admin = AIOKafkaAdminClient(**client_options(bootstrap))
        self._consumer = AIOKafkaConsumer(**client_options(bootstrap), enable_auto_commit=False)

    async def __aenter__(self) -> Self:
        """Connect."""
        await self._admin.start()
        await self._consumer.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Disconnect."""
        await self._consumer.stop()
        await self._admin.close()

    async def written(self, topic: str) -> int:
        """Acknowledged records of a topic into which nobody writes in transactions."""
        ends: dict[TopicPartition, int] = await self._consumer.end_offsets(self._places(topic))
        return sum(ends.values())

    async def consumed(self, group: str, topic: str) -> int:
        """Records of a topic that a group has committed as consumed.

        Of a transaction they count once it is committed, and with it everything that it wrote.
        """
        commits: dict[TopicPartition, Any] = await self._admin.list_consumer_group_offsets(
            group, partitions=self._places(topic)
        )
        return sum(max(0, int(commit.offset)) for commit in commits.values())

    def _places(self, topic: str) -> list[TopicPartition]:
        return [TopicPartition(topic, number) for number in range(self._partitions)]
