"""Bounds of the running system, each with its reason; what crosses the wire is in schemas.limits.

A bound on a setting is the range within which an installation may choose; outside of it the
process refuses to start. Relations between bounds are checked when this module is imported.
"""

from typing import Final

PORT_MAX: Final = 65_535
"""The largest TCP port there is."""

PARTITIONS_MAX: Final = 256
"""Partitions of a customer topic. A partition costs a worker a transaction about every 100 ms and
one broker gives some 175 transactions a second, so hundreds are beyond one cluster of this size."""

REPLICATION_FACTOR_MAX: Final = 7
"""Copies of a partition. Three survive a broker; more than seven only slow every append."""

TOPIC_PREFIX_CHARS_MAX: Final = 64
"""Kafka allows 249 characters for a topic's name; our own names and Faust's suffixes need some."""

APP_ID_CHARS_MAX: Final = 64
"""The application id begins transactional ids, consumer groups and changelog topics."""

PASSWORD_CHARS_MAX: Final = 256
"""Passwords travel in HTTP headers; anything longer is a file given by mistake."""

KAFKA_USER_CHARS_MAX: Final = 256
"""A user of Kafka is a short name; anything longer is a secret given by mistake."""

HEAP_MB_MIN: Final = 256
"""Below this the embedded broker spends its time collecting garbage before it has a topic."""

HEAP_MB_MAX: Final = 32_768
"""Above this the JVM loses compressed pointers and gets slower; such a broker is not embedded."""

CYCLE_RECORDS_MIN: Final = 1
"""One record per cycle is slow but right; tests use it to cut a log at every place."""

CYCLE_RECORDS_MAX: Final = 50_000
"""Records of one cycle. At 60,000 events a second and core this is most of a second, during which
no decision waits for the fold; at 64 KiB each it would be 3 GiB, so bytes are bounded as well."""

CYCLE_BYTES_MAX: Final = 32 * 1024 * 1024
"""Bytes of inbound records in one cycle: the changes of a cycle are held in memory until they are
committed, and 80,000 records of typical size (400 bytes) still fit."""

CYCLE_PAUSE_MS_MAX: Final = 1_000
"""Pause between two transactions of a partition. It is part of the time until an event is visible,
for which two seconds are promised."""

SESSION_TIMEOUT_SECONDS_MIN: Final = 6.0
"""The broker's own lower bound (group.min.session.timeout.ms)."""

SESSION_TIMEOUT_SECONDS_MAX: Final = 14.0
"""A worker that died is replaced after this time; it stays below TRANSACTION_TIMEOUT_MS."""

TRANSACTION_TIMEOUT_MS: Final = 15_000
"""An abandoned transaction is aborted by the broker after this time. It has to exceed the session
timeout, else the broker aborts the cycle of a worker that is slow but alive; the client's default
of 60 s would keep readers waiting that long."""

SINK_BATCH_ROWS_MAX: Final = 500_000
"""Rows of one insert. One insert has to be one block; ClickHouse cuts blocks at 1,048,449 rows."""

SINK_BATCH_BYTES_MAX: Final = 128 * 1024 * 1024
"""Bytes of one insert: half of the 256 MiB at which ClickHouse cuts a block by size."""

SINK_LINGER_MS_MAX: Final = 5_000
"""How long the sink waits for a fuller batch; dashboards that are older than this are stale."""

GATEWAY_CONNECTIONS_MIN: Final = 8
"""Fewer connections than a client library keeps in its pool would refuse a single client."""

GATEWAY_CONNECTIONS_MAX: Final = 20_000
"""A connection costs the gateway some 30 KB; 20,000 are most of a gigabyte in one process."""

GATEWAY_DEADLINE_MS_MIN: Final = 50
"""A decision takes single milliseconds; below this every pause of a busy machine is a refusal."""

GATEWAY_DEADLINE_MS_MAX: Final = 25_000
"""The longest that a client is kept waiting. Most clients and proxies give up after 30 s, and an
answer that nobody reads any more decides nothing."""

SECRET_FILE_BYTES_MAX: Final = 4 * 1024
"""A file with one secret: the longest password in four-byte letters takes a quarter of it."""

ENV_FILE_BYTES_MAX: Final = 64 * 1024
"""An environment file has a few dozen lines; anything larger is another file given by mistake."""

if SESSION_TIMEOUT_SECONDS_MAX * 1000 >= TRANSACTION_TIMEOUT_MS:
    raise AssertionError("a transaction must outlive the session of the worker that began it")
if SESSION_TIMEOUT_SECONDS_MIN > SESSION_TIMEOUT_SECONDS_MAX:
    raise AssertionError("no session timeout is allowed at all")
if GATEWAY_DEADLINE_MS_MIN > GATEWAY_DEADLINE_MS_MAX:
    raise AssertionError("no deadline is allowed at all")
