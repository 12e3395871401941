"""Generations: one life of the topics each, and whether the topics are still the recorded ones
(K5).

A position (topic, partition, offset) means something only within one generation. Topics that were
deleted, restored or given another partition count would make old positions point at new records, so
that claims, offsets and sequences lied; any difference therefore stops whoever reads them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from schemas.structs import CatalogRecord, Generation, Restoration, replace


@dataclass(frozen=True, slots=True)
class TopicIdentity:
    """Which topic of its name this is: the broker's id, and its partition count."""

    topic_id: str
    partitions: int


def differences(
    generation: Generation, found: Mapping[str, TopicIdentity], customer_topics: frozenset[str]
) -> list[str]:
    """What differs between the recorded generation and the topics as they are, a line each.

    `found` and the record go by logical name; `customer_topics` are those whose partition count is
    the installation's. Empty where nothing differs.
    """
    lines = []
    for name, topic_id in sorted(generation.topic_ids.items()):
        topic = found.get(name)
        if topic is None:
            lines.append(f"{name}: the topic is gone")
        elif topic.topic_id != topic_id:
            lines.append(f"{name}: deleted and made anew (its id is {topic.topic_id})")
        elif name in customer_topics and topic.partitions != generation.partitions:
            lines.append(f"{name}: {topic.partitions} partitions, not {generation.partitions}")
    return lines


def start_offset(
    topic: str, previous: Generation | None, current: Generation, consumed: int | None
) -> int | None:
    """Where a partition begins to read a topic in a generation that it enters from `previous`.

    A topic that was not made anew goes on after what was consumed of it; any other begins at its
    beginning: None.
    """
    if previous is None or consumed is None:
        return None
    same = previous.topic_ids.get(topic) == current.topic_ids.get(topic)
    return consumed if same and topic in current.topic_ids else None


def restored(
    generations: Mapping[int, Generation], restoration: Restoration
) -> dict[int, Generation]:
    """Generations by number, once topics of the current one were made anew at their old offsets:
    wherever one of these topics is meant, its new id stands.

    Raises ValueError where the restoration is of another generation than the current one.
    """
    current = generations.get(max(generations, default=0))
    if current is None or current.generation != restoration.generation:
        raise ValueError(
            f"topics of generation {restoration.generation} were restored, the current one is "
            f"{'none' if current is None else current.generation}"
        )
    return {
        number: replace(
            one,
            topic_ids={
                name: restoration.topic_ids.get(name, topic_id)
                if topic_id == current.topic_ids.get(name)
                else topic_id
                for name, topic_id in one.topic_ids.items()
            },
        )
        for number, one in generations.items()
    }


def generations_of(records: Iterable[CatalogRecord]) -> dict[int, Generation]:
    """All generations of a catalog by number, with the ids that their topics have now."""
    found: dict[int, Generation] = {}
    for record in records:
        if isinstance(record, Generation):
            found[record.generation] = record
        elif isinstance(record, Restoration):
            found = restored(found, record)
    return found
