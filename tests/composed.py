"""docker-compose.yml without containers: each service of ours as a plain process, with the command,
the variables, the secrets and the health check that the file gives it.

Names and paths that only exist between containers are replaced by those of this machine: addresses
of services, `/run/secrets`, the home. Everything else reaches the process as it is written.
"""

import http.client
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from tests.embedded_waiting import until

ROOT: Final = Path(__file__).parents[1]
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
OURS: Final = {name: one for name, one in SERVICES.items() if "build" in one}
PROBED: Final = tuple(
    name for name, one in OURS.items() if not one["healthcheck"].get("disable", False)
)
"""Services of ours that go on; the others are commands."""
DOCKERFILE: Final = (ROOT / "deploy/Dockerfile").read_text("utf-8")
SECRETS: Final = "/run/secrets/"
ENTRYPOINT: Final = "tollgate"
DONE: Final = "service_completed_successfully"
HEALTHY: Final = "service_healthy"

COMMAND_SECONDS: Final = 60.0
HEALTHY_SECONDS: Final = 90.0
"""Deadlines, not pauses."""


def image_variables() -> dict[str, str]:
    """What the last stage of the Dockerfile sets for every process."""
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    [block] = re.findall(r"^ENV ((?:.*\\\n)*.*)$", last, re.MULTILINE)
    return dict(re.findall(r"(\w+)=(\S+)", block))


def start_order(chosen: set[str] | None = None) -> list[str]:
    """Services in an order in which each comes after all that it waits for; those of no profile,
    or those chosen."""
    wanted = chosen or {name for name, one in SERVICES.items() if "profiles" not in one}
    found: list[str] = []

    def add(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, f"a circle: {' -> '.join((*above, name))}"
        for needed in SERVICES[name].get("depends_on", {}):
            add(needed, (*above, name))
        if name not in found:
            found.append(name)

    for name in SERVICES:
        if name in wanted:
            add(name, ())
    return found


@dataclass
class Plain:
    """The services of ours as processes on this machine, in a folder of their own.

    `places` maps what the file writes as `name:port` to an address here; `settings` is what the
    operator wrote into deploy/compose.env.
    """

    folder: Path
    places: Mapping[str, str]
    settings: Mapping[str, str]
    metrics: Mapping[str, str]
    """Service to the address of its metrics: all of them are the same one in containers."""
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    """Commands that were run to their end by `up`."""
    healthy: set[str] = field(default_factory=set)

    def make_secrets(self) -> None:
        """Runs the script that the file names; what it makes is mounted by the services."""
        script = ROOT / "deploy/compose/secrets.sh"
        subprocess.run(["sh", script, self.folder / "secrets"], check=True, timeout=30)

    def secret(self, name: str) -> Path:
        """The file behind a secret of the compose file."""
        return self.folder / "secrets" / Path(COMPOSE["secrets"][name]["file"]).name

    def environment(self, name: str) -> dict[str, str]:
        """Exactly what a process of the service sees: nothing of this process comes through but
        where Python is."""
        service = SERVICES[name]
        given = image_variables() | dict(self.settings) | service.get("environment", {})
        found = {key: self._here(name, value) for key, value in given.items() if key != "PATH"}
        return found | {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}

    def _here(self, name: str, value: str) -> str:
        service = SERVICES[name]
        if value.startswith(SECRETS):
            secret = value.removeprefix(SECRETS)
            assert secret in service.get("secrets", []), f"{name} does not mount {secret}"
            return str(self.secret(secret))
        if value == image_variables()["TOLLGATE_HOME"]:
            return str(self._home(name))
        if value == service.get("environment", {}).get("TOLLGATE_METRICS_LISTEN"):
            return self.metrics[name]
        for written, here in self.places.items():
            value = value.replace(written, here)
        return value

    def _home(self, name: str) -> Path:
        """The volume at the home, or a folder of the service alone where it is a tmpfs."""
        mounted = [
            volume.partition(":")[0]
            for volume in SERVICES[name].get("volumes", [])
            if volume.endswith(":" + image_variables()["TOLLGATE_HOME"])
        ]
        home = self.folder / "volumes" / (mounted[0] if mounted else f"{name}.tmpfs")
        home.mkdir(parents=True, exist_ok=True)
        return home

    def run(self, name: str, *words: str) -> str:
        """`docker compose run --rm NAME words…`: stdout of a command that ended with 0."""
        done = subprocess.run(
            [*python(ENTRYPOINT), *(words or SERVICES[name]["command"])],
            env=self.environment(name),
            cwd=self._home(name),
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
        )
        assert done.returncode == 0, f"{name} ended with {done.returncode}: {done.stderr}"
        return done.stdout

    def up(self, *chosen: str) -> None:
        """`docker compose up --wait` of what is ours, in the file's order: a service starts when
        what it depends on is in the state that it asks for."""
        for name in start_order(set(chosen)):
            if name not in OURS or name in self.running or name in self.ended:
                continue
            for needed, wish in SERVICES[name].get("depends_on", {}).items():
                if needed in PROBED:
                    assert wish["condition"] == HEALTHY
                    self.wait_healthy(needed)
                elif needed in OURS:
                    assert wish["condition"] == DONE
            if name in PROBED:
                self.start(name)
            else:
                self.run(name)
                self.ended.add(name)
        for name in set(self.running) - self.healthy:
            self.wait_healthy(name)

    def start(self, name: str) -> None:
        """The process of a service; its log is beside the volumes."""
        with self.log(name).open("ab") as log:
            self.running[name] = subprocess.Popen(
                [*python(ENTRYPOINT), *SERVICES[name]["command"]],
                env=self.environment(name),
                cwd=self._home(name),
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )

    def log(self, name: str) -> Path:
        """The log of a service."""
        return self.folder / f"{name}.log"

    def wait_healthy(self, name: str) -> None:
        """Returns when a service is ready. Its health check, run as it is written, has to say so;
        it is not what is asked again and again, since each time it starts a Python."""

        def ready() -> bool:
            ended = self.running[name].poll()
            assert ended is None, f"{name} ended with {ended}: {self.log(name).read_text('utf-8')}"
            return is_ready(self.metrics[name])

        until(ready, f"{name} is ready", HEALTHY_SECONDS)
        assert self.check(name) == 0
        self.healthy.add(name)

    def check(self, name: str) -> int:
        """The exit code of a service's health check now."""
        kind, program, *words = SERVICES[name]["healthcheck"]["test"]
        assert kind == "CMD"
        return subprocess.run(
            [*python(program), *words],
            env=self.environment(name),
            cwd=self._home(name),
            capture_output=True,
            timeout=COMMAND_SECONDS,
        ).returncode

    def stop(self, name: str) -> int:
        """Asks a service to stop, waits as long as the file allows, and returns its exit code."""
        process = self.running.pop(name)
        process.terminate()
        grace = SERVICES[name]["stop_grace_period"]
        return process.wait(float(grace.removesuffix("s")))

    def __enter__(self) -> "Plain":
        return self

    def __exit__(self, *_exc: object) -> None:
        for process in self.running.values():
            process.kill()
            process.wait()


def is_ready(address: str) -> bool:
    """What the readiness probe of a pod asks."""
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def python(program: str) -> Iterator[str]:
    """The words that run a program of the image here. Ours is the only one that may be run."""
    assert program == ENTRYPOINT, f"the image has no {program}"
    yield from (sys.executable, "-m", "streams")
