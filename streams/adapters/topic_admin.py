"""Topics on the broker: created where they are missing, compared where they exist.

A topic that exists with other settings is an error that names the difference: silently living with
another partition count or timestamp type would break the books (K1, K5).
"""

from dataclasses import dataclass
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, for_code

from schemas.client.kafka_access import Bootstrap, client_options
from schemas.topics import TOPICS, Topic
from streams.adapters.kafka_trouble import kafka_trouble
from streams.errors import SetupError

REQUEST_TIMEOUT_MS: Final = 30_000
"""One administrative request; creating a dozen topics on a busy broker takes a few seconds."""

REPLICAS_FOR_ONE_LOST: Final = 3
"""From so many copies on, one broker may be lost and every write still has two."""

IN_SYNC_MIN: Final = "2"
"""Copies that have what is acknowledged (`acks=all`): the broker that fails next is not the only
one that had it. With three copies, one that is away stops nobody."""

_TOPIC_EXISTS: Final = 36
"""Kafka's error code TOPIC_ALREADY_EXISTS: somebody else was faster."""


@dataclass(frozen=True, slots=True)
class TopicReport:
    """What `ensure_topics` found and did. `ids` are the broker's ids by logical name."""

    created: tuple[str, ...]
    existing: tuple[str, ...]


async def ensure_topics(
    bootstrap: Bootstrap, prefix: str, partitions: int, replication_factor: int
) -> TopicReport:
    """Creates what is missing of `schemas.topics.TOPICS`; running it again changes nothing.

    Raises SetupError listing every difference of topics that exist, TransientError where the broker
    does not answer.
    """
    admin = AIOKafkaAdminClient(**client_options(bootstrap), request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        await admin.start()
        names = set(await admin.list_topics())
        missing = [topic for topic in TOPICS if topic.full_name(prefix) not in names]
        present = [topic for topic in TOPICS if topic.full_name(prefix) in names]
        differences = await _differences(admin, present, prefix, partitions, replication_factor)
        if differences:
            raise SetupError(
                "topics exist with other settings than this release needs:\n  "
                + "\n  ".join(differences),
                action="Give this installation a prefix of its own (TOLLGATE_TOPIC_PREFIX), or "
                "correct the topics' settings with Kafka's tools (kafka-configs.sh, and "
                "kafka-reassign-partitions.sh for copies); a partition count cannot be changed in "
                "place.",
            )
        await _create(admin, missing, prefix, partitions, replication_factor)
    except KafkaError as error:
        raise kafka_trouble(
            error,
            f"Kafka at {bootstrap} did not answer: {type(error).__name__}",
            action="Check that the broker runs and that TOLLGATE_KAFKA_BOOTSTRAP names it.",
        ) from error
    finally:
        await admin.close()
    return TopicReport(tuple(t.name for t in missing), tuple(t.name for t in present))


def topic_settings(topic: Topic, replication_factor: int) -> dict[str, str]:
    """The broker's settings of a topic of which there are so many copies."""
    if replication_factor < REPLICAS_FOR_ONE_LOST:
        return topic.config()
    return {
        **topic.config(),
        "min.insync.replicas": IN_SYNC_MIN,
        # A copy that lacks what was acknowledged must not become the log.
        "unclean.leader.election.enable": "false",
    }


async def _create(
    admin: AIOKafkaAdminClient,
    missing: list[Topic],
    prefix: str,
    partitions: int,
    replication_factor: int,
) -> None:
    if not missing:
        return
    response = await admin.create_topics(
        [
            NewTopic(
                topic.full_name(prefix),
                topic.partitions or partitions,
                replication_factor,
                topic_configs=topic_settings(topic, replication_factor),
            )
            for topic in missing
        ]
    )
    for name, code, *message in response.topic_errors:
        if code not in (0, _TOPIC_EXISTS):
            raise SetupError(
                f"topic {name} could not be created: {for_code(code).__name__} {message}",
                action="Check the broker's log and the rights of this client.",
            )


async def _differences(
    admin: AIOKafkaAdminClient,
    present: list[Topic],
    prefix: str,
    partitions: int,
    replication_factor: int,
) -> list[str]:
    if not present:
        return []
    by_name = {topic.full_name(prefix): topic for topic in present}
    found: list[str] = []
    for described in await admin.describe_topics(list(by_name)):
        topic = by_name[described["topic"]]
        due, actual = topic.partitions or partitions, len(described["partitions"])
        if actual != due:
            found.append(f"{described['topic']}: {actual} partitions, not {due}")
        copies = min(len(partition["replicas"]) for partition in described["partitions"])
        if copies < replication_factor:
            found.append(f"{described['topic']}: {copies} copies, not {replication_factor}")
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in by_name]
    for name, settings in _settings(await admin.describe_configs(resources)).items():
        for setting, due_value in topic_settings(by_name[name], replication_factor).items():
            if settings.get(setting) != due_value:
                found.append(f"{name}: {setting} is {settings.get(setting)}, not {due_value}")
    return sorted(found)


def _settings(responses: list[Any]) -> dict[str, dict[str, str]]:
    by_name: dict[str, dict[str, str]] = {}
    for response in responses:
        for _code, _message, _kind, name, entries in response.resources:
            by_name[name] = {entry[0]: entry[1] for entry in entries}
    return by_name
