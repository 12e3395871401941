"""The names, defaults and bounds of Tollgate's settings; where they come from is in `sources`.

docs/settings.md and deploy/tollgate.env.example are compared with this module.
"""

import re
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from streams import limits

ENV_PREFIX: Final = "TOLLGATE_"
DEFAULT_HOME: Final = "~/.tollgate"

_BOOTSTRAP: Final = re.compile(r"[A-Za-z0-9._-]+:\d{1,5}|\[[0-9A-Fa-f:.]+\]:\d{1,5}")


def expanded(path: Path) -> Path:
    """Return `path` without `~` and independent of the working directory."""
    return path.expanduser().absolute()


def _not_empty(value: object) -> object:
    if value == "":
        # As a path it would mean the working directory of whoever starts the process.
        raise ValueError("is empty; leave it out to have the default")
    return value


def _no_password(address: str) -> None:
    # Addresses are printed and logged; passwords have settings that are not. Looked for before any
    # parser sees the address, because their errors quote what a password with `?` or `/` leaves.
    if "@" in address:
        raise ValueError("leave user and password out of the address and use the settings for them")


def _bootstrap(value: str) -> str:
    _no_password(value)
    servers = [server.strip() for server in value.split(",")]
    for server in servers:
        port = server.rpartition(":")[2]
        if not _BOOTSTRAP.fullmatch(server) or not 0 < int(port) <= limits.PORT_MAX:
            raise ValueError(f"{server!r} is not host:port")
    return ",".join(servers)


def _http_url(value: str) -> str:
    _no_password(value)
    parts = urlsplit(value)
    # Reading `port` refuses what is no port number.
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError("give an address such as http://host:8123")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("give scheme, host and port only")
    return value.rstrip("/")


def _listen(value: str) -> str:
    _no_password(value)
    host, colon, port = value.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > limits.PORT_MAX:
        raise ValueError("give host:port, such as 127.0.0.1:8480; port 0 picks a free one")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError("write an IPv6 address in brackets, such as [::1]:8480")
    return value


def _page_url(value: str) -> str:
    _no_password(value)
    if urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname:
        raise ValueError("give an address such as https://example.org/plans")
    return value


def _lowered(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _raised(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


Port = Annotated[int, Field(ge=0, le=limits.PORT_MAX)]
Listen = Annotated[str, AfterValidator(_listen)]
GivenFile = Annotated[Path, BeforeValidator(_not_empty), AfterValidator(expanded)]
Directory = Annotated[Path, BeforeValidator(_not_empty), AfterValidator(expanded)]
KafkaProtocol = Annotated[
    Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"], BeforeValidator(_lowered)
]
KafkaMechanism = Annotated[
    Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "GSSAPI", "OAUTHBEARER"],
    BeforeValidator(_raised),
]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lowered)]
LogFormat = Annotated[Literal["text", "json"], BeforeValidator(_lowered)]


class Settings(BaseModel):
    """What one installation chose. Values are final: nothing changes them after they were read.

    Times and sizes carry their unit in the name. A field that is None says "not given" and its
    description says what happens then. Secrets are `SecretStr`: printing shows asterisks.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True
    )

    home: Directory = Field(
        default=Path(DEFAULT_HOME),
        description="Directory of everything kept on this machine: data, logs, passwords, state.",
    )
    state_dir: Directory | None = Field(
        default=None,
        description="Directory of the workers' local tables. Not given: `state` in the home.",
    )

    kafka_bootstrap: Annotated[str, AfterValidator(_bootstrap)] | None = Field(
        default=None,
        description="Existing Kafka as host:port[,host:port]. Not given: the embedded one.",
    )
    kafka_port: Port = Field(
        default=19092, description="Port of the embedded Kafka; 0 picks a free one."
    )
    kafka_controller_port: Port = Field(
        default=19093, description="Port of the embedded Kafka's controller; 0 picks a free one."
    )
    kafka_heap_mb: int = Field(
        default=512,
        ge=limits.HEAP_MB_MIN,
        le=limits.HEAP_MB_MAX,
        description="Heap of the embedded Kafka in MiB.",
    )

    kafka_security_protocol: KafkaProtocol = Field(
        default="plaintext",
        description="How to talk to an existing Kafka: with TLS (ssl), with user and password or "
        "token (sasl_plaintext), with both (sasl_ssl).",
    )
    kafka_sasl_mechanism: KafkaMechanism | None = Field(
        default=None, description="How to say who this is; needed with sasl_plaintext or sasl_ssl."
    )
    kafka_sasl_username: str | None = Field(
        default=None,
        min_length=1,
        max_length=limits.KAFKA_USER_CHARS_MAX,
        description="User of Kafka, for PLAIN and SCRAM. Give each role its own.",
    )
    kafka_sasl_password: SecretStr | None = Field(
        default=None,
        max_length=limits.PASSWORD_CHARS_MAX,
        description="Password of that user.",
    )
    kafka_sasl_token_file: GivenFile | None = Field(
        default=None,
        description="File with a token for OAUTHBEARER, read anew for each connection.",
    )
    kafka_tls_ca: GivenFile | None = Field(
        default=None,
        description="PEM file of the authorities that sign the brokers' certificates. Not given: "
        "those that this machine trusts.",
    )
    kafka_tls_certificate: GivenFile | None = Field(
        default=None,
        description="PEM file of this client's own certificate with its chain (mutual TLS).",
    )
    kafka_tls_key: GivenFile | None = Field(
        default=None,
        description="PEM file of the private key that belongs to it, without a password.",
    )

    clickhouse_url: Annotated[str, AfterValidator(_http_url)] | None = Field(
        default=None,
        description="Existing ClickHouse as http://host:port. Not given: the embedded one.",
    )
    clickhouse_user: str = Field(
        default="admin",
        min_length=1,
        max_length=128,
        description="User of ClickHouse that may create tables and insert.",
    )
    clickhouse_password: SecretStr | None = Field(
        default=None,
        max_length=limits.PASSWORD_CHARS_MAX,
        description="Password of that user. Not given: the one generated for the embedded server.",
    )
    clickhouse_tls_ca: GivenFile | None = Field(
        default=None,
        description="PEM file of the authorities that may have signed the certificate of an "
        "https:// address. Not given: those that the system trusts.",
    )
    clickhouse_database: str = Field(
        default="tollgate",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$",
        description="Database that holds Tollgate's tables.",
    )
    clickhouse_http_port: Port = Field(
        default=18123, description="HTTP port of the embedded ClickHouse; 0 picks a free one."
    )
    clickhouse_tcp_port: Port = Field(
        default=19000, description="Native port of the embedded ClickHouse; 0 picks a free one."
    )

    clickhouse_cluster: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$",
        description="Cluster of ClickHouse on which tables are replicated and sharded (docs/"
        "scale.md). Not given: one server. Never changed once the tables are there.",
    )

    topic_prefix: str = Field(
        default="tollgate.",
        pattern=r"^[A-Za-z0-9._-]*$",
        max_length=limits.TOPIC_PREFIX_CHARS_MAX,
        description="Begins the name of every topic.",
    )
    partitions: int = Field(
        default=8,
        ge=1,
        le=limits.PARTITIONS_MAX,
        description="Partitions of the customer topics; changing it later is a migration.",
    )
    replication_factor: int = Field(
        default=1,
        ge=1,
        le=limits.REPLICATION_FACTOR_MAX,
        description="Copies of each topic; 3 where Kafka has three brokers or more.",
    )

    app_id: str = Field(
        default="tollgate",
        pattern=r"^[A-Za-z0-9._-]+$",
        max_length=limits.APP_ID_CHARS_MAX,
        description="Begins consumer groups, transactional ids and changelog topics.",
    )
    session_timeout_seconds: float = Field(
        default=6.0,
        ge=limits.SESSION_TIMEOUT_SECONDS_MIN,
        le=limits.SESSION_TIMEOUT_SECONDS_MAX,
        allow_inf_nan=False,
        description="After this time without a sign of life a worker's partitions go to another.",
    )
    cycle_records_max: int = Field(
        default=4_000,
        ge=limits.CYCLE_RECORDS_MIN,
        le=limits.CYCLE_RECORDS_MAX,
        description="Records that one cycle (one transaction of one partition) takes at most.",
    )
    cycle_pause_ms: int = Field(
        default=100,
        ge=0,
        le=limits.CYCLE_PAUSE_MS_MAX,
        description="Longest pause between two transactions of a partition, in milliseconds; "
        "decision 014 says how long it is.",
    )

    sink_batch_rows_max: int = Field(
        default=50_000,
        ge=1,
        le=limits.SINK_BATCH_ROWS_MAX,
        description="Rows that the sink inserts at once at most.",
    )
    sink_batch_bytes_max: int = Field(
        default=16 * 1024 * 1024,
        ge=1,
        le=limits.SINK_BATCH_BYTES_MAX,
        description="Bytes that the sink inserts at once at most.",
    )
    sink_linger_ms: int = Field(
        default=200,
        ge=0,
        le=limits.SINK_LINGER_MS_MAX,
        description="How long the sink waits for a fuller batch, in milliseconds.",
    )

    gateway_listen: Listen | None = Field(
        default=None,
        description="Where the gateway listens, host:port. Not given: `tollgate gateway` on "
        "127.0.0.1:8480, and a worker runs none inside.",
    )
    gateway_tls_certificate: GivenFile | None = Field(
        default=None,
        description="PEM file of the gateway's certificate with its chain. Not given: plain HTTP.",
    )
    gateway_tls_key: GivenFile | None = Field(
        default=None, description="PEM file of the private key that belongs to the certificate."
    )
    gateway_connections_max: int = Field(
        default=2_000,
        ge=limits.GATEWAY_CONNECTIONS_MIN,
        le=limits.GATEWAY_CONNECTIONS_MAX,
        description="Connections and requests at once; what comes beyond them is answered 503.",
    )
    gateway_decision_ms: int = Field(
        default=3_000,
        ge=limits.GATEWAY_DEADLINE_MS_MIN,
        le=limits.GATEWAY_DEADLINE_MS_MAX,
        description="Within which a preflight, release or lookup is answered, in milliseconds.",
    )
    gateway_record_ms: int = Field(
        default=3_000,
        ge=limits.GATEWAY_DEADLINE_MS_MIN,
        le=limits.GATEWAY_DEADLINE_MS_MAX,
        description="How long a record waits for its committed entry, in milliseconds; then it is "
        "accepted and not yet decided.",
    )
    gateway_upgrade_url: Annotated[str, AfterValidator(_page_url)] | None = Field(
        default=None,
        description="Page that AgentBill's clients show where the seller's plan refuses.",
    )
    hop_listen: Listen = Field(
        default="127.0.0.1:0",
        description="Where a worker takes what gateways of other processes ask, host:port.",
    )
    hop_secret: SecretStr | None = Field(
        default=None,
        max_length=limits.PASSWORD_CHARS_MAX,
        description="Shared by all gateways and workers. Needed where they are on several "
        "machines.",
    )

    log_level: LogLevel = Field(default="info", description="Least severe message that is logged.")
    log_format: LogFormat = Field(
        default="text", description="How it is logged: lines for people, or one JSON object a line."
    )
    metrics_listen: Listen | None = Field(
        default=None,
        description="Where worker, sink and gateway answer /metrics, /live and /ready, host:port; "
        "one for each of them on a machine. Not given: nowhere. Under `tollgate up` the worker "
        "has this port and the sink the next.",
    )
    otel_endpoint: Annotated[str, AfterValidator(_page_url)] | None = Field(
        default=None,
        description="OTLP collector that gets Tollgate's own traces, such as "
        "http://127.0.0.1:4318; needs the extra `otel`. Not given: none are made.",
    )

    @property
    def embedded_kafka(self) -> bool:
        """Whether Kafka is the embedded one."""
        return self.kafka_bootstrap is None

    @property
    def embedded_clickhouse(self) -> bool:
        """Whether ClickHouse is the embedded one."""
        return self.clickhouse_url is None

    @property
    def state_directory(self) -> Path:
        """Where workers keep their local tables."""
        return self.state_dir or self.home / "state"

    def environment(self) -> dict[str, str]:
        """Return the variables that give a child process exactly these settings.

        Contains secrets in the clear: hand it to a process, never to a log.
        """
        return {
            environment_name(field): as_text(value)
            for field in type(self).model_fields
            if (value := getattr(self, field)) is not None
        }


def environment_name(field: str) -> str:
    """Return the environment variable of a field: `kafka_port` is `TOLLGATE_KAFKA_PORT`."""
    return ENV_PREFIX + field.upper()


def flag_name(field: str) -> str:
    """Return the flag of a field: `kafka_port` is `--kafka-port`."""
    return "--" + field.replace("_", "-")


def is_secret(field: str) -> bool:
    """Whether the field's value must never be shown."""
    return "SecretStr" in str(Settings.model_fields[field].annotation)


def as_text(value: object) -> str:
    """Return a value as an environment variable holds it; a secret in the clear."""
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)
