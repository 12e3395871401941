"""The processes that answer preflights in a benchmark: workers, and a gateway inside one of them or
in a process of its own.

They start as operators start them, with settings alone. Ready is what answers a preflight of every
partition.
"""

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from schemas.partitioner import partition_of
from streams.bench.ground import Ground
from streams.bench.http_load import request
from streams.bench.measure import cpu_seconds, stop
from streams.embedded.ports import LOOPBACK, pick_free_ports
from streams.embedded.wiring import role_argv
from streams.errors import FaultError, TransientError
from streams.settings import Settings

READY_SECONDS_MAX: Final = 120.0
"""Joining the group, recovering tables and taking leases, on a machine that has more to do."""

READY_POLL_SECONDS: Final = 0.1
"""Between two questions whether a partition answers."""

CALL_SECONDS_MAX: Final = 15.0
"""A single call of administration: a grant is answered from its committed entry."""

LOG_TAIL_LINES: Final = 12
"""How much of a log an error quotes."""


@dataclass(frozen=True, slots=True)
class Role:
    """A process of ours: what runs in it, and its log."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path


@dataclass(frozen=True, slots=True)
class Topology:
    """How many workers there are, and whether the gateway is inside the first one or a process of
    its own, a hop away from every owner."""

    name: str
    workers: int = 1
    hop: bool = False


@dataclass(slots=True)
class Stack:
    """Running processes, and where their gateway answers."""

    settings: Settings
    roles: list[Role]
    port: int

    @property
    def workers(self) -> list[Role]:
        """The workers among them."""
        return [role for role in self.roles if role.name == "worker"]

    def cpu_seconds(self) -> float:
        """The CPU that all processes have used so far."""
        return sum(cpu_seconds(role.process.pid) for role in self.roles)

    def check(self, dead: Sequence[Role] = ()) -> None:
        """Raises FaultError where a process has ended that nobody killed."""
        for role in self.roles:
            code = role.process.poll()
            if code is not None and role not in dead:
                tail = role.log.read_text("utf-8", "replace").splitlines()[-LOG_TAIL_LINES:]
                raise FaultError(
                    f"a {role.name} ended with {code}; its log ends:\n" + "\n".join(tail),
                    action="What its log says has to be mended first.",
                )

    async def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """One request on a connection of its own: its status and the JSON of its answer. Status 0
        where nobody answers."""
        text = b"" if body is None else json.dumps(body).encode()
        try:
            async with asyncio.timeout(CALL_SECONDS_MAX):
                return await _exchange(self.port, request(method, path, text))
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return 0, None

    async def await_ready(self) -> None:
        """Returns when every partition answers. Raises FaultError and TransientError."""
        deadline = time.monotonic() + READY_SECONDS_MAX
        for partition, customer in enumerate(probes(self.settings.partitions)):
            number = 0
            while True:
                number += 1
                body = {
                    "customer_id": customer,
                    "idempotency_key": f"probe-{number}",
                    "estimate": "0",
                }
                status, told = await self.call("POST", "/v1/preflights", body)
                if status == 200:
                    break
                self.check()
                if time.monotonic() > deadline:
                    raise TransientError(
                        f"partition {partition} does not answer after {READY_SECONDS_MAX:.0f} s, "
                        f"but {status}: {told}",
                        action="Read the logs of worker and gateway, then run it again.",
                    )
                await asyncio.sleep(READY_POLL_SECONDS)

    async def grant(self, customer: str, units: int) -> None:
        """Grants units, decided when this returns. Raises TransientError."""
        body = {
            "event_id": f"grant-{customer}",
            "source": "bench",
            "denomination": "unit",
            "amount": str(units),
        }
        status, told = await self.call("POST", f"/v1/customers/{customer}/grants", body)
        if status != 200:
            raise TransientError(
                f"a grant was answered {status}: {told}",
                action="Read the logs of worker and gateway, then run it again.",
            )


def probes(partitions: int) -> list[str]:
    """A customer for each partition."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < partitions:
        customer = f"probe-{number:04d}"
        found.setdefault(partition_of(customer.encode(), partitions), customer)
        number += 1
    return [found[partition] for partition in range(partitions)]


@contextmanager
def running(ground: Ground, settings: Settings, topology: Topology) -> Iterator[Stack]:
    """The processes of a topology on an installation, ended afterwards."""
    (port,) = pick_free_ports(1)
    address = f"{LOOPBACK}:{port}"
    stack = Stack(settings, [], port)
    try:
        for number in range(topology.workers):
            inside = {} if topology.hop or number else {"gateway_listen": address}
            state = {"state_dir": ground.folder / f"{settings.app_id}-{number}"}
            own = settings.model_copy(update=inside | state)
            stack.roles.append(_start("worker", own, ground.folder, f"{settings.app_id}-{number}"))
        if topology.hop:
            own = settings.model_copy(update={"gateway_listen": address})
            stack.roles.append(_start("gateway", own, ground.folder, f"{settings.app_id}-gateway"))
        yield stack
    finally:
        for role in reversed(stack.roles):
            stop(role.process)


def _start(name: str, settings: Settings, folder: Path, log: str) -> Role:
    path = folder / f"{log}.log"
    with path.open("ab") as output:
        process = subprocess.Popen(
            role_argv(name),
            env=os.environ | settings.environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    return Role(name, process, path)


async def _exchange(port: int, whole: bytes) -> tuple[int, Any]:
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        writer.write(whole)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        _, _, after = head.partition(b"\r\ncontent-length:")
        length = int(after.partition(b"\r\n")[0] or b"0")
        body = await reader.readexactly(length)
    finally:
        writer.close()
    try:
        return int(head[9:12]), json.loads(body)
    except ValueError:
        return int(head[9:12]), body.decode("utf-8", "replace")
