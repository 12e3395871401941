"""What a program shows of itself, read back: its metrics, its health, its log."""

import contextlib
import gzip
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.embedded_waiting import until

WAIT_SECONDS: Final = 180.0
"""A deadline, not a pause."""

POLL_SECONDS: Final = 0.1

_SAMPLE: Final = re.compile(r"([a-z_]+)(\{.*\})? (\S+)")
_LABEL: Final = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')

Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Scrape:
    """What one scrape brought: values by name and labels, and kinds by metric."""

    values: dict[tuple[str, Labels], float]
    kinds: dict[str, str]

    def value(self, name: str, **labels: str) -> float | None:
        """A series, None where there is none."""
        return self.values.get((name, frozenset(labels.items())))

    def total(self, name: str, **labels: str) -> float:
        """The sum of all series of a name that have these labels."""
        wanted = frozenset(labels.items())
        return sum(v for (n, found), v in self.values.items() if n == name and wanted <= found)


def parse(text: str) -> Scrape:
    """Reads the text format. Raises ValueError for a line that is not of it, or comes twice."""
    values: dict[tuple[str, Labels], float] = {}
    kinds: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            kinds[name] = kind
        elif not line.startswith("# HELP "):
            match = _SAMPLE.fullmatch(line)
            if match is None:
                raise ValueError(f"no sample: {line!r}")
            key = (match[1], frozenset(_LABEL.findall(match[2] or "")))
            if key in values:
                raise ValueError(f"a series comes twice: {line!r}")
            values[key] = float(match[3])
    return Scrape(values, kinds)


def get(address: str, path: str) -> tuple[int, str]:
    """Status and text of a GET; 0 where nobody answers."""
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=WAIT_SECONDS) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def scrape(address: str) -> Scrape:
    """The metrics of a program now."""
    status, text = get(address, "/metrics")
    assert status == 200, text
    return parse(text)


def wait_for(condition: Callable[[], bool], why: Callable[[], object]) -> None:
    """Returns when a condition holds; fails with `why` when the time is up."""
    until(condition, why, WAIT_SECONDS, POLL_SECONDS)


def wait_ready(address: str, why: Callable[[], object] = str) -> None:
    """Returns when a program says that it is ready."""
    wait_for(lambda: get(address, "/ready")[0] == 200, lambda: (get(address, "/ready"), why()))


class Collector:
    """An OTLP collector in this program: keeps what exporters send."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.requests: list[Any] = []

    def spans(self) -> list[Any]:
        """All spans so far."""
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def services(self) -> set[str]:
        """Who has sent some."""
        return {
            attribute.value.string_value
            for request in self.requests
            for resource in request.resource_spans
            for attribute in resource.resource.attributes
            if attribute.key == "service.name"
        }


@contextlib.contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that listens on a free port."""
    received: list[Any] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            if self.path == "/v1/traces":
                received.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        made = Collector(server.server_address[1])
        made.requests = received
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()
