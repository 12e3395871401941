"""What a load of the installation needs: a producer, how far the topics are, which generation.

For the demo and whoever else appends events and waits for their rows.
"""

from streams.adapters.catalog import read_catalog
from streams.adapters.positions import InboundPositions
from streams.adapters.producer import FactProducer
from streams.app.addresses import kafka_bootstrap
from streams.errors import SetupError
from streams.settings import Settings


def fact_producer(settings: Settings) -> FactProducer:
    """A producer for the installation's inbound topics; enter it before use."""
    return FactProducer(kafka_bootstrap(settings), settings.topic_prefix)


def inbound_positions(settings: Settings) -> InboundPositions:
    """How far the inbound topics and the workers are; enter it before use."""
    return InboundPositions(
        kafka_bootstrap(settings), settings.topic_prefix, settings.app_id, settings.partitions
    )


async def current_generation(settings: Settings) -> int:
    """The generation of the topics, as the catalog says. Raises SetupError before there is one."""
    view = await read_catalog(kafka_bootstrap(settings), settings.topic_prefix)
    generation = view.generation
    if generation is None:
        raise SetupError(
            "the catalog names no generation of the topics yet",
            action="Run `tollgate topics create`.",
        )
    return generation.generation
