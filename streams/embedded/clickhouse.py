"""The embedded ClickHouse: the real engine on loopback, as a child of the supervisor.

Owns its configuration, its users and the question whether it answers. Tables are the
migrations'. The process itself is `clickhouse_server.py`.
"""

import base64
import hashlib
import os
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from streams.embedded.analysts import RestrictedAnalyst
from streams.embedded.child import ChildSpec
from streams.embedded.clickhouse_server import engine_file
from streams.embedded.confine import can_confine
from streams.embedded.home import Secrets, write_private
from streams.embedded.ports import LOOPBACK
from streams.errors import SetupError
from streams.invoicing.readers import (
    ANALYST_MEMORY_BYTES,
    ANALYST_QUERIES,
    ANALYST_SECONDS,
    conditions,
    grants,
)
from streams.tls import blame, client_context

ADMIN_USER = "admin"
ANALYST_USER = "analyst"
DATABASE = "tollgate"

# At rest the engine takes 250 MB, with 10 M rows and heavy queries it peaked at 870.
DEFAULT_MEMORY_MB = 2048

# Free memory for want of which a query gets no further thread. The engine's own gigabyte would give
# every query one thread, whatever the cores: the server's whole memory is two.
THREAD_MEMORY_BYTES = 128 * 1024 * 1024

CA_SETTING = "TOLLGATE_CLICKHOUSE_TLS_CA"

PROBE_TIMEOUT_SECONDS = 2.0

# SIGTERM ends the process at once; the rest is for a machine that swaps.
STOP_SECONDS = 10.0

# The engine can show its own environment to whoever queries it, so it gets only these.
PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR")

# Where the engine keeps functions that users define, below its data.
FUNCTIONS_FOLDER = "user_defined"

# The engine's local variant has a function `file` that needs no grant. The kernel keeps it away
# from the files of others (confine.py), but not from the engine's own: in these a restricted
# analyst could read the rows of everybody else, past every row policy. The engine takes a function
# that is defined here before its own one of that name; by SQL nobody can define or drop one of a
# name that is taken.
NO_FILE_FUNCTION = (
    "CREATE FUNCTION file AS path -> throwIf(1, 'reading files is not allowed here')\n"
)

# System tables that help to find one's way, and show nobody's queries or settings.
ANALYST_SYSTEM_TABLES = (
    "columns",
    "databases",
    "functions",
    "numbers",
    "one",
    "parts",
    "tables",
    "time_zones",
)


@dataclass(frozen=True, slots=True)
class ClickHouseOptions:
    """Where the embedded ClickHouse keeps its files, where it listens, and its limits.

    `fsync` makes an acknowledged insert survive a loss of power, not only a kill. It is on: the
    sink takes its position from the largest stored sequence, so a part that vanished *below* it
    would be a hole that nobody fills. It costs about a sixth of the insert rate.
    """

    folder: Path
    http_port: int
    tcp_port: int
    memory_mb: int = DEFAULT_MEMORY_MB
    fsync: bool = True


def config_xml(options: ClickHouseOptions) -> str:
    """Return the server's configuration."""
    conf = escape(str(options.folder / "conf"))
    fsync = int(options.fsync)
    return f"""\
<!-- Written by Tollgate at every start; changes here are lost. -->
<clickhouse>
  <listen_host>{LOOPBACK}</listen_host>
  <http_port>{options.http_port}</http_port>
  <tcp_port>{options.tcp_port}</tcp_port>
  <users_config>{conf}/users.xml</users_config>
  <timezone>UTC</timezone>
  <max_server_memory_usage>{options.memory_mb * 1024 * 1024}</max_server_memory_usage>
  <max_concurrent_queries>100</max_concurrent_queries>
  <max_connections>512</max_connections>
  <background_pool_size>4</background_pool_size>
  <background_schedule_pool_size>16</background_schedule_pool_size>
  <mark_cache_size>{64 * 1024 * 1024}</mark_cache_size>
  <log-level>warning</log-level>
  <logger>
    <level>warning</level>
    <log>{escape(str(options.folder / "server.log"))}</log>
    <size>20M</size>
    <count>2</count>
  </logger>
  <query_log>
    <database>system</database>
    <table>query_log</table>
    <flush_interval_milliseconds>7500</flush_interval_milliseconds>
    <ttl>event_date + INTERVAL 7 DAY DELETE</ttl>
  </query_log>
  <allow_experimental_webterminal>0</allow_experimental_webterminal>
  <access_control_improvements>
    <select_from_system_db_requires_grant>true</select_from_system_db_requires_grant>
    <select_from_information_schema_requires_grant>true</select_from_information_schema_requires_grant>
  </access_control_improvements>
  <merge_tree>
    <fsync_after_insert>{fsync}</fsync_after_insert>
    <fsync_part_directory>{fsync}</fsync_part_directory>
  </merge_tree>
</clickhouse>
"""


def has_analyst() -> bool:
    """Return whether the embedded server has an analyst here.

    Only a confined engine has one: were the function `file` there after all, a reader of the bills
    could read every file of whoever runs the server, the administrator's password among them.
    """
    return can_confine()


def users_xml(
    secrets: Secrets, *, with_analyst: bool, restricted: Sequence[RestrictedAnalyst] = ()
) -> str:
    """Return the users: `admin`, the read-only `analyst`, restricted ones with it, and a `default`
    that can do nothing.

    The table function `python` is off for all: there is no Python to call, and trying ends the
    engine with a segmentation fault.

    The holding query logs in as `default` without a password, which the engine hard-wires. So
    `default` keeps what that query needs, and one session, which that query occupies.
    """
    holding_grants = ("SYSTEM LISTEN ON *.*", "SELECT ON system.numbers")
    analyst_grants = (
        *grants(DATABASE),
        "SELECT ON information_schema.*",
        "SELECT ON INFORMATION_SCHEMA.*",
        *(f"SELECT ON system.{table}" for table in ANALYST_SYSTEM_TABLES),
    )
    analyst = ""
    if with_analyst:
        analyst = _user(ANALYST_USER, secrets.analyst_password, "analyst", analyst_grants)
        analyst += "".join(
            _user(
                one.name,
                one.password,
                "analyst",
                tuple(grants(DATABASE, one.customers)),
                conditions(DATABASE, one.customers),
            )
            for one in restricted
        )
    return f"""\
<!-- Written by Tollgate at every start; changes here are lost. -->
<clickhouse>
  <profiles>
    <default>
      <async_insert>0</async_insert>
      <max_threads_min_free_memory_per_thread>{THREAD_MEMORY_BYTES}</max_threads_min_free_memory_per_thread>
      <allow_python_table_function>0</allow_python_table_function>
      <constraints>
        <allow_python_table_function><readonly/></allow_python_table_function>
      </constraints>
    </default>
    <holding><max_sessions_for_user>1</max_sessions_for_user></holding>
{_analyst_profile()}  </profiles>
  <quotas><default></default></quotas>
  <users>
    {_user("default", "", "holding", holding_grants)}
    {_user(ADMIN_USER, secrets.admin_password, "default", ())}
    {analyst}
  </users>
</clickhouse>
"""


def _analyst_profile() -> str:
    """Return the limits of analysts, which they cannot change."""
    return f"""\
    <analyst>
      <readonly>2</readonly>
      <max_execution_time>{ANALYST_SECONDS}</max_execution_time>
      <max_memory_usage>{ANALYST_MEMORY_BYTES}</max_memory_usage>
      <max_threads_min_free_memory_per_thread>{THREAD_MEMORY_BYTES}</max_threads_min_free_memory_per_thread>
      <allow_python_table_function>0</allow_python_table_function>
      <allow_introspection_functions>0</allow_introspection_functions>
      <log_queries>1</log_queries>
      <max_concurrent_queries_for_user>{ANALYST_QUERIES}</max_concurrent_queries_for_user>
      <constraints>
        <log_queries><readonly/></log_queries>
        <max_concurrent_queries_for_user><readonly/></max_concurrent_queries_for_user>
        <allow_python_table_function><readonly/></allow_python_table_function>
        <allow_introspection_functions><readonly/></allow_introspection_functions>
        <max_execution_time><min>1</min><max>{ANALYST_SECONDS}</max></max_execution_time>
        <max_memory_usage><min>1</min><max>{ANALYST_MEMORY_BYTES}</max></max_memory_usage>
      </constraints>
    </analyst>
"""


def _user(
    name: str,
    password: str,
    profile: str,
    rights: tuple[str, ...],
    filters: Mapping[str, str] | None = None,
) -> str:
    """Return one user's element; without rights the user may do everything. `filters` say by table
    which rows it sees."""
    digest = hashlib.sha256(password.encode()).hexdigest()
    secret = f"<password_sha256_hex>{digest}</password_sha256_hex>" if password else "<password/>"
    queries = "".join(f"<query>GRANT {escape(right)}</query>" for right in rights)
    may = f"<grants>{queries}</grants>" if rights else "<access_management>1</access_management>"
    rows = "".join(
        f"<{table}><filter>{escape(condition)}</filter></{table}>"
        for table, condition in (filters or {}).items()
    )
    policies = f"<databases><{DATABASE}>{rows}</{DATABASE}></databases>" if rows else ""
    return (
        f"<{name}>{secret}<networks><ip>::1</ip><ip>127.0.0.1</ip></networks>"
        f"<profile>{profile}</profile><quota>default</quota>{policies}{may}</{name}>"
    )


def prepare_clickhouse(
    options: ClickHouseOptions,
    secrets: Secrets,
    restart_limit: int,
    restricted: Sequence[RestrictedAnalyst] = (),
) -> ChildSpec:
    """Write the configuration and return what to run. Raises `SetupError`.

    The caller holds the home's lock and has checked the ports.
    """
    if engine_file() is None:
        raise SetupError(
            "the embedded ClickHouse needs chdb-core, which is not installed",
            action=(
                "Install Tollgate with its one-machine extra (pip install 'tollgate[embedded]'), "
                "or set TOLLGATE_CLICKHOUSE_URL to a ClickHouse of your own."
            ),
        )
    for name in ("conf", "data", f"data/{FUNCTIONS_FOLDER}"):
        (options.folder / name).mkdir(mode=0o700, exist_ok=True)
    remove_planted(options.folder / "data")
    write_private(
        options.folder / "data" / FUNCTIONS_FOLDER / "function_file.sql", NO_FILE_FUNCTION
    )
    write_private(options.folder / "conf" / "config.xml", config_xml(options))
    write_private(
        options.folder / "conf" / "users.xml",
        users_xml(secrets, with_analyst=has_analyst(), restricted=restricted),
    )
    project_root = str(Path(__file__).resolve().parents[2])
    search_path = os.pathsep.join(filter(None, [project_root, os.environ.get("PYTHONPATH")]))
    return ChildSpec(
        name="clickhouse",
        argv=(
            sys.executable,
            "-m",
            "streams.embedded.clickhouse_server",
            str(options.folder),
            str(options.http_port),
            str(options.tcp_port),
        ),
        env={
            **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
            "PYTHONPATH": search_path,
        },
        inherits_env=False,
        cwd=options.folder,
        ready=lambda: clickhouse_answers(options.http_port, secrets),
        stop_seconds=STOP_SECONDS,
        restart_limit=restart_limit,
    )


def remove_planted(kept: Path) -> None:
    """Remove empty definitions, which the engine never writes itself and would not start with.

    Its table function `sqlite` makes the file that it is asked for before it asks whether the user
    may: an analyst can plant empty files below the engine's folder, and nothing else.
    """
    for folder in (kept / "metadata", kept / FUNCTIONS_FOLDER):
        for path in folder.glob("*.sql") if folder.is_dir() else ():
            if path.is_file() and path.stat().st_size == 0:
                path.unlink()


def clickhouse_answers(http_port: int, secrets: Secrets) -> bool:
    """Return whether /ping and one query as admin are answered on this loopback port."""
    url = f"http://{LOOPBACK}:{http_port}"
    try:
        return ask(url, "SELECT 1", ADMIN_USER, secrets.admin_password) == "1"
    except (OSError, ValueError):
        return False


def ask(url: str, query: str, user: str, password: str, tls_ca: Path | None = None) -> str:
    """Return the trimmed answer to one short query, after a look at /ping.

    `tls_ca` is the file of whom an https address is believed for. Raises `OSError` (`HTTPError`
    among them) when the server cannot be reached or refuses, `ValueError` for what is not HTTP or
    not a ClickHouse, and `SetupError` where its certificate is refused.
    """
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    authorized = {"Authorization": f"Basic {token}"}
    # The address is the caller's own setting, checked to be http or https.
    request = urllib.request.Request(f"{url}/", query.encode(), headers=authorized)  # noqa: S310
    # A proxy from the environment has no business here.
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if url.startswith("https:"):
        context = client_context(tls_ca, CA_SETTING)
        handlers.append(urllib.request.HTTPSHandler(context=context))
    opener = urllib.request.build_opener(*handlers)
    try:
        return _ask(opener, url, request)
    except OSError as error:
        told = blame(error, url_setting="TOLLGATE_CLICKHOUSE_URL", ca_setting=CA_SETTING)
        if told is None:
            raise
        raise SetupError(f"ClickHouse at {url}: {told.wrong}", action=told.todo) from error


def _ask(opener: urllib.request.OpenerDirector, url: str, request: urllib.request.Request) -> str:
    with opener.open(f"{url}/ping", timeout=PROBE_TIMEOUT_SECONDS) as pong:
        if pong.read(64).strip() != b"Ok.":
            raise ValueError(f"{url} is not a ClickHouse")
    with opener.open(request, timeout=PROBE_TIMEOUT_SECONDS) as answer:
        return str(answer.read(4096).decode().strip())
