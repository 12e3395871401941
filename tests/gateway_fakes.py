"""The gateway's ports in memory: owners that answer what a test says, a log that remembers, and a
client that calls the application in process."""

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import schemas.rpc as rpc
from schemas.partitioner import partition_of
from streams.errors import TransientError
from streams.gateway.app import Gateway
from streams.gateway.asking import Asking
from streams.gateway.messages import EntryLine
from streams.gateway.native import ROUTES
from streams.gateway.paid_catalogue import Catalogue, CatalogueView
from streams.gateway.ports import Appended, AuthError, Caller, Scope
from streams.gateway.routes import Route
from streams.gateway.services import Services
from streams.metrics import metrics_of

PARTITIONS = 8

FRESH = rpc.Freshness(
    generation=1,
    partition=3,
    cycle=12,
    usage_offset=40,
    budgets_offset=2,
    preflights_offset=9,
    catalog_offset=3,
    lag_ms=1,
    lease=7,
)

KEY = "agb_test"


def approved(**changes: Any) -> rpc.PreflightAnswer:
    """An approval for one unit."""
    fields: dict[str, Any] = {
        "approved": True,
        "reason": "",
        "reservation_id": "1-3-9",
        "denomination": "unit",
        "estimate": "1",
        "remaining": "999",
        "decided_at": 1_800_000_000_000_000,
        "expires_at": 1_800_003_600_000_000,
        "fresh": FRESH,
    }
    return rpc.PreflightAnswer(**{**fields, **changes})


def refusal(reason: str, **changes: Any) -> rpc.PreflightAnswer:
    """A refusal."""
    return approved(approved=False, reason=reason, hold_state="", **changes)


def error(code: str, retry_after_ms: int = 0) -> rpc.ErrorAnswer:
    """An answer without a decision."""
    return rpc.ErrorAnswer(code=code, message=f"because of {code}", retry_after_ms=retry_after_ms)


def account(**changes: Any) -> rpc.AccountAnswer:
    """A customer with 1,000 units."""
    fields: dict[str, Any] = {
        "account_kind": "customer",
        "account_id": "acme",
        "known": True,
        "balances": [rpc.BalanceTold("unit", "999", "1", "0")],
        "limits": [],
        "fresh": FRESH,
    }
    return rpc.AccountAnswer(**{**fields, **changes})


def released(state: str = "released", **changes: Any) -> rpc.ReleaseAnswer:
    """What became of a release."""
    fields: dict[str, Any] = {
        "reservation_id": "1-3-9",
        "state": state,
        "changed": True,
        "released": "1",
        "expires_at": 0,
        "fresh": FRESH,
    }
    return rpc.ReleaseAnswer(**{**fields, **changes})


class FakeTime:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def now(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


Answering = Callable[[int, rpc.Ask], rpc.Answer]


@dataclass
class FakeOwners:
    """Answers what was queued, in order, then what `otherwise` says; remembers what was asked."""

    otherwise: Answering = lambda _partition, _ask: approved()
    queued: deque[rpc.Answer] = field(default_factory=deque)
    asked: list[tuple[int, rpc.Ask, float]] = field(default_factory=list)

    async def ask(self, partition: int, ask: rpc.Ask, timeout_seconds: float) -> rpc.Answer:
        self.asked.append((partition, ask, timeout_seconds))
        return self.queued.popleft() if self.queued else self.otherwise(partition, ask)

    @property
    def asks(self) -> list[rpc.Ask]:
        return [ask for _, ask, _ in self.asked]


@dataclass
class FakeInbound:
    """A log in memory. `down`: nothing is tried; `losing`: appends that are not acknowledged."""

    down: bool = False
    losing: set[int] = field(default_factory=set)
    records: list[tuple[str, bytes, bytes]] = field(default_factory=list)

    async def append(
        self, topic: str, records: Sequence[tuple[bytes, bytes]]
    ) -> list[Appended | TransientError]:
        if self.down:
            raise TransientError("too much waits already", action="Send it later.")
        results: list[Appended | TransientError] = []
        for key, value in records:
            offset = len(self.records)
            self.records.append((topic, key, value))
            if offset in self.losing:
                results.append(TransientError("not acknowledged", action="Send it again."))
            else:
                place = Appended(
                    topic, partition_of(key, PARTITIONS), offset, 1_800_000_000_000_000
                )
                results.append(place)
        return results


@dataclass
class FakeKeys:
    """One key, with what it may do."""

    caller: Caller = field(default_factory=lambda: Caller("k1", frozenset(Scope)))
    refuse: AuthError | None = None

    def check(self, presented: str | None, scope: Scope, customer_id: str | None) -> Caller:
        if self.refuse is not None:
            raise self.refuse
        if presented != KEY:
            raise AuthError("unauthorized", "there is no such key", 401)
        if scope not in self.caller.scopes:
            raise AuthError("scope_missing", f"the key has no scope {scope}", 403)
        return self.caller


class FakeEntries:
    """A ledger of so many entries of one customer."""

    def __init__(self, count: int = 0) -> None:
        self.count = count
        self.fault: TransientError | None = None

    async def entries(
        self, customer_id: str, before: tuple[int, int] | None, rows_max: int
    ) -> Sequence[Mapping[str, Any]]:
        if self.fault is not None:
            raise self.fault
        first = (self.count if before is None else before[1]) - 1
        return [self._entry(number) for number in range(first, max(first - rows_max, -1), -1)]

    def _entry(self, number: int) -> Mapping[str, Any]:
        fields: dict[str, Any] = dict.fromkeys(EntryLine.model_fields)
        known = {"place": f"1-{number}", "entry_id": f"1-usage-0-{number}-0", "kind": "usage"}
        times = dict.fromkeys(("decided_at", "occurred_at"), "2026-01-15T12:00:00.000000Z")
        return {**fields, **known, **times, "units": 1}


class FakeCatalogueLog:
    """The topic of Paid's catalogue in memory. `losing`: what is appended is not acknowledged, but
    stands all the same."""

    def __init__(self, view: CatalogueView) -> None:
        self.view = view
        self.losing = False
        self.records: list[tuple[bytes, bytes]] = []
        self.unread: list[bytes] = []
        """Appended by another gateway, and not read here yet."""

    async def append(self, key: bytes, value: bytes) -> int | None:
        self.records.append((key, value))
        self.view.fold(value)
        return None if self.losing else len(self.records) - 1

    async def read_to(self, offset: int, seconds: float) -> bool:
        return offset < len(self.records)

    async def read_to_end(self, seconds: float) -> bool:
        while self.unread:
            self.view.fold(self.unread.pop(0))
        return True


class FakeDirectory:
    """The catalog in short."""

    partitions = PARTITIONS
    generation = 1


@dataclass
class Answer:
    """What the application sent."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class World:
    """An application and its fakes."""

    def __init__(self, routes: Sequence[Route] = ROUTES) -> None:
        self.time = FakeTime()
        self.owners = FakeOwners()
        self.inbound = FakeInbound()
        self.keys = FakeKeys()
        self.metrics = metrics_of("gateway")
        self.entries = FakeEntries()
        self.missing = ""
        self.ids = 0
        self.asking = Asking(
            self.owners, self.inbound, FakeDirectory(), self.time.now, self.time.sleep
        )
        self.catalogue_log = FakeCatalogueLog(CatalogueView())
        self.services = Services(
            asking=self.asking,
            directory=FakeDirectory(),
            new_id=self._new_id,
            now_us=lambda: 1_800_000_000_000_000,
            metrics=self.metrics,
            not_ready=lambda: self.missing,
            upgrade_url="https://example.org/upgrade",
            entries=self.entries,
            catalogue=Catalogue(self.catalogue_log.view, self.catalogue_log),
        )
        self.app = Gateway(self.services, self.keys, routes, self.time.now, "0.0.0")

    def _new_id(self) -> str:
        self.ids += 1
        return f"id-{self.ids}"

    async def call(
        self,
        method: str,
        target: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        parts: Sequence[bytes] | None = None,
    ) -> Answer:
        """Sends a request with the key and takes the answer. A body that is no bytes is JSON."""
        raw = body if isinstance(body, bytes) else b"" if body is None else _json(body)
        path, _, query = target.partition("?")
        sent = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
        sent |= {name.lower(): text for name, text in (headers or {}).items()}
        chunks = list(parts) if parts is not None else [raw]
        incoming = deque(
            {"type": "http.request", "body": chunk, "more_body": index + 1 < len(chunks)}
            for index, chunk in enumerate(chunks)
        )
        outgoing: list[Any] = []

        async def receive() -> Any:
            return incoming.popleft() if incoming else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            outgoing.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in sent.items()],
        }
        await self.app(scope, receive, send)
        start, content = outgoing
        return Answer(
            start["status"],
            {name.decode(): text.decode() for name, text in start["headers"]},
            content["body"],
        )


def _json(body: object) -> bytes:
    return json.dumps(body).encode()
