"""What a producer's client sends to, in tests: a gateway over HTTP that does what it is told, and a
sender in memory.

    with FakeGateway() as gateway:
        gateway.plans += [lose, answer(503), accept]    # one for each request; then `accept`

The gateway remembers what it was sent by identity, as a worker's claims do, so that a test can say
what counts.
"""

import gzip
import json
import socket
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from schemas.client.events import Ready, ready, validated
from schemas.client.sending import Outcome, Spooled
from schemas.usage import Usage

Reply = tuple[int, dict[str, str], bytes] | None
"""Status, headers and body; None: the connection ends without an answer."""

Plan = Callable[["FakeGateway", "Asked"], Reply]

Identity = tuple[str, str, str]
"""Customer, source, event id."""


@dataclass(frozen=True)
class Asked:
    """One request, decompressed. `connection` tells connections apart."""

    path: str
    kind: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def events(self) -> list[Any]:
        events: list[Any] = json.loads(self.body)
        return events


def identity(event: Any) -> Identity:
    return event["customer_id"], event["source"], event["event_id"]


def accept(gateway: "FakeGateway", asked: Asked) -> Reply:
    """Takes everything."""
    items = []
    for index, event in enumerate(asked.events):
        gateway.store(asked.kind, event)
        items.append({"index": index, "status": "accepted", "event_id": event["event_id"]})
    return told(202, {"accepted": len(items), "refused": 0, "unavailable": 0, "items": items})


def lose(gateway: "FakeGateway", asked: Asked) -> Reply:
    """Takes everything, and the answer is lost on its way."""
    accept(gateway, asked)
    return None


def drop(_gateway: "FakeGateway", _asked: Asked) -> Reply:
    """Ends the connection and takes nothing."""
    return None


def answer(status: int, body: Any = None, **headers: str) -> Plan:
    """Takes nothing and answers this. Header names are given with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    def plan(_gateway: "FakeGateway", _asked: Asked) -> Reply:
        reply = told(status, {} if body is None else body)
        assert reply is not None
        return reply[0], named, reply[2]

    return plan


def refuse(*event_ids: str, code: str = "invalid_field", status: int = 207) -> Plan:
    """Takes all but these, item by item."""

    def plan(gateway: "FakeGateway", asked: Asked) -> Reply:
        items = []
        for index, event in enumerate(asked.events):
            if event["event_id"] in event_ids:
                fault = {"code": code, "detail": f"because of {code}", "field": "units"}
                items.append({"index": index, "status": "refused", **fault})
            else:
                gateway.store(asked.kind, event)
                items.append({"index": index, "status": "accepted"})
        return told(status, {"items": items})

    return plan


def told(status: int, body: Any) -> Reply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return status, {}, raw


class FakeGateway:
    """`POST /v1/events` on a port of its own. `plans` are used up one by one, then `otherwise`."""

    def __init__(self, otherwise: Plan = accept) -> None:
        self.plans: deque[Plan] = deque()
        self.otherwise = otherwise
        self.asked: list[Asked] = []
        self.log: dict[Identity, list[str]] = {}
        self.times: Counter[Identity] = Counter()
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        gateway = self

        class Door(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                gateway._serve(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self.hang_up()
        self._server.server_close()

    def hang_up(self) -> None:
        """Ends every connection, as a gateway does with idle ones."""
        with self._lock:
            connections, self._connections = self._connections, set()
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                # The other end was faster.
                continue

    def store(self, kind: str, event: Any) -> None:
        """An event is in the log now. The same id with other content would be a conflict."""
        content = json.dumps(event, sort_keys=True)
        self.times[identity(event)] += 1
        known = self.log.setdefault(identity(event), [kind, content])
        assert known == [kind, content], "another event under the same id"

    def _serve(self, door: BaseHTTPRequestHandler) -> None:
        body = door.rfile.read(int(door.headers["content-length"]))
        if door.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        target = urlsplit(door.path)
        headers = {name.lower(): value for name, value in door.headers.items()}
        kind = parse_qs(target.query)["type"][0]
        asked = Asked(target.path, kind, headers, body, door.client_address[1])
        with self._lock:
            self._connections.add(door.connection)
            self.asked.append(asked)
            plan = self.plans.popleft() if self.plans else self.otherwise
            reply = plan(self, asked)
        if reply is None:
            door.close_connection = True
            return
        status, more, raw = reply
        door.send_response(status)
        for name, value in {"content-length": str(len(raw)), **more}.items():
            door.send_header(name, value)
        door.end_headers()
        door.wfile.write(raw)


Judge = Callable[[Sequence[Spooled]], Sequence[Outcome]]


def each(outcome: Outcome) -> Judge:
    """The same for every record."""
    return lambda records: [outcome] * len(records)


def but(event_id: str, outcome: Outcome) -> Judge:
    """Takes every other event."""
    return lambda records: [
        outcome if json.loads(one.value)["event_id"] == event_id else None for one in records
    ]


@dataclass
class FakeSender:
    """Answers what `answers` says, batch by batch, then what `otherwise` says: takes everything."""

    otherwise: Judge = field(default_factory=lambda: each(None))
    answers: deque[Judge] = field(default_factory=deque)
    sent: list[list[Spooled]] = field(default_factory=list)
    closed: int = 0

    async def send(self, records: Sequence[Spooled]) -> Sequence[Outcome]:
        self.sent.append(list(records))
        judge = self.answers.popleft() if self.answers else self.otherwise
        return judge(records)

    async def close(self) -> None:
        self.closed += 1

    @property
    def events(self) -> list[str]:
        """Ids of everything that was offered, in order."""
        return [json.loads(record.value)["event_id"] for batch in self.sent for record in batch]


def record(event_id: str = "e1", customer_id: str = "acme", **more: Any) -> Ready:
    """A usage record that is ready to be spooled."""
    fields = {"event_id": event_id, "source": "test", "customer_id": customer_id, "units": 1}
    return ready(validated(Usage, {**fields, **more}))
