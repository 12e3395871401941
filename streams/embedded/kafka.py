"""The embedded Kafka: one real Apache broker on loopback, as a child of the supervisor.

Owns the broker's configuration, the formatting of its data directory and the question whether it
answers. Topics are not created here.
"""

import base64
import shutil
import socket
import ssl
import struct
import subprocess
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from streams.embedded.child import ChildSpec
from streams.embedded.download import ensure_jars
from streams.embedded.home import write_private
from streams.embedded.java import Java, find_java
from streams.embedded.ports import LOOPBACK
from streams.errors import SetupError

DEFAULT_HEAP_MB = 512

# Formatting takes 1.5 s on an idle core; this is for a machine that is busy with other things.
FORMAT_TIMEOUT_SECONDS = 120

# A loopback answer takes a millisecond; a broker that needs longer is not ready.
PROBE_TIMEOUT_SECONDS = 1.0

# An answer to the probe is a few hundred bytes; anything larger is not a broker's.
PROBE_ANSWER_BYTES_MAX = 1024 * 1024

# A controlled shutdown takes 1-2 s on an idle machine. A kill costs nothing but a log recovery at
# the next start.
STOP_SECONDS = 20.0

# Kafka keeps committed offsets of an idle group for a week only. Here they are part of the
# books: a worker that was off for longer must go on where it stopped. About ten years.
OFFSETS_RETENTION_MINUTES = 10 * 365 * 24 * 60


@dataclass(frozen=True, slots=True)
class KafkaOptions:
    """Where the embedded broker keeps its files, where it listens, and its largest heap.

    The rest is for a broker that is not alone, or asks who its clients are: `instead` are
    properties that count instead of the usual ones, `format_words` go to the formatting (users),
    brokers of one cluster share `cluster_id`, `ready` says whether it answers where plain text
    does not reach it.
    """

    folder: Path
    port: int
    controller_port: int
    cache_dir: Path
    heap_mb: int = DEFAULT_HEAP_MB
    name: str = "kafka"
    instead: Mapping[str, str] = field(default_factory=dict)
    format_words: tuple[str, ...] = ()
    cluster_id: str | None = None
    ready: Callable[[], bool] | None = None


def server_properties(options: KafkaOptions, books_dir: str = "data") -> str:
    """Return the broker's configuration; `books_dir` is relative to its working directory.

    Relative, because a properties file would need escapes for commas, backslashes and anything
    outside Latin-1 in a path.
    """
    usual = _usual_properties(options, books_dir)
    if not options.instead:
        return usual
    kept = [line for line in usual.splitlines() if line.partition("=")[0] not in options.instead]
    return "\n".join([*kept, *(f"{name}={text}" for name, text in options.instead.items()), ""])


def _usual_properties(options: KafkaOptions, books_dir: str) -> str:
    broker = f"PLAINTEXT://{LOOPBACK}:{options.port}"
    controller = f"CONTROLLER://{LOOPBACK}:{options.controller_port}"
    return f"""\
# Written by Tollgate at every start; changes here are lost.
process.roles=broker,controller
node.id=1
# A voter named here, not one stored in the metadata, so that the port may change between starts.
controller.quorum.voters=1@{LOOPBACK}:{options.controller_port}
controller.listener.names=CONTROLLER
listeners={broker},{controller}
advertised.listeners={broker}
log.dirs={books_dir}
auto.create.topics.enable=false

# The inbound topics and the ledger are the books, and so are the consumers' positions.
log.retention.ms=-1
log.retention.bytes=-1
offsets.retention.minutes={OFFSETS_RETENTION_MINUTES}

# One node: nothing to replicate to. Eight partitions instead of fifty keep the start quick.
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=8
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1

# A transaction that its owner left open must not hold up readers for long.
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
transaction.max.timeout.ms=60000

# After kill -9 the controller refuses the broker's new registration until the old one's session is
# over: 9 s by default. A pause longer than this fences the broker until its next heartbeat.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500

# One machine: members of a group do not trickle in.
group.initial.rebalance.delay.ms=0

message.max.bytes=8388608
replica.fetch.max.bytes=8388608

# The default of 128 MiB is taken from the heap at once; 16 MiB compact 700,000 keys per pass.
log.cleaner.dedupe.buffer.size=16777216
"""


def java_options(heap_mb: int) -> tuple[str, ...]:
    """Return the JVM's options, chosen for a quick start beside other work on few cores.

    The serial collector has no threads and no side tables of its own; stopping at the first
    compiler halves the processor time of the start and costs some throughput that one Python
    worker cannot use up. A broker out of memory ends, and the supervisor starts it again.
    """
    return (
        f"-Xmx{heap_mb}m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:+ExitOnOutOfMemoryError",
        "-Dlog4j2.configurationFile=log4j2.yaml",
    )


def prepare_kafka(options: KafkaOptions, restart_limit: int) -> ChildSpec:
    """Fetch what is missing, write the configuration, format a new data directory.

    The caller holds the home's lock and has checked the ports. Raises `SetupError`.
    """
    java = find_java()
    jars = ensure_jars(options.cache_dir)
    # Each jar by name: a wildcard would also load what somebody else put into the folder.
    command = (
        str(java.path),
        *java_options(options.heap_mb),
        "-cp",
        ":".join(str(jar) for jar in jars),
    )
    write_private(options.folder / "server.properties", server_properties(options))
    shutil.copyfile(Path(__file__).with_name("log4j2.yaml"), options.folder / "log4j2.yaml")
    if not (options.folder / "data").exists():
        _format(options, java, command)
    return ChildSpec(
        name=options.name,
        argv=(*command, "kafka.Kafka", "server.properties"),
        cwd=options.folder,
        ready=options.ready or (lambda: broker_answers(LOOPBACK, options.port)),
        stop_seconds=STOP_SECONDS,
        restart_limit=restart_limit,
    )


def _format(options: KafkaOptions, java: Java, command: tuple[str, ...]) -> None:
    """Format beside the final place and rename, so that a half-formatted directory never counts."""
    unfinished = options.folder / "data.new"
    shutil.rmtree(unfinished, ignore_errors=True)
    properties = options.folder / "format.properties"
    write_private(properties, server_properties(options, unfinished.name))
    result = subprocess.run(
        [
            *command,
            *("kafka.tools.StorageTool", "format", "-c", properties),
            *("-t", options.cluster_id or new_cluster_id()),
            *options.format_words,
        ],
        cwd=options.folder,
        capture_output=True,
        text=True,
        timeout=FORMAT_TIMEOUT_SECONDS,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if result.returncode != 0:
        raise SetupError(
            f"Kafka could not format {unfinished}: {(result.stderr or result.stdout).strip()}",
            action=f"Check that {java.path} ({java.origin}) runs and that the disk has space.",
        )
    properties.unlink()
    unfinished.rename(options.folder / "data")


def new_cluster_id() -> str:
    """Return a random id in Kafka's form; a leading dash would be read as an option."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text


def broker_answers(host: str, port: int, context: ssl.SSLContext | None = None) -> bool:
    """Return whether a broker at this address lists living brokers (over TLS with a context).

    Asks for metadata without topics (api 3, version 1). An open port is not enough: the broker
    opens it before it has joined its own cluster.
    """
    client = b"tollgate-ready"
    request = struct.pack(">hhih", 3, 1, 1, len(client)) + client + struct.pack(">i", 0)
    try:
        with socket.create_connection((host, port), PROBE_TIMEOUT_SECONDS) as connection:
            if context is None:
                answer = _asked(connection, request)
            else:
                with context.wrap_socket(connection, server_hostname=host) as encrypted:
                    answer = _asked(encrypted, request)
    except OSError:
        return False
    brokers = struct.unpack_from(">ii", answer)[1] if len(answer) >= 8 else 0
    return bool(brokers > 0)


def _asked(connection: socket.socket, request: bytes) -> bytes:
    """The answer to a request; empty where it is none of a broker's."""
    connection.settimeout(PROBE_TIMEOUT_SECONDS)
    connection.sendall(struct.pack(">i", len(request)) + request)
    size_bytes = struct.unpack(">i", _read_exactly(connection, 4))[0]
    if not 8 <= size_bytes <= PROBE_ANSWER_BYTES_MAX:
        return b""
    return _read_exactly(connection, size_bytes)


def port_answers(host: str, port: int) -> bool:
    """Return whether something listens at this address."""
    try:
        socket.create_connection((host, port), PROBE_TIMEOUT_SECONDS).close()
    except OSError:
        return False
    return True


def _read_exactly(connection: socket.socket, size_bytes: int) -> bytes:
    received = bytearray()
    while len(received) < size_bytes:
        part = connection.recv(size_bytes - len(received))
        if not part:
            raise ConnectionError("the broker closed the connection in mid-answer")
        received += part
    return bytes(received)
