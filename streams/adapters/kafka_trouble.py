"""What an error of Kafka's client means to whoever runs the process."""

from typing import Final

from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from schemas.client.kafka_access import Bootstrap
from streams.errors import RightsError, SetupError, TransientError

RIGHTS: Final = (
    TopicAuthorizationFailedError,
    GroupAuthorizationFailedError,
    ClusterAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)


GIVE_RIGHTS: Final = (
    "Give the user the rights of its role: `tollgate topics acls --role ROLE --user USER --apply`, "
    "as a super user of Kafka (docs/kafka-security.md)."
)


def kafka_trouble(error: KafkaError, message: str, *, action: str) -> SetupError | TransientError:
    """A wrong setup where the user lacks a right, since nothing gets better by trying again; else
    something that passes, with this message and action."""
    if isinstance(error, RIGHTS):
        return RightsError(
            f"{message} (this user of Kafka lacks a right)",
            action=GIVE_RIGHTS,
        )
    return TransientError(message, action=action)


def no_topic(bootstrap: Bootstrap, name: str) -> SetupError:
    """A topic that is not in the list. Kafka leaves out what a user may not see."""
    create = "Run `tollgate topics create`."
    if isinstance(bootstrap, str):
        return SetupError(f"there is no topic {name}", action=create)
    return RightsError(
        f"there is no topic {name}, or this user of Kafka may not see it",
        action=f"{create} {GIVE_RIGHTS}",
    )
