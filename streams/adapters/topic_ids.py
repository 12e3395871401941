"""The broker's ids of topics, which tell a topic from another one that got the same name later.

Kafka gives them since version 10 of its Metadata request (KIP-516); aiokafka 0.14 speaks version 5,
so version 12 is declared here for aiokafka's own connection to send. Uses names of aiokafka that
are not public; tests/guard/test_private_names.py fails when one of them changes.
"""

import asyncio
from io import BytesIO
from typing import Any, Final
from uuid import UUID

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

from schemas.client.kafka_access import Bootstrap, client_options
from schemas.topics import TOPICS
from streams.adapters.kafka_trouble import kafka_trouble
from streams.domain.generations import TopicIdentity
from streams.errors import TransientError

UNKNOWN_TOPIC: Final = 3
"""Kafka's error code UNKNOWN_TOPIC_OR_PARTITION."""

REQUEST_TIMEOUT_MS: Final = 10_000
"""One look at the topics; it takes milliseconds, and a worker waits for it at each assignment."""

KNOWN_SECONDS_MAX: Final = 30.0
"""How long a broker may take until it knows of a topic that it made: moments, unless it is busy."""

KNOWN_POLL_SECONDS: Final = 0.05
"""Between two looks at whether it does."""

NO_ID: Final = UUID(int=0)
"""What stands for "by name" in the request."""


class Uuid:
    """Sixteen bytes, as Kafka writes them; aiokafka has no such type."""

    @classmethod
    def encode(cls, value: UUID) -> bytes:
        """The bytes of an id."""
        return value.bytes

    @classmethod
    def decode(cls, stream: BytesIO) -> UUID:
        """The next id of a stream."""
        return UUID(bytes=stream.read(16))

    @classmethod
    def repr(cls, value: UUID) -> str:
        """An id as text."""
        return str(value)


class MetadataResponseV12(Response):  # type: ignore[misc]  # aiokafka has no types
    """Brokers, and topics with their ids."""

    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString("utf-8")),
                ("topic_id", Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class MetadataRequestV12(RequestStruct):  # type: ignore[misc]
    """Asks for topics by name; none is created by asking."""

    API_KEY = 3
    API_VERSION = 12
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = MetadataResponseV12
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("topic_id", Uuid), ("name", CompactString("utf-8")), ("tags", TaggedFields)
            ),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _MetadataRequest(Request[MetadataRequestV12]):  # type: ignore[misc]
    API_KEY = 3

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def build(self, request_struct_class: type[MetadataRequestV12]) -> MetadataRequestV12:
        topics: list[tuple[UUID, str, dict[int, bytes]]] = [
            (NO_ID, name, {}) for name in self._names
        ]
        return request_struct_class(topics, False, False, {})


async def topic_identities(bootstrap: Bootstrap, prefix: str) -> dict[str, TopicIdentity]:
    """The id and the partition count of each topic of the installation that exists, by logical
    name.

    Raises TransientError where the broker does not answer.
    """
    names = {topic.full_name(prefix): topic.name for topic in TOPICS}
    admin = AIOKafkaAdminClient(**client_options(bootstrap), request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        await admin.start()
        response: Any = await admin._send_request(_MetadataRequest(list(names)))
        found = {}
        for code, name, topic_id, _internal, partitions, *_ in response.topics:
            if code == UNKNOWN_TOPIC:
                continue
            if code:
                raise for_code(code)(name)
            found[names[name]] = TopicIdentity(str(topic_id), len(partitions))
        return found
    except KafkaError as error:
        raise kafka_trouble(
            error,
            f"Kafka at {bootstrap} does not say which topics it has: {type(error).__name__}",
            action="Check that the broker runs and that TOLLGATE_KAFKA_BOOTSTRAP names it.",
        ) from error
    finally:
        await admin.close()


async def all_identities(bootstrap: Bootstrap, prefix: str) -> dict[str, TopicIdentity]:
    """What `topic_identities` says, as soon as it says it of every topic: for somebody who has just
    created them. A broker that is busy answers before it knows of them itself.

    Raises TransientError, also where a topic stays unknown.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + KNOWN_SECONDS_MAX
    while True:
        found = await topic_identities(bootstrap, prefix)
        unknown = [topic.full_name(prefix) for topic in TOPICS if topic.name not in found]
        if not unknown:
            return found
        if loop.time() > deadline:
            raise TransientError(
                f"Kafka at {bootstrap} does not know of topics that were created: "
                + ", ".join(unknown),
                action="Look at the broker's log, then run the command again.",
            )
        await asyncio.sleep(KNOWN_POLL_SECONDS)
