"""Generations of the topics: recorded in the catalog, compared with the broker before anybody reads
or writes, and begun anew by a command (K5)."""

from dataclasses import dataclass
from typing import Final

from schemas.envelope import SCHEMA_VERSION
from schemas.structs import Generation
from schemas.topics import CATALOG, TOPICS
from streams.adapters.catalog import append_catalog, read_catalog
from streams.adapters.groups import group_members
from streams.adapters.topic_admin import ensure_topics
from streams.adapters.topic_ids import all_identities, topic_identities
from streams.app.addresses import kafka_bootstrap, sink_group
from streams.domain.context import CatalogView
from streams.domain.generations import differences
from streams.errors import SetupError
from streams.settings import Settings

CUSTOMER_TOPICS: Final = frozenset(topic.name for topic in TOPICS if topic.partitions is None)
"""Topics that have the installation's partition count."""


async def generation_record(settings: Settings, number: int, reason: str) -> Generation:
    """The record of a generation whose topics are those that the broker has now: all of them."""
    found = await all_identities(kafka_bootstrap(settings), settings.topic_prefix)
    return Generation(
        schema_version=SCHEMA_VERSION,
        id="topics",
        version=str(number),
        generation=number,
        partitions=settings.partitions,
        topic_ids={
            name: identity.topic_id
            for name, identity in sorted(found.items())
            # The catalog cannot vouch for itself: where it is gone, so is this record.
            if name != CATALOG.name
        },
        reason=reason,
    )


@dataclass(frozen=True, slots=True)
class GenerationState:
    """The current generation as recorded, and how the topics differ from it, a line each."""

    record: Generation
    differences: list[str]


async def compare_generation(settings: Settings) -> GenerationState:
    """The recorded generation beside the topics as they are. Raises SetupError where none is
    recorded."""
    bootstrap, prefix = kafka_bootstrap(settings), settings.topic_prefix
    record = _current(await read_catalog(bootstrap, prefix))
    found = await topic_identities(bootstrap, prefix)
    return GenerationState(record, differences(record, found, CUSTOMER_TOPICS))


async def check_installation(settings: Settings) -> None:
    """Raises SetupError where no generation is recorded, or the topics are not those of the
    recorded one: for a process that is about to read or write them."""
    catalog = await read_catalog(kafka_bootstrap(settings), settings.topic_prefix)
    await check_topics(settings, _current(catalog))


async def check_topics(settings: Settings, generation: Generation) -> None:
    """Raises SetupError naming every difference between the topics and their recorded
    generation."""
    found = await topic_identities(kafka_bootstrap(settings), settings.topic_prefix)
    lines = differences(generation, found, CUSTOMER_TOPICS)
    if lines:
        raise SetupError(
            f"the topics are not those of generation {generation.generation}:\n  "
            + "\n  ".join(lines),
            action="Find out who changed them. If it was meant (restored or recreated topics), "
            "stop workers and sinks and run `tollgate topics new-generation --reason …`; a "
            "partition count cannot be changed in place.",
        )


def _current(catalog: CatalogView) -> Generation:
    if catalog.generation is None:
        raise SetupError(
            "the catalog holds no generation yet", action="Run `tollgate topics create`."
        )
    return catalog.generation


async def recorded_generation(settings: Settings) -> Generation:
    """The generation that the catalog says now; for processes that do not follow it.

    Raises SetupError where it holds none.
    """
    view = await read_catalog(kafka_bootstrap(settings), settings.topic_prefix)
    if view.generation is None:
        raise SetupError(
            "the catalog holds no generation of the topics", action="Run `tollgate topics create`."
        )
    return view.generation


async def begin_generation(settings: Settings, reason: str) -> Generation:
    """Creates topics that are missing and records the topics as they are now as the next
    generation.

    Raises SetupError where there is no generation yet, where nothing has changed, where the
    partition count differs, or while workers or sinks are members of their groups.
    """
    bootstrap, prefix = kafka_bootstrap(settings), settings.topic_prefix
    view = await read_catalog(bootstrap, prefix)
    last = _current(view)
    if last.partitions != settings.partitions:
        raise SetupError(
            f"generation {last.generation} has {last.partitions} partitions, the settings say "
            f"{settings.partitions}",
            action="Tables and ledger belong to a partition. For another count make a new "
            "installation under another TOLLGATE_TOPIC_PREFIX, as docs/scale.md says.",
        )
    for group in (settings.app_id, sink_group(settings)):
        if members := await group_members(bootstrap, group):
            raise SetupError(
                f"group {group} has {members} members",
                action="Stop all workers and sinks first; a killed one is forgotten after its "
                "session timeout.",
            )
    await ensure_topics(bootstrap, prefix, settings.partitions, settings.replication_factor)
    record = await generation_record(settings, last.generation + 1, reason)
    if record.topic_ids == last.topic_ids:
        raise SetupError(
            f"the topics are those of generation {last.generation}",
            action="Nothing is to be done: a new generation begins when topics were made anew.",
        )
    await append_catalog(bootstrap, prefix, view, [record])
    return record
