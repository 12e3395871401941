"""Where the servers are, for a process that was started with these settings."""

from schemas.client.kafka_access import Bootstrap
from streams.adapters.kafka_door import check_door
from streams.embedded.endpoints import Endpoints, find_running
from streams.errors import SetupError
from streams.settings import Settings
from streams.settings.access import kafka_access


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


def kafka_bootstrap(settings: Settings) -> Bootstrap:
    """The bootstrap servers and the way in: those given, or the stack that runs on this home.

    Raises SetupError where there are neither, and where Kafka refuses this process for good: then
    every client would only say that nobody answers. A process asks once.
    """
    if settings.kafka_bootstrap is None:
        return running_stack(settings).kafka_bootstrap
    access = kafka_access(settings, settings.kafka_bootstrap)
    if access.protocol == "PLAINTEXT":
        return access.servers
    check_door(access)
    return access
