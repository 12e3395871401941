"""A producer in a process of its own, to be killed.

    python -m tests.recovery.producer_child append DIRECTORY    an event a line, until it is killed
    python -m tests.recovery.producer_child send DIRECTORY URL COUNT FIRST
    python -m tests.recovery.producer_child hold DIRECTORY COUNT

`append` prints the ids of each commit when the call has returned; nobody sends. `send` appends
COUNT events under the ids FIRST, FIRST + 1 … while it sends what waits, and ends when all is in the
log. `hold` appends and keeps the spool open.
"""

import itertools
import sys

from schemas.client import BlockingProducer, HttpSender, Later, Spool
from tests.client_fakes import FakeSender, each, record


def append(directory: str) -> None:
    with Spool(directory) as spool:
        for number in itertools.count():
            # A few at once now and then: a commit of several is whole or not there.
            names = [f"{number}-{part}" for part in range(1 + number % 3)]
            spool.append([record(name) for name in names])
            print(" ".join(names), flush=True)


def send(directory: str, url: str, count: int, first: int) -> None:
    with BlockingProducer(Spool(directory), HttpSender(url), source="child") as producer:
        for number in range(first, first + count):
            print(producer.usage(customer_id=f"c{number % 5}", event_id=f"e{number}"), flush=True)
        producer.flush(60)


def hold(directory: str, count: int) -> None:
    """Appends, then waits with the spool open until its input ends."""
    away = FakeSender(each(Later("away")))
    with BlockingProducer(Spool(directory), away, source="child", close_seconds=0.0) as producer:
        for number in range(count):
            producer.usage(customer_id="acme", event_id=f"e{number}")
        print("ready", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["append", where]:
            append(where)
        case ["send", where, address, many, begin]:
            send(where, address, int(many), int(begin))
        case ["hold", where, many]:
            hold(where, int(many))
