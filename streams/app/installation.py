"""Setting an installation up: topics, and the catalog's first records. Every step may be run
again."""

from typing import Final

from schemas.budget import Denomination
from schemas.envelope import SCHEMA_VERSION
from schemas.structs import Generation, PlanGrant, Rules
from schemas.topics import CATALOG
from streams.adapters.catalog import append_catalog, read_catalog
from streams.adapters.price_source import price_book
from streams.adapters.topic_admin import TopicReport, ensure_topics
from streams.app.addresses import kafka_bootstrap
from streams.domain.context import CatalogView
from streams.errors import SetupError
from streams.settings import Settings

FREE_UNITS: Final = "1000"
"""What the default plan grants every customer, as AgentBill promises it: the first 1,000 units."""


async def create_topics(settings: Settings) -> TopicReport:
    """Creates the topics and records their generation and the default rules, as far as missing.

    Raises SetupError where topics or the recorded generation differ from the settings.
    """
    bootstrap, prefix = kafka_bootstrap(settings), settings.topic_prefix
    report = await ensure_topics(
        bootstrap, prefix, settings.partitions, settings.replication_factor
    )
    # A topic that was made a moment ago is empty, and its leader may not answer reads yet.
    view = CatalogView()
    if CATALOG.name not in report.created:
        view = await read_catalog(bootstrap, prefix)
    generation = view.generation
    if generation is None:
        await append_catalog(
            bootstrap,
            prefix,
            [
                Generation(
                    schema_version=SCHEMA_VERSION,
                    id="topics",
                    version="1",
                    generation=1,
                    partitions=settings.partitions,
                )
            ],
        )
    elif generation.partitions != settings.partitions:
        raise SetupError(
            f"the catalog says {generation.partitions} partitions, the settings "
            f"{settings.partitions}",
            action="Set TOLLGATE_PARTITIONS to what the catalog says.",
        )
    if not view.has_rules:
        await append_catalog(bootstrap, prefix, [default_rules()])
    return report


def default_rules() -> Rules:
    """The rules an installation starts with."""
    return Rules(
        schema_version=SCHEMA_VERSION,
        id="default",
        version="1",
        default_plan=[PlanGrant(denomination=Denomination.UNIT, amount=FREE_UNITS)],
    )


async def import_prices(settings: Settings) -> tuple[str, bool]:
    """Appends the installed price book to the catalog unless its version is in force.

    Returns the version and whether it was appended.
    """
    bootstrap, prefix = kafka_bootstrap(settings), settings.topic_prefix
    book = price_book()
    version = f"{book.id}@{book.version}"
    if (await read_catalog(bootstrap, prefix)).price_version == version:
        return version, False
    await append_catalog(bootstrap, prefix, [book])
    return version, True
