"""An installation of its own for a run: topics, rules and prices made as operators make them, and
the workload in its topic `usage`.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from schemas.topics import USAGE
from streams.app.installation import create_topics, import_prices
from streams.bench.broker import fill
from streams.bench.events import Expected, Workload, bench_records
from streams.bench.ground import Ground
from streams.settings import Settings


@dataclass(frozen=True, slots=True)
class Loaded:
    """A topic full of usage that nobody has read yet, and what must come out of it."""

    ground: Ground
    settings: Settings
    """Of the installation that the topic belongs to."""
    workload: Workload
    expected: Expected

    @property
    def usage_topic(self) -> str:
        """The full name of the topic."""
        return USAGE.full_name(self.settings.topic_prefix)

    def fill_up(self) -> None:
        """Appends the whole workload. Raises TransientError."""
        topic, bootstrap = self.usage_topic, self.ground.bootstrap
        begun = time.monotonic()
        count = asyncio.run(fill(bootstrap, topic, bench_records(self.workload, self.expected)))
        self.ground.say(f"{count:,} records in {topic} after {time.monotonic() - begun:.0f} s")

    def drop(self) -> None:
        """Deletes the installation's topics."""
        self.ground.drop(self.settings.topic_prefix)


def load(ground: Ground, workload: Workload, **chosen: Any) -> Loaded:
    """Makes an installation with these settings besides the defaults, and fills its topic.

    Raises SetupError and TransientError.
    """
    loaded = install(ground, workload, **chosen)
    loaded.fill_up()
    return loaded


def install(ground: Ground, workload: Workload, **chosen: Any) -> Loaded:
    """Makes an installation whose topic `usage` is empty yet. Raises SetupError and
    TransientError."""
    name = ground.name("ours")
    settings = ground.settings.model_copy(
        update={
            "topic_prefix": f"{name}.",
            "app_id": name,
            "partitions": workload.partitions,
            "state_dir": ground.folder / name,
        }
        | chosen
    )
    asyncio.run(create_topics(settings))
    asyncio.run(import_prices(settings))
    return Loaded(ground, settings, workload, Expected())
