"""The process of the embedded ClickHouse: `python -m streams.embedded.clickhouse_server`.

Arguments: a folder, then the ports to listen on. Loads the engine out of chdb-core and has it
open its own HTTP and native listeners, which live as long as one query: the last statement
therefore sleeps. No request passes through Python. Configuration is read from conf/ below the
folder (written by `clickhouse.py`), data lie in data/. Where the kernel allows it, the process
first gives up all other files and all outgoing connections (`confine.py`).

Stopping is crash-only: an acknowledged insert is a part on disk already, so SIGTERM ends the
process at once, just as safely as SIGKILL does.
"""

import ctypes
import importlib.machinery
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from streams.embedded.confine import can_confine, confine

EXTENSION_NAME = "_chdb.abi3.so"
RTLD_DEEPBIND = 8  # <bits/dlfcn.h>; Python's os module lacks it on some builds.

# What the engine looks at besides its own folder: sizes of the machine and of its container, its
# own memory, the time zone. /proc as a whole, because rules for single files in it do not last;
# Landlock keeps the private ones of other processes closed, and this one's environment holds
# nothing (`inherits_env` in `clickhouse.py`).
READABLE = (
    "/etc/localtime",
    "/etc/timezone",
    "/proc",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
    "/usr/share/zoneinfo",
)

HOLDING_QUERY = (
    "SYSTEM START LISTEN QUERIES ALL;"
    "SELECT sleepEachRow(1) FROM system.numbers FORMAT Null "
    "SETTINGS max_block_size = 1, max_threads = 1, max_execution_time = 0, log_queries = 0"
)


def engine_file() -> Path | None:
    """Return where chdb-core's engine lies, None if it is not installed."""
    found = importlib.util.find_spec("chdb")
    if found is None or found.origin is None:
        return None
    library = Path(found.origin).with_name(EXTENSION_NAME)
    return library if library.is_file() else None


def load_engine(library: Path) -> Any:
    """Return the engine's extension module.

    `import chdb` is avoided: it opens and closes a second engine, and wants pandas and pyarrow
    for conversions that are of no use here.
    """
    if sys.platform == "linux":
        # The engine brings its own allocator; without DEEPBIND parts of it would end up in
        # another library's.
        ctypes.CDLL(str(library), mode=sys.getdlopenflags() | RTLD_DEEPBIND)
    loader = importlib.machinery.ExtensionFileLoader("_chdb", str(library))
    spec = importlib.util.spec_from_loader("_chdb", loader)
    if spec is None:
        raise ImportError(f"{library} is not an extension module")
    module: ModuleType = importlib.util.module_from_spec(spec)
    previous = Path.cwd()
    os.chdir(library.parent)  # The extension looks for its helper libraries here.
    try:
        loader.exec_module(module)
    finally:
        os.chdir(previous)
    return module


def empty_input() -> None:
    """Make standard input /dev/null.

    Of a regular file there the engine would make a table before its first query, for which
    `default` rightly has no right ("grant CREATE ARBITRARY TEMPORARY TABLE"), and then end. A
    number that is closed is as bad: the next file that is opened would get it.
    """
    nothing = os.open(os.devnull, os.O_RDONLY)
    if nothing != 0:
        os.dup2(nothing, 0)
        os.close(nothing)


def main() -> int:
    """Serve until killed; returns 1 if the engine could not start or gave up."""
    folder = Path(sys.argv[1]).resolve()
    library = engine_file()
    if library is None:
        print("chdb-core is not installed: pip install 'tollgate[embedded]'", file=sys.stderr)
        return 1
    empty_input()
    os.umask(0o077)
    engine = load_engine(library)
    if can_confine():
        ports = [int(port) for port in sys.argv[2:]]
        confine(own=folder, readable=[Path(name) for name in READABLE], ports=ports)
    os.chdir(folder / "conf")  # The engine reads ./config.xml.
    try:
        engine.query(HOLDING_QUERY, "TabSeparated", path=str(folder / "data"))
    except Exception as error:  # noqa: BLE001  The engine raises bare exceptions of every kind.
        print(f"the engine stopped: {error}", file=sys.stderr)
        return 1
    print("the engine stopped: its holding query was ended", file=sys.stderr)
    return 1


if __name__ == "__main__":
    # os._exit: tearing the engine down in mid-flight crashes, and there is nothing to save.
    code = main()
    sys.stderr.flush()
    os._exit(code)
