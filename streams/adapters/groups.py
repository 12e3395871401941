"""Consumer groups, looked at from outside."""

from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from schemas.client.kafka_access import Bootstrap, client_options
from streams.adapters.kafka_trouble import kafka_trouble


async def group_members(bootstrap: Bootstrap, group: str) -> int:
    """How many processes are members of a group now; 0 for a group that nobody knows.

    Raises TransientError where the broker does not answer.
    """
    admin = AIOKafkaAdminClient(**client_options(bootstrap))
    try:
        await admin.start()
        responses: list[Any] = await admin.describe_consumer_groups([group])
    except KafkaError as error:
        raise kafka_trouble(
            error,
            f"Kafka does not say who is in group {group}: {type(error).__name__}: {error}",
            action="Check that the broker runs, then try again.",
        ) from error
    finally:
        await admin.close()
    described = [entry for response in responses for entry in response.to_object()["groups"]]
    return sum(len(entry["members"]) for entry in described)
