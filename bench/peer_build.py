"""Building the peers that are written in Java: outside of the checkout, once for each state of
their sources.

Owns the question whether this machine can build them. Which peer is run how is `contenders`.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streams.embedded.java import java_major
from streams.errors import SetupError

SOURCES: Final = Path(__file__).with_name("java")

JDK_MAJOR_MIN: Final = 17
"""What Flink 2 needs; Kafka Streams would do with 11."""

BUILD_SECONDS_MAX: Final = 900
"""A first build fetches some 100 MB of jars; a hung repository must not hang the benchmark."""

OUTPUT_CHARS_MAX: Final = 4_000
"""How much of a failed build's output an error quotes."""

REMEDY: Final = (
    f"Install a JDK of version {JDK_MAJOR_MIN} or newer (a runtime alone has no compiler) and "
    "Maven, or point JAVA_HOME at the JDK. Debian and Ubuntu: apt install openjdk-17-jdk-headless "
    "maven; macOS: brew install openjdk maven. Without them: --only tollgate."
)


@dataclass(frozen=True, slots=True)
class Tools:
    """What builds and runs the peers."""

    java: Path
    maven: Path


def find_tools() -> Tools:
    """The JDK and Maven of this machine; raises SetupError that says what to install."""
    home = os.environ.get("JAVA_HOME")
    if home:
        compiler = Path(home) / "bin" / "javac"
    else:
        found = shutil.which("javac")
        compiler = Path(found) if found else Path("javac")
    missing = [] if compiler.is_file() else ["a Java compiler (javac)"]
    maven = shutil.which("mvn")
    if maven is None:
        missing.append("Maven (mvn)")
    if maven is None or missing:
        raise SetupError(f"the peers in Java need {' and '.join(missing)}", action=REMEDY)
    java = compiler.with_name("java")
    major = java_major(java)
    if major is None or major < JDK_MAJOR_MIN:
        raise SetupError(
            f"the peers in Java need Java {JDK_MAJOR_MIN}; {java} is {major or 'none that runs'}",
            action=REMEDY,
        )
    return Tools(java, Path(maven))


def build(tools: Tools, module: str, cache: Path) -> list[Path]:
    """The jars of a peer, built into `cache` unless they are there for these very sources.

    Raises SetupError with the end of Maven's output where it fails.
    """
    place = cache / f"{module}-{fingerprint(SOURCES)}"
    if not place.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{module}-", dir=cache) as scratch:
            built = _run_maven(tools, module, Path(scratch) / "java")
            outdated = list(cache.glob(f"{module}-*"))
            # A rename, so that an interrupted build never counts as one.
            built.rename(place)
        for folder in outdated:
            shutil.rmtree(folder, ignore_errors=True)
    return sorted(place.glob("*.jar"))


def _run_maven(tools: Tools, module: str, scratch: Path) -> Path:
    """The folder with all jars of the module."""
    shutil.copytree(SOURCES, scratch)
    command = [str(tools.maven), "-q", "-B", "-pl", module, "-am", "package"]
    try:
        result = subprocess.run(
            command,
            cwd=scratch,
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS_MAX,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SetupError(
            f"Maven did not build {module} within {BUILD_SECONDS_MAX} s",
            action="Try again: what it has fetched it keeps. Behind a proxy or a mirror, say so in "
            "Maven's settings.xml.",
        ) from error
    if result.returncode != 0:
        raise SetupError(
            f"Maven could not build {module}:\n{result.stdout[-OUTPUT_CHARS_MAX:].strip()}",
            action="Check that Maven reaches its repository (a proxy or a mirror belongs into its "
            "settings.xml), then try again.",
        )
    target = scratch / module / "target"
    libraries = target / "libraries"
    for jar in target.glob("*.jar"):
        jar.rename(libraries / jar.name)
    return libraries


def fingerprint(folder: Path) -> str:
    """Twelve hex digits that change with the name or the content of any source."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:12]
