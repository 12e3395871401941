"""Fetching the pinned jars from the user's Maven repository, several at a time, with progress.

Owns the first download. It resolves nothing: it asks jgo's Maven layer for exactly the pinned
coordinates, so what is run never depends on what a repository says today. jgo knows the default
repository and reads the user's own choice (`[repositories]` in jgo's configuration file), and
jars that lie in the user's local Maven repository are copied instead of fetched.
"""

import contextlib
import fcntl
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TextIO

from streams.embedded.jars import (
    Jar,
    check_jar,
    jar_dir,
    missing_jars,
    read_pins,
    verify_jars,
)
from streams.errors import SetupError

# Enough to hide a round trip per file; more connections gain nothing on a home line.
PARALLEL_DOWNLOADS = 6

# A repository that is silent for longer than this is taken as unreachable.
DOWNLOAD_TIMEOUT_SECONDS = 30

# Without a terminal, one line per this share of the whole.
PLAIN_PROGRESS_STEP_PERCENT = 20


def ensure_jars(
    cache_dir: Path, jars: Sequence[Jar] | None = None, *, progress_to: TextIO | None = None
) -> list[Path]:
    """Return the paths of `jars` (all pinned ones), fetched where missing and every one checked.

    A jar appears under its name only when complete and right (a rename), so an interrupted
    download goes on where it stopped. Raises `SetupError` when a jar cannot be fetched or is
    not the pinned one. Messages go to `progress_to`, by default stderr.
    """
    folder = jar_dir(cache_dir)
    jars = read_pins() if jars is None else jars
    if missing_jars(folder, jars):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "download.lock").open("w") as lock:
            # Two first starts at once: the second waits, then finds everything there.
            fcntl.flock(lock, fcntl.LOCK_EX)
            _fetch(folder, missing_jars(folder, jars), progress_to or sys.stderr)
    verify_jars(folder, jars)
    return [folder / jar.name for jar in jars]


def _fetch(folder: Path, jars: list[Jar], out: TextIO) -> None:
    if not jars:
        return
    total_bytes = sum(jar.size_bytes for jar in jars)
    with (
        tempfile.TemporaryDirectory(prefix=".part-", dir=folder) as staging,
        _progress(len(jars), total_bytes, out) as advance,
        ThreadPoolExecutor(PARALLEL_DOWNLOADS) as pool,
    ):
        fetch_one = _maven_fetcher(Path(staging), advance)

        def place(jar: Jar) -> None:
            arrived = fetch_one(jar)
            check_jar(arrived, jar)
            arrived.replace(folder / jar.name)

        try:
            for _ in pool.map(place, jars):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _maven_fetcher(staging: Path, advance: Callable[[int], None]) -> Callable[[Jar], Path]:
    """Return a function that brings one jar into `staging` and returns where it lies."""
    try:
        import requests
        from jgo.config import GlobalSettings
        from jgo.maven import MavenContext, PythonResolver
    except ImportError as error:
        raise SetupError(
            f"the embedded broker needs {error.name}, which is not installed",
            action="Install Tollgate with its one-machine extra: pip install 'tollgate[embedded]'.",
        ) from error

    @contextlib.contextmanager
    def report(_name: str, _size_bytes: int) -> Iterator[Callable[[int], None]]:
        yield advance

    settings = GlobalSettings.load()
    context = MavenContext(
        resolver=PythonResolver(progress_callback=report),
        repo_cache=staging,
        timeout=DOWNLOAD_TIMEOUT_SECONDS,
    )
    context.remote_repos.update(settings.repositories)
    own_repository = Path(settings.repo_cache)

    def fetch(jar: Jar) -> Path:
        artifact = context.create_dependency(jar.coordinates).artifact
        target = artifact.cached_path
        if target is None:
            raise AssertionError("a context with a cache always knows the cached path")
        local = own_repository / target.relative_to(staging)
        if local.is_file() and local.stat().st_size == jar.size_bytes:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(local, target)
            advance(jar.size_bytes)
            return target
        try:
            return artifact.resolve()
        except (requests.RequestException, RuntimeError, OSError) as error:
            raise SetupError(
                f"{jar.name} ({jar.coordinates}) could not be fetched: {error}",
                action=(
                    "Check the network and start again: what has arrived is kept. Behind a mirror, "
                    "name it in jgo's configuration (jgo config set repositories.central URL). "
                    "With a Kafka of your own, set TOLLGATE_KAFKA_BOOTSTRAP instead."
                ),
            ) from error

    return fetch


@contextlib.contextmanager
def _progress(count: int, total_bytes: int, out: TextIO) -> Iterator[Callable[[int], None]]:
    """Yield a thread-safe `advance(bytes)`: a bar on a terminal, plain lines elsewhere."""
    title = f"Apache Kafka: {count} jars, {total_bytes / 1e6:.0f} MB"
    if out.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
        from rich.progress import TransferSpeedColumn as Speed

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), Speed())
        with Progress(*columns, console=Console(file=out)) as bar:
            task = bar.add_task(title, total=total_bytes)
            yield lambda size_bytes: bar.advance(task, size_bytes)
        return
    print(f"fetching {title}", file=out, flush=True)
    yield _plain_steps(total_bytes, out)


def _plain_steps(total_bytes: int, out: TextIO) -> Callable[[int], None]:
    lock = threading.Lock()
    done_bytes = 0
    next_percent = PLAIN_PROGRESS_STEP_PERCENT

    def advance(size_bytes: int) -> None:
        nonlocal done_bytes, next_percent
        with lock:
            done_bytes += size_bytes
            percent = 100 * done_bytes // max(total_bytes, 1)
            if percent >= next_percent:
                print(f"  {percent} % of {total_bytes / 1e6:.0f} MB", file=out, flush=True)
                next_percent = percent - percent % PLAIN_PROGRESS_STEP_PERCENT
                next_percent += PLAIN_PROGRESS_STEP_PERCENT

    return advance


def jars_summary(cache_dir: Path, jars: Iterable[Jar]) -> tuple[int, int]:
    """Return how many jars are still to be fetched, and their bytes; reads no content."""
    absent = missing_jars(jar_dir(cache_dir), jars)
    return len(absent), sum(jar.size_bytes for jar in absent)
