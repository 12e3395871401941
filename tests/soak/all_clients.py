"""The clients of a soak of everything: threads that ask, record, trace and bill over HTTP.

Each sends a request until it is answered, at the other gateway where it is not, under the same id:
so that in the end it is known of everything whether it must be in the books, and that it is there
once. What they were told is kept for the books; how long an answer took, tries included, for the
report.
"""

import itertools
import json
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import requests

from streams.bench.preflight_books import Told
from tests.otlp_requests import JSON, as_json, span

CUSTOMERS: Final = 12
"""Of each kind of client."""
ESTIMATE: Final = 15
GRANT: Final = 400
HOLD_SECONDS: Final = 3_600
"""Longer than a soak: a hold that nobody closes is still there when it is looked for."""
PAUSE_SECONDS: Final = 0.1
"""Of a client between two turns: some sixty requests in a second altogether."""
TRY_SECONDS: Final = 15.0
"""A deadline for one try; gateways give up before."""
GIVE_UP_SECONDS: Final = 120.0
"""After which an unanswered request is a finding: every fault is over long before."""
RETRY_SECONDS: Final = 0.2
SPANS: Final = 4
"""Of one export."""
LATEST: Final = 200_000
"""How many answers' times are kept for each kind, the latest ones: bounds the memory."""


@dataclass(slots=True)
class Answers:
    """How long the answers of one kind took: (when, seconds), both from the monotonic clock."""

    times: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=LATEST))
    tries: Counter[int] = field(default_factory=Counter)
    """By status; 0 where the connection was refused or lost."""
    unanswered: int = 0


class Clients:
    """All threads, and what they were told."""

    def __init__(self, urls: Sequence[str], seed: int) -> None:
        self._urls = list(urls)
        self._seed = seed
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self.answers: dict[str, Answers] = {}
        self.told: dict[tuple[str, str], Told] = {}
        """Decisions by customer and idempotency key."""
        self.sent: Counter[str] = Counter()
        """What was accepted, by the kind of entry that it must become and the customers' kind."""
        self.faults: list[str] = []

    def start(self) -> None:
        """Begin."""
        turns: tuple[Callable[[Client, int], None], ...] = (
            native,
            native,
            native,
            agentbill,
            paid,
            traced,
        )
        for number, turn in enumerate(turns):
            client = Client(self, number, self._urls, random.Random(f"{self._seed} {number}"))
            thread = threading.Thread(target=self._run, args=(client, turn), daemon=True)
            thread.start()
            self._threads.append(thread)

    def end(self) -> None:
        """Returns when every request that was begun is answered."""
        self._ending.set()
        for thread in self._threads:
            thread.join(GIVE_UP_SECONDS + TRY_SECONDS)

    def _run(self, client: "Client", turn: Callable[["Client", int], None]) -> None:
        try:
            for number in itertools.count():
                if self._ending.wait(PAUSE_SECONDS):
                    return
                turn(client, number)
        except Exception as fault:  # noqa: BLE001 - a thread's end is the soak's finding
            with self._lock:
                self.faults.append(f"client {client.name}: {type(fault).__name__}: {fault}")

    def note(self, kind: str, begun: float, tries: Sequence[int], *, answered: bool) -> None:
        """A request that is over."""
        with self._lock:
            found = self.answers.setdefault(kind, Answers())
            found.tries.update(tries)
            if answered:
                found.times.append((begun, time.monotonic() - begun))
            else:
                found.unanswered += 1

    def was_told(self, customer: str, key: str, told: Told) -> None:
        """A decision that a client has."""
        with self._lock:
            self.told[customer, key] = told

    def count(self, kind: str, number: int = 1) -> None:
        """So many records of a kind that the books must hold."""
        with self._lock:
            self.sent[kind] += number


class Client:
    """One of them: names and dice of its own."""

    def __init__(
        self, clients: Clients, number: int, urls: Sequence[str], dice: random.Random
    ) -> None:
        self.name = f"c{number}"
        self.dice = dice
        self.clients = clients
        self._urls = itertools.cycle(urls if number % 2 else urls[::-1])
        self._url = next(self._urls)
        self._session = requests.Session()

    def send(self, kind: str, path: str, body: Any, fine: Sequence[int] = (200,)) -> Any:
        """The answer, once there is one whose status is among `fine`. Raises TimeoutError."""
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        begun, tries = time.monotonic(), list[int]()
        while time.monotonic() < begun + GIVE_UP_SECONDS:
            status, told = self._try(path, text)
            tries.append(status)
            if status in fine:
                self.clients.note(kind, begun, tries, answered=True)
                return told
            # 202: in the log and not decided yet; 409, 425: still being decided under this id.
            if status not in (0, 202, 409, 425, 429, 500, 502, 503, 504):
                raise RuntimeError(f"{path} was answered {status}: {told}")
            self._url = next(self._urls)
            threading.Event().wait(RETRY_SECONDS)
        self.clients.note(kind, begun, tries, answered=False)
        raise TimeoutError(f"{path} was not answered: {Counter(tries)}")

    def _try(self, path: str, text: bytes) -> tuple[int, Any]:
        try:
            answer = self._session.post(
                self._url + path, data=text, headers=JSON, timeout=TRY_SECONDS
            )
            return answer.status_code, answer.json() if answer.content else None
        except (requests.RequestException, ValueError):
            return 0, None


def native(client: Client, number: int) -> None:
    """Ask, use, record under the hold; who is refused is granted more, mostly."""
    customer, key = f"native-{client.dice.randrange(CUSTOMERS)}", f"{client.name}-{number}"
    ask = {"customer_id": customer, "idempotency_key": key, "estimate": str(ESTIMATE)}
    told = client.send("preflight", "/v1/preflights", ask | {"ttl_seconds": HOLD_SECONDS})
    client.clients.was_told(customer, key, Told(told["approved"], told["reservation_id"]))
    head = {"event_id": key, "source": "soak"}
    if told["approved"]:
        body = {"schema_version": 1, "customer_id": customer, **head}
        more = {
            "units": client.dice.randrange(1, ESTIMATE + 1),
            "reservation_id": told["reservation_id"],
        }
        client.send("record", "/v1/records", body | more)
        client.clients.count("usage native")
    elif client.dice.random() < 0.7:
        grant = {**head, "denomination": "unit", "amount": str(GRANT)}
        client.send("grant", f"/v1/customers/{customer}/grants", grant)


def agentbill(client: Client, number: int) -> None:
    """The same as AgentBill's clients do it. A charge is kept also where it is told 402."""
    customer, key = f"bill-{client.dice.randrange(CUSTOMERS)}", f"{client.name}-{number}"
    ask = {"agent_id": "soak", "customer_id": customer, "idempotency_key": key}
    told = client.send("AgentBill preflight", "/preflight", ask | {"estimated_units": ESTIMATE})
    client.clients.was_told(customer, key, Told(told["approved"], told.get("reservation_id", "")))
    if told["approved"]:
        event = {"customer_id": customer, "event_type": "soak", "idempotency_key": key}
        more = {
            "units": client.dice.randrange(1, ESTIMATE),
            "reservation_id": told["reservation_id"],
        }
        client.send("AgentBill event", "/events", event | more, (200, 402))
        client.clients.count("usage bill")
    else:
        grant = {"event_id": key, "source": "soak", "denomination": "unit", "amount": str(GRANT)}
        client.send("grant", f"/v1/customers/{customer}/grants", grant)


def paid(client: Client, number: int) -> None:
    """A signal and a cost, in bulk as Paid's clients send them."""
    who = {"externalCustomerId": f"paid-{client.dice.randrange(CUSTOMERS)}"}
    key = f"{client.name}-{number}"
    signal = {"eventName": "won", "customer": who, "idempotencyKey": key}
    named = signal | {"attribution": {"externalProductId": "sdr"}}
    client.send("Paid signals", "/api/v2/signals/bulk", {"signals": [named]}, (200, 201))
    client.clients.count("signal paid")
    cost = {"type": "cost", "customer": who, "amount": client.dice.randrange(1, 500) / 100}
    more = {"currency": "USD", "vendor": "openai", "model": "gpt-4o", "idempotencyKey": key}
    product = {"product": {"externalProductId": "sdr"}}
    client.send("Paid costs", "/api/v2/costs/bulk", {"costs": [cost | more | product]}, (200, 201))
    client.clients.count("usage paid")


def traced(client: Client, number: int) -> None:
    """An export of calls of a model, all of one trace."""
    customer = f"span-{client.dice.randrange(CUSTOMERS)}"
    trace = f"{client.dice.getrandbits(128) | 1:032x}"
    call = {
        "gen_ai.system": "openai",
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.usage.input_tokens": client.dice.randrange(1, 5_000),
        "gen_ai.usage.output_tokens": client.dice.randrange(1, 500),
    }
    spans = [
        span(call, trace_id=trace, span_id=f"{number * SPANS + nth + 1:016x}", customer=customer)
        for nth in range(SPANS)
    ]
    client.send("OTLP", "/v1/traces", as_json(spans))
    client.clients.count("usage span", SPANS)
