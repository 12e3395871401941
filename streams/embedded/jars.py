"""The pinned jars of the embedded broker: the list, the per-user cache, and the check by SHA-256.

Owns `kafka-jars.txt` and the folder in the cache where the jars lie. Does not know how a jar is
fetched (`download.py`) nor what is done with it (`kafka.py`).
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from streams.errors import SetupError

KAFKA_VERSION = "4.3.1"
PIN_FILE = Path(__file__).with_name("kafka-jars.txt")
STAMP_NAME = "verified.json"


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of the pin file: a file name, where Maven keeps it, and what it must contain."""

    name: str
    coordinates: str
    size_bytes: int
    sha256: str


def read_pins(pin_file: Path = PIN_FILE) -> tuple[Jar, ...]:
    """Return the pinned jars in file order; a malformed line is a `SetupError` naming it."""
    jars = []
    for number, line in enumerate(pin_file.read_text("utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = line.split()
        if len(parts) != 4 or not parts[2].isdigit() or len(parts[3]) != 64:
            raise SetupError(
                f"{pin_file.name} line {number} is not 'name coordinates size sha256'",
                action="Restore the file from the release that you installed.",
            )
        jars.append(Jar(parts[0], parts[1], int(parts[2]), parts[3]))
    return tuple(jars)


def default_cache_dir() -> Path:
    """Return the per-user cache folder of Tollgate, by the convention of the platform."""
    chosen = os.environ.get("XDG_CACHE_HOME")
    if chosen:
        return Path(chosen) / "tollgate"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "tollgate"
    return Path.home() / ".cache" / "tollgate"


def jar_dir(cache_dir: Path) -> Path:
    """Return the folder of this version's jars; versions never share one."""
    return cache_dir / f"kafka-{KAFKA_VERSION}"


def missing_jars(folder: Path, jars: Iterable[Jar]) -> list[Jar]:
    """Return the pinned jars that are not in `folder`, in pin order."""
    return [jar for jar in jars if not (folder / jar.name).is_file()]


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content in lower-case hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_jar(path: Path, jar: Jar) -> None:
    """Raise `SetupError` unless the file's content is exactly the pinned one."""
    found = sha256_of(path)
    if found != jar.sha256:
        raise SetupError(
            f"{jar.name} is not the pinned file: SHA-256 is {found}, pinned is {jar.sha256}",
            action=(
                f"Delete {path} and start again, so that it is fetched anew. If it differs again, "
                "your Maven repository or mirror serves another file under that name: do not use "
                "it, and tell whoever runs it."
            ),
        )


def verify_jars(folder: Path, jars: Iterable[Jar]) -> bool:
    """Check every jar in `folder`; return whether content had to be read.

    A stamp remembers size and modification time of files whose content was right, so that a
    later start does not read 45 MB again. A changed pin, size or time is read again. Raises
    `SetupError` for the first jar that is not the pinned one; missing jars are the caller's.
    """
    jars = tuple(jars)
    seen = {jar.name: [jar.sha256, *_size_and_time(folder / jar.name)] for jar in jars}
    stamp = folder / STAMP_NAME
    try:
        known = json.loads(stamp.read_text("utf-8"))
    except (OSError, ValueError):
        known = {}  # No stamp, or one that was cut short: everything is read again.
    doubtful = [jar for jar in jars if known.get(jar.name) != seen[jar.name]]
    for jar in doubtful:
        check_jar(folder / jar.name, jar)
    if doubtful:
        fresh = stamp.with_name(f"{STAMP_NAME}.{os.getpid()}")
        fresh.write_text(json.dumps(seen), "utf-8")
        fresh.replace(stamp)
    return bool(doubtful)


def _size_and_time(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns
