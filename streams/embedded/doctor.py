"""What a machine lacks for Tollgate, and how to get it. Changes nothing and starts no server."""

import os
import platform
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from streams.embedded.clickhouse import ask, has_analyst
from streams.embedded.clickhouse_server import engine_file
from streams.embedded.download import jars_summary
from streams.embedded.home import Home, holder_pid, is_held
from streams.embedded.jars import default_cache_dir, jar_dir, read_pins, verify_jars
from streams.embedded.java import find_java
from streams.embedded.kafka import broker_answers, port_answers
from streams.embedded.ports import holder_of, is_free
from streams.embedded.stack import PORT_SETTINGS
from streams.errors import SetupError
from streams.settings import Settings

PYTHON_MIN = (3, 11)

# The engine with its package 550 MB and the jars 45 MB lie elsewhere; this is for the data.
DISK_NEEDED_BYTES = 500 * 1024 * 1024
DISK_WANTED_BYTES = 5 * 1024 * 1024 * 1024

# Kafka keeps about four files open per partition and there are some eighty, ClickHouse a few per
# column of every part that a query reads.
OPEN_FILES_WANTED = 4096

# Loading 550 MB from a cold disk takes a while.
ENGINE_TIMEOUT_SECONDS = 60

EXTRA = "pip install 'tollgate[embedded]'"

Status = Literal["ok", "warning", "missing"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `remedy` is empty where nothing is to be done."""

    name: str
    status: Status
    found: str
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return the finding ready for JSON."""
        return asdict(self)


def examine(settings: Settings, cache_dir: Path | None = None) -> Iterator[Finding]:
    """Yield the findings one by one, in the order in which they would hinder a start."""
    yield check_platform()
    yield check_python()
    if settings.kafka_bootstrap is None:
        yield check_java()
        yield check_jars(cache_dir or default_cache_dir())
    else:
        yield from check_external_kafka(
            settings.kafka_bootstrap, plain=settings.kafka_security_protocol == "plaintext"
        )
    if settings.clickhouse_url is None:
        yield check_engine()
        yield check_analyst()
    else:
        yield check_external_clickhouse(settings)
    yield check_home(settings.home)
    yield check_disk(settings.home)
    yield from check_ports(settings)
    yield check_open_files()


def check_platform() -> Finding:
    """Wheels of the engine and of RocksDB exist for glibc Linux and macOS only."""
    machine = f"{platform.system()} {platform.machine()}"
    if sys.platform == "linux" and platform.libc_ver()[0] != "glibc":
        return Finding(
            "platform",
            "missing",
            f"{machine} without glibc",
            "chdb-core has no wheel for musl: use a glibc image (Debian, Ubuntu, Fedora), or set "
            "TOLLGATE_CLICKHOUSE_URL.",
        )
    known_machine = platform.machine() in ("x86_64", "AMD64", "aarch64", "arm64")
    if sys.platform not in ("linux", "darwin") or not known_machine:
        return Finding(
            "platform",
            "missing",
            machine,
            "Run it on Linux or macOS (x86-64 or arm64); on Windows inside WSL 2 or Docker.",
        )
    return Finding("platform", "ok", machine)


def check_python() -> Finding:
    """Python itself."""
    found = platform.python_version()
    if sys.version_info < PYTHON_MIN:
        return Finding("python", "missing", found, "Install Python 3.11 or newer.")
    return Finding("python", "ok", f"{found} ({sys.executable})")


def check_java() -> Finding:
    """The runtime that the embedded Kafka would be started with."""
    try:
        java = find_java()
    except SetupError as error:
        return Finding("java", "missing", error.message, error.action)
    return Finding("java", "ok", f"{java.major} from {java.origin} ({java.path})")


def check_jars(cache_dir: Path) -> Finding:
    """Kafka's jars: fetched, and exactly the pinned ones."""
    folder, jars = jar_dir(cache_dir), read_pins()
    count, size_bytes = jars_summary(cache_dir, jars)
    if count:
        try:
            metadata.version("jgo")
        except metadata.PackageNotFoundError:
            return Finding("kafka jars", "missing", f"{count} to fetch, without jgo", f"{EXTRA}.")
        return Finding(
            "kafka jars",
            "warning",
            f"{count} of {len(jars)} not fetched yet",
            f"The first start fetches them ({size_bytes / 1e6:.0f} MB) into {folder}.",
        )
    try:
        verify_jars(folder, jars)
    except (SetupError, OSError) as error:
        remedy = error.action if isinstance(error, SetupError) else f"Make {folder} writable."
        return Finding("kafka jars", "missing", str(error).splitlines()[0], remedy)
    return Finding("kafka jars", "ok", f"{len(jars)} verified in {folder}")


def check_engine() -> Finding:
    """ClickHouse's engine: installed, and loading in a process of its own."""
    library = engine_file()
    if library is None:
        return Finding("clickhouse engine", "missing", "chdb-core is not installed", f"{EXTRA}.")
    # Assembled by hand, because importing the package would start an engine and want pandas.
    program = (
        "import pathlib, sys; sys.path.insert(0, sys.argv[1]);"
        "from streams.embedded.clickhouse_server import load_engine;"
        "print(load_engine(pathlib.Path(sys.argv[2])).query('SELECT version()', 'TSV'))"
    )
    root = Path(__file__).resolve().parents[2]
    try:
        result = subprocess.run(
            [sys.executable, "-c", program, str(root), str(library)],
            capture_output=True,
            text=True,
            timeout=ENGINE_TIMEOUT_SECONDS,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        found = f"did not load within {ENGINE_TIMEOUT_SECONDS} s"
        return Finding("clickhouse engine", "missing", found, f"Install it anew: {EXTRA}.")
    if result.returncode != 0:
        found = (result.stderr.strip().splitlines() or ["it does not load"])[-1]
        return Finding("clickhouse engine", "missing", found, f"Install it anew: {EXTRA}.")
    return Finding("clickhouse engine", "ok", f"ClickHouse {result.stdout.strip()}")


def check_analyst() -> Finding:
    """Whether the engine can be confined, without which there is no analyst user."""
    if has_analyst():
        return Finding("confinement", "ok", "Landlock: the analyst reads tables and nothing else")
    return Finding(
        "confinement",
        "warning",
        "not available here, so the embedded ClickHouse has no analyst user",
        "It needs Linux 5.19 or newer with Landlock; everything else works without.",
    )


def check_home(root: Path) -> Finding:
    """The home directory: writable, private, and whether somebody uses it."""
    nearest = _nearest_existing(root)
    if not os.access(nearest, os.W_OK | os.X_OK) or not nearest.is_dir():
        return Finding("home", "missing", f"{nearest} is not writable", "Choose another: --home.")
    home = Home(root)
    if is_held(home):
        return Finding("home", "ok", f"{root}, in use by pid {holder_pid(home)}")
    return Finding("home", "ok", f"{root}" + ("" if nearest == root else " (will be created)"))


def check_disk(root: Path) -> Finding:
    """Free space where the data lie."""
    free_bytes = shutil.disk_usage(_nearest_existing(root)).free
    found = f"{free_bytes / 1e9:.1f} GB free at {root}"
    if free_bytes < DISK_NEEDED_BYTES:
        return Finding("disk", "missing", found, "Free at least 0.5 GB, or choose another --home.")
    if free_bytes < DISK_WANTED_BYTES:
        return Finding("disk", "warning", found, "Enough for a demo; the books are kept for ever.")
    return Finding("disk", "ok", found)


def check_ports(settings: Settings) -> Iterator[Finding]:
    """Each port that an embedded server would listen on."""
    in_use_by_us = is_held(Home(settings.home))
    for name, (setting, purpose) in PORT_SETTINGS.items():
        external = settings.kafka_bootstrap if "kafka" in name else settings.clickhouse_url
        port = int(getattr(settings, name))
        if external is not None or port == 0:
            continue
        label = f"port {port}"
        if is_free(port):
            yield Finding(label, "ok", f"free for {purpose}")
        elif in_use_by_us:
            yield Finding(label, "ok", f"{purpose} of the running installation")
        else:
            holder = holder_of(port) or "another process"
            yield Finding(label, "missing", f"held by {holder}", f"Free it, or set {setting}.")


def check_open_files() -> Finding:
    """How many files a child may open; children raise their soft limit to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < OPEN_FILES_WANTED:
        remedy = f"Raise the hard limit (ulimit -Hn, limits.conf) to {OPEN_FILES_WANTED} or more."
        return Finding("open files", "warning", f"at most {hard}", remedy)
    shown = "unlimited" if hard == resource.RLIM_INFINITY else str(hard)
    return Finding("open files", "ok", f"{soft} now, {shown} at most")


def check_external_kafka(bootstrap: str, *, plain: bool = True) -> Iterator[Finding]:
    """Each server of a Kafka of the user's own; asked in plain text. One that wants TLS or a
    password is only knocked at: whether it lets in is said by the first command that connects."""
    for server in bootstrap.split(","):
        host, _, port = server.rpartition(":")
        label = f"kafka {server}"
        if not plain and port_answers(host.strip("[]"), int(port)):
            yield Finding(label, "ok", "listens; TLS, user and rights were not tried")
        elif plain and broker_answers(host.strip("[]"), int(port)):
            yield Finding(label, "ok", "answers")
        else:
            remedy = "Start it, or correct TOLLGATE_KAFKA_BOOTSTRAP."
            yield Finding(label, "missing", "does not answer as a Kafka broker", remedy)


def check_external_clickhouse(settings: Settings) -> Finding:
    """A ClickHouse of the user's own, with the configured user."""
    url = settings.clickhouse_url or ""
    password = settings.clickhouse_password
    label = f"clickhouse {url}"
    secret = password.get_secret_value() if password else ""
    try:
        version = ask(
            url, "SELECT version()", settings.clickhouse_user, secret, settings.clickhouse_tls_ca
        )
    except SetupError as error:
        return Finding(label, "missing", error.message, error.action)
    except (OSError, ValueError) as error:
        remedy = "Start it, or correct TOLLGATE_CLICKHOUSE_URL, _USER and _PASSWORD."
        return Finding(label, "missing", str(error), remedy)
    return Finding(label, "ok", f"version {version}")


def _nearest_existing(path: Path) -> Path:
    """Return the path itself or the closest ancestor that exists."""
    return next(found for found in (path, *path.parents) if found.exists())
