"""Three brokers on loopback: every topic three times, and two of them have what is acknowledged.

Each is broker and controller at once, as in a small installation of three machines.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from streams.embedded.child import ChildSpec
from streams.embedded.jars import default_cache_dir
from streams.embedded.kafka import KafkaOptions, new_cluster_id, prepare_kafka
from streams.embedded.ports import LOOPBACK, pick_free_ports
from streams.embedded.stack import EmbeddedStack, StackOptions

COPIES: Final = 3
HEAP_MB: Final = 320


@contextlib.contextmanager
def three_brokers(home: Path, *, restart_limit: int = 50) -> Iterator[EmbeddedStack]:
    """A stack whose Kafka is three children `kafka1` … `kafka3`, beside its ClickHouse."""
    ports = pick_free_ports(2 * COPIES)
    listeners, controllers = ports[:COPIES], ports[COPIES:]
    options = StackOptions(
        root=home,
        kafka_bootstrap=",".join(f"{LOOPBACK}:{port}" for port in listeners),
        fsync=False,
        restart_limit=restart_limit,
    )
    with EmbeddedStack(options) as stack:
        stack.supervisor.start(*_brokers(stack.home.root, listeners, controllers, restart_limit))
        yield stack


def _brokers(
    root: Path, listeners: Sequence[int], controllers: Sequence[int], restart_limit: int
) -> list[ChildSpec]:
    voters = ",".join(
        f"{number}@{LOOPBACK}:{port}" for number, port in enumerate(controllers, start=1)
    )
    cluster_id = new_cluster_id()
    found = []
    for number, (port, controller) in enumerate(zip(listeners, controllers, strict=True), start=1):
        folder = root / f"kafka{number}"
        folder.mkdir()
        options = KafkaOptions(
            folder,
            port,
            controller,
            default_cache_dir(),
            heap_mb=HEAP_MB,
            name=f"kafka{number}",
            instead={"node.id": str(number), "controller.quorum.voters": voters, **COPIED},
            cluster_id=cluster_id,
        )
        found.append(prepare_kafka(options, restart_limit))
    return found


COPIED: Final = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    # A follower that was killed is out of sync for the others after this.
    "replica.lag.time.max.ms": "4000",
}
