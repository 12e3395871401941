"""Where the servers are, for a process that was started with these settings."""

from streams.embedded.endpoints import Endpoints, find_running
from streams.errors import SetupError
from streams.settings import Settings


def running_stack(settings: Settings) -> Endpoints:
    """The endpoints of the stack that runs on this home. Raises SetupError where nothing runs."""
    running = find_running(settings.home)
    if running is None:
        raise SetupError(
            f"nothing runs on {settings.home}",
            action="Start it with `tollgate up`, or set TOLLGATE_KAFKA_BOOTSTRAP and "
            "TOLLGATE_CLICKHOUSE_URL to servers of your own.",
        )
    return running


def sink_group(settings: Settings) -> str:
    """The consumer group of the sinks."""
    return f"{settings.app_id}-sink"


def kafka_bootstrap(settings: Settings) -> str:
    """The bootstrap servers: the ones given, or those of the stack that runs on this home.

    Raises SetupError where there are neither.
    """
    return settings.kafka_bootstrap or running_stack(settings).kafka_bootstrap
