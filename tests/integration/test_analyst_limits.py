"""What analysts of the embedded ClickHouse cannot do with SQL: read files or rows of others, reach
the network, write, see whose queries run, or lift their limits (docs/security.md)."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.error import HTTPError

import pytest

from streams.embedded.analysts import add_analyst, load_analysts
from streams.embedded.clickhouse import ask
from streams.embedded.endpoints import Endpoints
from streams.embedded.home import Home
from streams.embedded.ports import LOOPBACK
from streams.embedded.stack import EmbeddedStack, StackOptions

OTHERS: Final = "globex-secret"
"""A customer that the restricted analyst does not have."""

RESTRICTED: Final = "joe"

TABLE_FUNCTIONS: Final = (
    "file('/etc/passwd', 'LineAsString')",
    "filesystem('/etc')",
    "sqlite('{folder}/data/planted.db', 't')",
    "icebergLocal('/tmp')",
    "deltaLakeLocal('/tmp')",
    "paimonLocal('/tmp')",
    "executable('script', 'TSV', 'a String')",
    "url('{address}', 'LineAsString')",
    "url('file:///etc/passwd', 'LineAsString')",
    "s3('{address}bucket/key', 'LineAsString')",
    "gcs('{address}bucket/key', 'LineAsString')",
    "s3Queue('x')",
    "azureBlobStorage('BlobEndpoint={address};AccountKey=YQ==', 'c', 'b', 'TSV')",
    "hdfs('hdfs://{host}/x', 'TSV', 'a String')",
    "deltaLake('{address}bucket/x/')",
    "iceberg('{address}bucket/x/')",
    "hudi('{address}bucket/x/')",
    "paimon('{address}bucket/x/')",
    "remote('{host}', 'system', 'one')",
    "remoteSecure('{host}', 'system', 'one')",
    "mysql('{host}', 'a', 'b', 'c', 'd')",
    "postgresql('{host}', 'a', 'b', 'c', 'd')",
    "mongodb('{host}', 'a', 'b', 'c', 'd', 'x String')",
    "redis('{host}', 'k', 'k String, v String')",
    "odbc('DSN=x', 'a', 'b')",
    "jdbc('x', 'a', 'b')",
    "arrowFlight('{host}', 'x')",
    "ytsaurus('{address}', '//x', 'y', 'a String')",
    "dictionary('d')",
    "loop('system', 'users')",
)
SOURCES: Final = (
    "FILE(path '/etc/passwd' format 'CSV')",
    "HTTP(url '{address}' format 'CSV')",
    "EXECUTABLE(command 'cat /etc/passwd' format 'CSV')",
    "MYSQL(host '{name}' port {port} user 'a' password 'b' db 'c' table 'd')",
)
ENGINES: Final = ("URL('{address}', 'CSV')", "File(CSV)", "MySQL('{host}', 'a', 'b', 'c', 'd')")
STATEMENTS: Final = (
    "INSERT INTO tollgate.ledger VALUES ('acme', 1)",
    "INSERT INTO FUNCTION file('x.csv') SELECT 1",
    "INSERT INTO FUNCTION url('{address}', 'CSV', 'a Int8') SELECT 1",
    "SELECT 1 INTO OUTFILE '{folder}/planted.csv'",
    "CREATE DATABASE mine ENGINE = MySQL('{host}', 'a', 'b', 'c')",
    "CREATE VIEW mine AS SELECT 1",
    "CREATE FUNCTION mine AS (x) -> x",
    "CREATE NAMED COLLECTION mine AS a = 1",
    "CREATE USER mine",
    "DROP FUNCTION file",
    "ATTACH TABLE mine FROM '/etc' (a String) ENGINE = File(CSV)",
    "BACKUP TABLE tollgate.ledger TO File('x')",
    "BACKUP TABLE tollgate.ledger TO S3('{address}bucket/x', 'a', 'b')",
    "KILL QUERY WHERE 1",
    "SYSTEM SHUTDOWN",
    "SYSTEM FLUSH LOGS",
    "SHOW PROCESSLIST",
    "SHOW CREATE USER admin",
    "SHOW USERS",
    "SHOW ACCESS",
    "SELECT getServerSetting('max_connections')",
    "SELECT demangle(addressToSymbol(0))",
)
SECRET_TABLES: Final = (
    *("users", "grants", "roles", "row_policies", "settings_profiles", "quotas", "query_log"),
    *("processes", "named_collections", "server_settings", "session_log", "text_log", "parts_log"),
    *("user_directories", "disks", "replicas", "clusters", "asynchronous_inserts", "query_cache"),
    *("query_thread_log", "query_views_log", "crash_log", "opentelemetry_span_log", "backups"),
)
SETTINGS: Final = (
    "readonly = 0",
    "max_execution_time = 0",
    "max_execution_time = 100000",
    "max_memory_usage = 0",
    "log_queries = 0",
    "max_concurrent_queries_for_user = 0",
    "allow_introspection_functions = 1",
    "allow_python_table_function = 1",
    # Without the analyzer functions of users would be found in another way.
    "enable_analyzer = 0",
)

MAKE_LEDGER: Final = (
    "CREATE TABLE tollgate.ledger (customer_id String, a Int64) ENGINE = MergeTree ORDER BY a "
    "SETTINGS min_bytes_for_wide_part = 0"
)

Analyst = tuple[str, str]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("limits"))


@pytest.fixture(scope="module")
def server(home: Home) -> Iterator[Endpoints]:
    """A server with rows of two customers, of whom the restricted analyst has one."""
    add_analyst(home, RESTRICTED, ["acme"])
    options = StackOptions(root=home.root, kafka_bootstrap=f"{LOOPBACK}:1", fsync=False)
    with EmbeddedStack(options) as running:
        endpoints = running.endpoints()
        for statement in (
            "CREATE DATABASE IF NOT EXISTS tollgate",
            MAKE_LEDGER,
            f"INSERT INTO tollgate.ledger VALUES ('acme', 1), ('{OTHERS}', 2)",
            f"SELECT '{OTHERS}' FORMAT Null",
            "SYSTEM FLUSH LOGS",
        ):
            ask(
                endpoints.clickhouse_url,
                statement,
                endpoints.clickhouse_user,
                endpoints.clickhouse_password,
            )
        yield endpoints


@pytest.fixture(params=["analyst", RESTRICTED])
def reader(request: pytest.FixtureRequest, server: Endpoints, home: Home) -> Analyst:
    """Who asks: the analyst that reads everything, and one that reads a customer."""
    if request.param == RESTRICTED:
        return RESTRICTED, load_analysts(home)[0].password
    assert server.analyst_password is not None, "the engine cannot be confined on this machine"
    return "analyst", server.analyst_password


def told(server: Endpoints, reader: Analyst, query: str) -> tuple[bool, str]:
    """Whether a query was answered, and what was said."""
    try:
        return True, ask(server.clickhouse_url, query, *reader)
    except HTTPError as refusal:
        return False, refusal.read().decode("utf-8", "replace")


@contextlib.contextmanager
def listening() -> Iterator[tuple[socket.socket, dict[str, object]]]:
    """A socket that would notice whoever calls, and its address in the forms of queries."""
    with socket.create_server((LOOPBACK, 0)) as bound:
        bound.setblocking(False)
        port = bound.getsockname()[1]
        host = f"{LOOPBACK}:{port}"
        yield bound, {"host": host, "address": f"http://{host}/", "name": LOOPBACK, "port": port}


def test_no_query_opens_a_file_or_calls_anybody(
    server: Endpoints, reader: Analyst, home: Home
) -> None:
    with listening() as (bound, places):
        places["folder"] = str(home.clickhouse)
        queries = [f"SELECT * FROM {one}" for one in TABLE_FUNCTIONS]
        queries += [f"DESCRIBE TABLE {one}" for one in TABLE_FUNCTIONS]
        queries += [
            f"CREATE DICTIONARY mine (k UInt64, v String) PRIMARY KEY k SOURCE({source}) "
            "LAYOUT(FLAT()) LIFETIME(0)"
            for source in SOURCES
        ]
        queries += [f"CREATE TEMPORARY TABLE mine (a String) ENGINE = {one}" for one in ENGINES]
        for query in (*queries, *STATEMENTS):
            was_answered, text = told(server, reader, query.format_map(places))
            refused = "ACCESS_DENIED" in text or "INTO_OUTFILE_NOT_ALLOWED" in text
            assert (query, was_answered, refused) == (query, False, True), text
        with pytest.raises(BlockingIOError):
            bound.accept()
    assert not (home.clickhouse / "planted.csv").exists()


READING: Final = (
    "SELECT file({path})",
    "SELECT `file`({path})",
    "SELECT file({path}, 'nothing')",
    "SELECT arrayMap(file, [{path}])",
    "SELECT arrayMap(one -> file(one), [{path}])",
    "WITH (one -> file(one)) AS g SELECT g({path})",
    "SELECT * APPLY(file) FROM (SELECT {path})",
    "SELECT (SELECT file({path}))",
    "SELECT * FROM view(SELECT file({path}))",
    "SELECT * FROM values('a String', file({path}))",
    "SELECT count() FROM system.one WHERE file({path}) = ''",
    "SELECT 1 GROUP BY file({path})",
    "SELECT file(concat({path}, '')) SETTINGS max_threads = 1",
)


def test_no_form_of_the_function_that_needs_no_grant_reads_a_file(
    server: Endpoints, reader: Analyst, home: Home
) -> None:
    parts = list((home.clickhouse / "data" / "store").rglob("customer_id.bin"))
    assert parts, "the rows lie in no file that could be read"
    assert any(OTHERS.encode() in part.read_bytes() for part in parts)
    for path in (*map(str, parts), str(home.clickhouse / "conf" / "users.xml"), "/proc/self/maps"):
        for query in READING:
            was_answered, text = told(server, reader, query.format(path=f"'{path}'"))
            assert (query, was_answered) == (query, False), text
            assert OTHERS not in text


def test_a_table_of_the_system_that_shows_secrets_or_queries_is_closed(
    server: Endpoints, reader: Analyst
) -> None:
    for table in SECRET_TABLES:
        was_answered, text = told(server, reader, f"SELECT * FROM system.{table}")
        # Tables of logs that were never written are not there.
        refused = "ACCESS_DENIED" in text or "UNKNOWN_TABLE" in text
        assert (table, was_answered, refused) == (table, False, True), text


def test_what_is_open_of_the_system_says_nothing_of_others(server: Endpoints, home: Home) -> None:
    joe = (RESTRICTED, load_analysts(home)[0].password)
    _, names = told(server, joe, "SELECT name FROM system.tables WHERE database = 'system'")
    checked = 0
    for table in names.split():
        was_answered, text = told(server, joe, f"SELECT * FROM system.{table} LIMIT 1000")
        checked += was_answered
        assert OTHERS not in text, table
    assert told(server, joe, "SELECT customer_id FROM tollgate.ledger") == (True, "acme")
    assert checked < 60


def test_limits_cannot_be_lifted(server: Endpoints, reader: Analyst) -> None:
    for setting in SETTINGS:
        for query in (f"SELECT 1 SETTINGS {setting}", f"SET {setting}"):
            was_answered, text = told(server, reader, query)
            assert (query, was_answered) == (query, False)
            refusals = ("SETTING_CONSTRAINT_VIOLATION", "READONLY", "QUERY_IS_PROHIBITED")
            assert any(refusal in text for refusal in refusals), text


def test_the_administrator_cannot_bring_the_function_back_by_sql(
    home: Home, server: Endpoints
) -> None:
    planted = home.clickhouse / "data" / "user_defined" / "function_file.sql"
    assert planted.read_text("utf-8").startswith("CREATE FUNCTION file AS")
    assert planted.stat().st_mode & 0o077 == 0
    admin = (server.clickhouse_user, server.clickhouse_password)
    for statement in ("DROP FUNCTION file", "CREATE OR REPLACE FUNCTION file AS (x) -> x"):
        assert not told(server, admin, statement)[0]
    assert not told(server, admin, "SELECT file('/proc/self/maps')")[0]


def test_what_an_analyst_can_plant_keeps_no_server_from_starting(tmp_path: Path) -> None:
    options = StackOptions(root=tmp_path / "home", kafka_bootstrap=f"{LOOPBACK}:1", fsync=False)
    with EmbeddedStack(options) as running:
        endpoints, kept = running.endpoints(), running.home.clickhouse / "data"
        user = ("analyst", str(endpoints.analyst_password))
        admin = (endpoints.clickhouse_user, endpoints.clickhouse_password)
        told(endpoints, admin, "CREATE DATABASE tollgate")
        names = ("metadata/planted.sql", "user_defined/function_planted.sql")
        for name in names:
            told(endpoints, user, f"SELECT * FROM sqlite('{kept}/{name}', 't')")
        # The engine makes the file before it refuses: should it ever not, this can go.
        assert [(kept / name).stat().st_size for name in names] == [0, 0]
    with EmbeddedStack(options) as running:
        admin = (running.endpoints().clickhouse_user, running.endpoints().clickhouse_password)
        assert told(running.endpoints(), admin, "SELECT 1") == (True, "1")
