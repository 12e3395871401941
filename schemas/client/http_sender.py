"""Events over HTTP: batches to the gateway's `POST /v1/events`, by the standard library alone.

Owns what an answer means for each event of a batch (docs/http.md). One connection, kept alive; it
blocks the forwarder's thread, which has nothing else to do meanwhile.
"""

import gzip
import json
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Final
from urllib.parse import urlsplit

from schemas.client import clock
from schemas.client.sending import Later, Outcome, Refused, Spooled
from schemas.topics import SIGNALS, USAGE

KINDS: Final = {USAGE.name: "usage", SIGNALS.name: "signal"}
"""Values of the query parameter `type` of the path."""

TIMEOUT_SECONDS: Final = 30.0
"""Of connecting, and of each read and write."""

SETUP_SECONDS: Final = 10.0
"""Between two tries where the address or the key is wrong: until somebody mends it."""

ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
"""An answer tells at most 1,000 events apart, each in less than a kilobyte."""

NOT_OF_AN_EVENT: Final = frozenset({"", "bad_encoding", "bad_query"})
"""Codes of a refused body that no event is to blame for: not the gateway's, or what a proxy made of
the request."""

COMPRESSED_BYTES_MIN: Final = 1024
"""A smaller body fits a packet or two as it is."""

REASON_CHARS_MAX: Final = 300
"""What is kept of somebody else's explanation."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, as far as it matters."""

    status: int
    told: dict[str, Any]
    after_seconds: float

    @property
    def reason(self) -> str:
        """For a person."""
        code, detail = self.told.get("code"), self.told.get("detail")
        said = f": {code}: {detail}" if code else ""
        return f"the gateway answered {self.status}{said}"[:REASON_CHARS_MAX]


class HttpSender:
    """Sends to a gateway. `url` is its address, with a prefix of the path where a proxy wants one;
    `key` one with the scope `ingest`, which is sent as a Bearer token and told to nobody else."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        tls: ssl.SSLContext | None = None,
        now_us: Callable[[], int] = clock.now_us,
    ) -> None:
        """Nothing is connected yet. Raises ValueError for an address or a key that is none."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the address of the gateway begins with http:// or https://")
        if parts.query or parts.fragment or parts.username:
            raise ValueError("the address of the gateway holds no query, fragment or user")
        self._host, self._port = parts.hostname, parts.port
        self._path = parts.path.rstrip("/") + "/v1/events"
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._headers = {"content-type": "application/json", "accept": "application/json"}
        if key is not None:
            if not key.isascii() or not key.isprintable():
                raise ValueError("the key of the gateway is one line of ASCII")
            self._headers["authorization"] = f"Bearer {key}"
        self._timeout_seconds = timeout_seconds
        self._now_us = now_us
        self._connection: HTTPConnection | None = None

    async def send(self, records: Sequence[Spooled]) -> Sequence[Outcome]:
        """Usage and signals in a request each."""
        outcomes: dict[int, Outcome] = {}
        for topic in KINDS:
            chosen = [record for record in records if record.topic == topic]
            if chosen:
                told = self._send(KINDS[topic], chosen)
                outcomes |= {record.sequence: one for record, one in zip(chosen, told, strict=True)}
        unknown = Refused("unknown_topic", "the gateway takes usage and signals")
        return [outcomes.get(record.sequence, unknown) for record in records]

    async def close(self) -> None:
        """Ends the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # --- one request ---

    def _send(self, kind: str, records: Sequence[Spooled]) -> list[Outcome]:
        answer = self._post(kind, b"[" + b",".join(record.value for record in records) + b"]")
        if isinstance(answer, Later):
            return [answer] * len(records)
        items = answer.told.get("items")
        if answer.status in (202, 207, 422, 503) and items is not None:
            return _by_item(items, len(records))
        # Somebody on the way, who knows nothing of events, may only say that a body is too large.
        code = str(answer.told.get("code") or "")
        is_gateway = answer.status in (400, 413, 422) and code not in NOT_OF_AN_EVENT
        if len(records) > 1 and (is_gateway or answer.status == 413):
            # Which of them it is, smaller batches tell.
            half = len(records) // 2
            return [*self._send(kind, records[:half]), *self._send(kind, records[half:])]
        if is_gateway:
            field = str(answer.told.get("field") or "")
            return [Refused(code, answer.reason, field)]
        after = answer.after_seconds
        if answer.status not in (408, 429) and answer.status < 500:
            # A wrong address or key is no fault of the events: they wait until it is mended.
            after = max(after, SETUP_SECONDS)
        return [Later(answer.reason, after)] * len(records)

    def _post(self, kind: str, body: bytes) -> Answer | Later:
        headers = dict(self._headers)
        if len(body) >= COMPRESSED_BYTES_MIN:
            body = gzip.compress(body, compresslevel=6, mtime=0)
            headers["content-encoding"] = "gzip"
        while True:
            is_fresh = self._connection is None
            connection = self._connection = self._connection or self._connect()
            try:
                connection.request("POST", f"{self._path}?type={kind}", body, headers)
                response = connection.getresponse()
                content = response.read(ANSWER_BYTES_MAX + 1)
            except (OSError, HTTPException) as error:
                connection.close()
                self._connection = None
                # A connection that was kept may have been closed by the other end meanwhile.
                if is_fresh or isinstance(error, TimeoutError):
                    return Later(f"no answer from the gateway: {type(error).__name__}")
                continue
            if len(content) > ANSWER_BYTES_MAX or response.will_close:
                connection.close()
                self._connection = None
            after = self._after_seconds(response.headers.get("retry-after"))
            return Answer(response.status, _parsed(content), after)

    def _connect(self) -> HTTPConnection:
        if self._tls is None:
            return HTTPConnection(self._host, self._port, timeout=self._timeout_seconds)
        return HTTPSConnection(
            self._host, self._port, timeout=self._timeout_seconds, context=self._tls
        )

    def _after_seconds(self, told: str | None) -> float:
        """`Retry-After`: seconds or a date (RFC 9110); what is neither counts as nothing."""
        if told is None:
            return 0.0
        if told.strip().isdecimal():
            return float(told.strip()[:9])
        try:
            at = parsedate_to_datetime(told).timestamp()
        except ValueError:
            return 0.0
        return max(0.0, at - self._now_us() / 1e6)


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _by_item(items: object, count: int) -> list[Outcome]:
    """The outcome of each event. What is not told about is not known to be in the log."""
    outcomes: list[Outcome] = [Later("the gateway's answer leaves the event out")] * count
    for item in items if isinstance(items, list) else ():
        if not isinstance(item, dict):
            continue
        index = item.get("index")
        if type(index) is int and 0 <= index < count:
            outcomes[index] = _outcome(item)
    return outcomes


def _outcome(item: dict[str, Any]) -> Outcome:
    status, code = item.get("status"), str(item.get("code") or "")
    reason = str(item.get("detail") or code)[:REASON_CHARS_MAX]
    if status == "accepted":
        return None
    if status == "refused":
        return Refused(code or "refused", reason, str(item.get("field") or ""))
    return Later(reason or "the gateway does not say that the event is in the log")
