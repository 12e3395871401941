"""Where Kafka is, for a process that was started with these settings."""

from streams.embedded.endpoints import find_running
from streams.errors import SetupError
from streams.settings import Settings


def kafka_bootstrap(settings: Settings) -> str:
    """The bootstrap servers: the ones given, or those of the stack that runs on this home.

    Raises SetupError where nothing runs.
    """
    if settings.kafka_bootstrap is not None:
        return settings.kafka_bootstrap
    running = find_running(settings.home)
    if running is None:
        raise SetupError(
            f"no Kafka is given and nothing runs on {settings.home}",
            action="Start it with `tollgate up`, or name an existing Kafka in "
            "TOLLGATE_KAFKA_BOOTSTRAP.",
        )
    return running.kafka_bootstrap
