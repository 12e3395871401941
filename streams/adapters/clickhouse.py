"""ClickHouse over HTTP: queries, statements, and its errors in our words.

Owns the connection and what an error code means for us. Knows no table: inserts of rows are
`clickhouse_rows`, tables are migrations. Blocking; `clickhouse_rows` calls it from threads.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, cast
from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError, OperationalError
from clickhouse_connect.driver.external import ExternalData
from clickhouse_connect.driver.httpclient import HttpClient
from urllib3 import Timeout

from streams.errors import FaultError, SetupError, TollgateError, TransientError
from streams.ports import Answer
from streams.tls import blame, client_context

CONNECT_SECONDS: Final = 5
"""A server on the same network accepts in milliseconds; a dead one should be noticed soon."""

SEND_SECONDS: Final = 30
"""How long a request may take to be sent, and a later connection to be made, which the client
bounds as one: as long as a body may take to arrive (`clickhouse_rows`)."""

ANSWER_SECONDS: Final = 90
"""The longest wait for an answer: an insert may take 30 s to arrive, and a merge may be in its
way."""

TRANSIENT_CODES: Final = frozenset(
    {
        3,  # UNEXPECTED_END_OF_FILE: the body was cut off
        23,  # CANNOT_READ_FROM_ISTREAM
        159,  # TIMEOUT_EXCEEDED
        202,  # TOO_MANY_SIMULTANEOUS_QUERIES
        203,  # NO_FREE_CONNECTION
        209,  # SOCKET_TIMEOUT
        210,  # NETWORK_ERROR
        241,  # MEMORY_LIMIT_EXCEEDED
        242,  # TABLE_IS_READ_ONLY: a replica that lost its keeper
        243,  # NOT_ENOUGH_SPACE
        252,  # TOO_MANY_PARTS: merges are behind
        285,  # TOO_FEW_LIVE_REPLICAS
        286,  # UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE
        319,  # UNKNOWN_STATUS_OF_INSERT
        394,  # QUERY_WAS_CANCELLED
        395,  # FUNCTION_THROW_IF_VALUE_IS_NON_ZERO: our own limit on late bodies
        999,  # KEEPER_EXCEPTION
    }
)
"""Codes of troubles that may pass, or whose outcome only the mark can tell."""

SETUP_ACTIONS: Final = {
    47: "Run `tollgate migrate`, if the query is none of your own: tables lack one of its columns.",
    60: "Run `tollgate migrate`.",
    81: "Run `tollgate migrate`.",
    164: "Use a user that may write, or a query that only reads.",
    192: "Check TOLLGATE_CLICKHOUSE_USER.",
    193: "Check TOLLGATE_CLICKHOUSE_PASSWORD.",
    497: "Grant the user what the message names, or check TOLLGATE_CLICKHOUSE_USER.",
    516: "Check TOLLGATE_CLICKHOUSE_USER and TOLLGATE_CLICKHOUSE_PASSWORD.",
}
"""Codes of a wrong setup (unknown column, table or database, read-only, access), and what to do
about each."""

READ_ONLY_CODES: Final = frozenset({164, 497})
"""READONLY and ACCESS_DENIED: what a connection for reading gets for anything else."""

CA_SETTING: Final = "TOLLGATE_CLICKHOUSE_TLS_CA"

FAULT_ACTION: Final = (
    "Read ClickHouse's message; nothing was retried, because a retry would fail likewise."
)


@dataclass(frozen=True, slots=True)
class ClickHouseAddress:
    """Where a ClickHouse is, and who asks. `database` need not exist for a connection. `tls_ca` is
    the file of whom an https address is believed for, None for whom the system trusts."""

    url: str
    user: str
    password: str = field(repr=False)
    database: str
    tls_ca: Path | None = None


class ClickHouse:
    """A connection pool to one database. May be used from several threads at once."""

    def __init__(self, address: ClickHouseAddress, *, read_only: bool = False) -> None:
        """Connect. Raises TransientError where nobody answers, SetupError where the login or the
        server's certificate is refused."""
        self.address = address
        self._read_only = read_only
        parts = urlsplit(address.url)
        if parts.scheme == "https":
            # The client would take the file as it is and fail in words of its own.
            client_context(address.tls_ca, CA_SETTING)
        try:
            client = clickhouse_connect.get_client(
                host=parts.hostname or "",
                port=parts.port or (8443 if parts.scheme == "https" else 8123),
                interface=parts.scheme,
                username=address.user,
                password=address.password,
                connect_timeout=CONNECT_SECONDS,
                send_receive_timeout=ANSWER_SECONDS,
                ca_cert=None if address.tls_ca is None else str(address.tls_ca),
                # A session would allow one query at a time, and only from one thread.
                autogenerate_session_id=False,
                # Retries are ours: only the mark knows whether an insert may be sent again.
                query_retries=0,
                # 2 refuses every change but that of a query's own settings.
                settings={"readonly": 2} if read_only else {},
            )
        except ClickHouseError as error:
            raise translate(error, address.url) from error
        self._client = cast(HttpClient, client)
        # Both set after connecting: a dead server is noticed soon, and the connection works before
        # the first migration.
        self._client.timeout = Timeout(connect=SEND_SECONDS, read=ANSWER_SECONDS)
        self._client.database = address.database

    def _translated(self, error: ClickHouseError) -> TollgateError:
        code = getattr(error, "code", None)
        if self._read_only and code in READ_ONLY_CODES:
            message = f"ClickHouse at {self.address.url}: {first_line(str(error))}"
            return FaultError(message, action="Ask for something: this connection only reads.")
        return translate(error, self.address.url)

    def close(self) -> None:
        """Let go of all connections."""
        self._client.close()

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Answer:
        """Run a SELECT; see `ports.Warehouse`."""
        try:
            result = self._client.query(sql, parameters=dict(parameters or {}))
        except ClickHouseError as error:
            raise self._translated(error) from error
        return Answer(tuple(result.column_names), result.result_rows)

    def query_beside(
        self, sql: str, parameters: Mapping[str, Any], name: str, structure: str, body: bytes
    ) -> Answer:
        """Run a SELECT that may also read `name`: JSON lines which exist for this query alone."""
        beside = ExternalData(file_name=name, data=body, fmt="JSONEachRow", structure=structure)
        try:
            result = self._client.query(sql, parameters=dict(parameters), external_data=beside)
        except ClickHouseError as error:
            raise self._translated(error) from error
        return Answer(tuple(result.column_names), result.result_rows)

    def execute(self, sql: str) -> None:
        """Run a statement that returns nothing."""
        try:
            self._client.command(sql)
        except ClickHouseError as error:
            raise self._translated(error) from error

    def create_database(self, cluster: str | None = None) -> None:
        """Create the database of this connection where it is missing; on all servers of a
        cluster."""
        on = f" ON CLUSTER `{cluster}`" if cluster else ""
        try:
            self._client.command(
                f"CREATE DATABASE IF NOT EXISTS `{self.address.database}`{on}", use_database=False
            )
        except ClickHouseError as error:
            raise self._translated(error) from error

    def record(self, table: str, row: Mapping[str, Any], token: str) -> None:
        """Insert one row, once per token, as far as the table's window remembers."""
        columns = ", ".join(f"`{name}`" for name in row)
        settings = {"async_insert": 0, "insert_deduplication_token": token}
        self.send(
            f"INSERT INTO {table} ({columns}) FORMAT JSONEachRow",
            json.dumps(row).encode(),
            settings,
        )

    def send(self, sql: str, body: bytes, settings: Mapping[str, Any]) -> None:
        """Run an INSERT whose rows are the body; returns when the server has finished it."""
        try:
            self._client.command(sql, data=body, settings={**settings, "wait_end_of_query": 1})
        except ClickHouseError as error:
            raise self._translated(error) from error

    def text(self, sql: str, layout: Literal["CSVWithNames", "JSONEachRow", "rows"]) -> bytes:
        """The answer of a read-only statement as the server itself writes it: decimals and times
        exact.

        `rows` is one JSON array of texts per line; the first two lines are names and types.
        """
        formats = {"rows": "JSONCompactStringsEachRowWithNamesAndTypes"}
        settings = {
            "output_format_json_quote_decimals": 1,  # As numbers most readers would round them.
            "output_format_json_quote_64bit_integers": 0,
        }
        try:
            return self._client.raw_query(sql, fmt=formats.get(layout, layout), settings=settings)
        except ClickHouseError as error:
            raise self._translated(error) from error


def translate(error: ClickHouseError, url: str) -> TollgateError:
    """What an error of the client means for us."""
    code = getattr(error, "code", None)
    message = f"ClickHouse at {url}: {first_line(str(error))}"
    told = blame(error, url_setting="TOLLGATE_CLICKHOUSE_URL", ca_setting=CA_SETTING)
    if code is None and told is not None:
        return SetupError(f"ClickHouse at {url}: {told.wrong}", action=told.todo)
    if code is None and isinstance(error, OperationalError):
        return TransientError(
            message, action="Check that ClickHouse runs and that TOLLGATE_CLICKHOUSE_URL names it."
        )
    if code in TRANSIENT_CODES:
        return TransientError(
            message, action="Look at ClickHouse's load, memory and disk; the sink went on trying."
        )
    if code is None and isinstance(error, DatabaseError):
        return SetupError(message, action="Check that TOLLGATE_CLICKHOUSE_URL names a ClickHouse.")
    if code in SETUP_ACTIONS:
        return SetupError(message, action=SETUP_ACTIONS[code])
    if code == 117:  # INCORRECT_DATA
        return FaultError(
            message,
            action="If it names an unknown field, the log is ahead of the tables: run `tollgate "
            "migrate` of the release that writes the log, and start the sink again.",
        )
    return FaultError(message, action=FAULT_ACTION)


def first_line(text: str) -> str:
    """The message without the client's wrapping and the server's stack."""
    refused = re.search(r"\[Errno -?\d+\] [^\"')\]]+", text)
    if refused is not None:
        return refused[0]
    text = text.partition("server response: ")[2] or text
    return text.partition(" (for url ")[0].partition(". Stack trace")[0].strip()[:1000]
