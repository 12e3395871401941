"""Setting an installation up: topics, and the catalog's first records. Every step may be run
again."""

from typing import Final

from schemas.budget import Denomination
from schemas.envelope import SCHEMA_VERSION
from schemas.structs import PlanGrant, Rules
from schemas.topics import CATALOG, LEDGER
from streams.adapters.catalog import append_catalog, read_catalog
from streams.adapters.positions import end_offsets
from streams.adapters.price_source import price_book
from streams.adapters.topic_admin import TopicReport, ensure_topics
from streams.adapters.topic_ids import all_identities
from streams.app.addresses import kafka_bootstrap
from streams.app.generations import check_topics, generation_record
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
    if report.created:
        await all_identities(bootstrap, prefix)
    # A topic that was made a moment ago is empty, and its leader may not answer reads yet.
    view = CatalogView()
    if CATALOG.name not in report.created:
        view = await read_catalog(bootstrap, prefix)
    generation = view.generation
    if generation is None:
        await _check_empty(settings, report)
        first = await generation_record(settings, 1, "installed")
        await append_catalog(bootstrap, prefix, view, [first])
    elif generation.partitions != settings.partitions:
        raise SetupError(
            f"the catalog says {generation.partitions} partitions, the settings "
            f"{settings.partitions}",
            action="Set TOLLGATE_PARTITIONS to what the catalog says.",
        )
    else:
        await check_topics(settings, generation)
    if not view.has_rules:
        await append_catalog(bootstrap, prefix, view, [default_rules()])
    return report


async def _check_empty(settings: Settings, report: TopicReport) -> None:
    """Raises SetupError where the ledger holds entries although the catalog knows of none."""
    if LEDGER.name in report.created:
        return
    name = LEDGER.full_name(settings.topic_prefix)
    if any(await end_offsets(kafka_bootstrap(settings), name, settings.partitions)):
        raise SetupError(
            "the ledger has entries, but the catalog holds no generation: the catalog was lost",
            action="Restore the catalog topic. Nothing can be decided or audited without the rules "
            "and prices that the entries were decided with.",
        )


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
    view = await read_catalog(bootstrap, prefix)
    if view.price_version == version:
        return version, False
    await append_catalog(bootstrap, prefix, view, [book])
    return version, True
