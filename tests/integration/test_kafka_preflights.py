"""Preflights over Kafka on the whole stack: asked by a plain producer, decided by a real owner,
answered and found on `preflights`. The examples of docs/kafka-preflights.md are run as they stand.
"""

import asyncio
import json
import re
import secrets
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from schemas.partitioner import partition_of
from schemas.structs import DecisionEntry
from schemas.times import MICROSECONDS, format_time
from schemas.topics import ANSWERS, ASKS, PREFLIGHTS
from streams.adapters.clock import SystemClock
from streams.adapters.groups import group_members
from streams.app.asks import asks_group
from streams.embedded.endpoints import Endpoints
from streams.settings import Settings
from tests.embedded_waiting import until
from tests.installation import WAIT_SECONDS, Installation
from tests.integration.test_gateway import call
from tests.integration.test_gateway_decides import free_port

if TYPE_CHECKING:
    from streams.embedded.stack import EmbeddedStack

GUIDE: Final = Path(__file__).parents[2] / "docs/kafka-preflights.md"
PARTITIONS: Final = 2
SOURCE: Final = "test"
LOOK_SECONDS: Final = 0.1
"""Between two looks at a topic, which are work for a busy machine."""

Place = tuple[int, int]


class Asking:
    """An installation with a gateway inside its worker, and one beside it; a producer and a reader
    that know nothing of Tollgate but its documents."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.urls: list[str] = []

    def start_worker(self) -> None:
        """A worker with a gateway inside."""
        port = free_port()
        self.installation.start_worker(gateway_listen=f"127.0.0.1:{port}")
        self.urls.append(f"http://127.0.0.1:{port}")

    def start_gateway(self, name: str = "gateway") -> subprocess.Popen[bytes]:
        """A gateway of its own."""
        port = free_port()
        process = self.installation.start(
            ["streams", "gateway"], name, gateway_listen=f"127.0.0.1:{port}"
        )
        self.urls.append(f"http://127.0.0.1:{port}")
        return process

    def put(self, asks: Sequence[tuple[str, bytes]]) -> list[Place]:
        """Appends (key, value) records to `asks`; where each stands."""

        async def run() -> list[Place]:
            settings = self.installation.settings
            topic = ASKS.full_name(settings.topic_prefix)
            async with AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap) as producer:
                sent = [
                    await producer.send(topic, key=key.encode(), value=value) for key, value in asks
                ]
                return [(one.partition, one.offset) for one in await asyncio.gather(*sent)]

        return asyncio.run(run())

    def answers(self) -> dict[Place, list[dict[str, Any]]]:
        """All answers, by the place of the ask."""
        found: dict[Place, list[dict[str, Any]]] = {}
        for part in self.installation.read(ANSWERS.name):
            for record in part:
                told = json.loads(record.value)
                found.setdefault((told["ask_partition"], told["ask_offset"]), []).append(told)
        return found

    def answered(
        self, places: Sequence[Place], times: int = 1
    ) -> dict[Place, list[dict[str, Any]]]:
        """All answers, once each of these asks has had so many."""
        found: dict[Place, list[dict[str, Any]]] = {}

        def all_there() -> bool:
            found.update(self.answers())
            return all(len(found.get(place, ())) >= times for place in places)

        until(
            all_there,
            lambda: f"{times} answers to each of {places}, but {found}",
            WAIT_SECONDS,
            LOOK_SECONDS,
        )
        return found

    def ask(self, *asks: dict[str, Any]) -> list[dict[str, Any]]:
        """Asks, and returns the first answer to each."""
        places = self.put([(one["customer_id"], json.dumps(one).encode()) for one in asks])
        found = self.answered(places)
        return [found[place][0] for place in places]

    def decisions(self, customer: str) -> list[dict[str, Any]]:
        """The decisions about a customer that count, by the reader's rule."""
        part = self.installation.read(PREFLIGHTS.name)[partition_of(customer.encode(), PARTITIONS)]
        found, lease = [], None
        for record in part:
            fact = json.loads(record.value)
            if fact["kind"] == "lease":
                lease = (record.offset, fact["nonce"])
            elif (fact["lease"], fact["nonce"]) == lease and fact.get("account_id") == customer:
                found.append(fact | {"offset": record.offset})
        return found

    def held(self, customer: str) -> str:
        """What the customer's open holds come to, as the gateway tells it."""
        path = f"/v1/customers/{customer}/budget"
        _, told = asyncio.run(call(self.urls[0], "GET", path))
        [unit] = [one for one in told["balances"] if one["denomination"] == "unit"]
        held: str = unit["held"]
        return held


def preflight(customer: str, key: str, estimate: str = "5", **more: Any) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "kind": "preflight",
        "customer_id": customer,
        "source": SOURCE,
        "idempotency_key": key,
        "estimate": estimate,
        "ask_before": patience(),
        **more,
    }


def patience(seconds: int = 200) -> str:
    """A time so far ahead that a slow machine makes no difference."""
    return format_time(SystemClock().now_us() + seconds * MICROSECONDS)


@pytest.fixture(scope="module")
def asking(stack: "EmbeddedStack", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    """One worker and two gateways for all tests that do not end one of them."""
    prefix, home = f"asks{secrets.token_hex(4)}.", tmp_path_factory.mktemp("asks")
    with Installation.create(stack.endpoints(), prefix, home, partitions=PARTITIONS) as made:
        asking = Asking(made)
        asking.start_worker()
        asking.start_gateway()
        yield asking


def test_an_ask_is_decided_and_the_decision_stands_where_its_answer_says(asking: Asking) -> None:
    [told] = asking.ask(preflight("acme", "k1", "10"))
    assert (told["kind"], told["approved"], told["remaining"]) == ("preflight", True, "990")
    assert (told["customer_id"], told["source"], told["idempotency_key"]) == ("acme", SOURCE, "k1")
    [decided] = asking.decisions("acme")
    generation, partition, offset = map(int, told["reservation_id"].split("-"))
    assert (generation, partition) == (1, partition_of(b"acme", PARTITIONS))
    assert (decided["offset"], decided["lease"]) == (offset, told["as_of"]["lease"])
    assert (decided["approved"], decided["estimate"], decided["source"]) == (True, "10", SOURCE)
    assert asking.held("acme") == "10"


def test_the_same_key_is_one_decision_whichever_way_it_is_asked(asking: Asking) -> None:
    first, again, other = asking.ask(
        preflight("bert", "k1"), preflight("bert", "k1"), preflight("bert", "k1", "6")
    )
    assert (first["approved"], first["replayed"]) == (True, False)
    assert (again["replayed"], again["hold_state"]) == (True, "open")
    assert again["reservation_id"] == first["reservation_id"]
    assert (other["kind"], other["code"]) == ("problem", "conflict")
    body = {"customer_id": "bert", "source": SOURCE, "idempotency_key": "k1", "estimate": "5"}
    for url in asking.urls:
        status, told = asyncio.run(call(url, "POST", "/v1/preflights", body))
        assert (status, told["replayed"]) == (200, True)
        assert told["reservation_id"] == first["reservation_id"]
    assert len(asking.decisions("bert")) == 1
    assert asking.held("bert") == "5"


def test_holds_are_refused_extended_and_given_back_in_the_order_of_the_log(asking: Asking) -> None:
    first, second, third = asking.ask(
        preflight("cleo", "k1", "900"), preflight("cleo", "k2", "200"), preflight("cleo", "k3", "9")
    )
    assert (first["approved"], third["approved"]) == (True, True)
    assert (second["approved"], second["reason"]) == (False, "budget_exhausted")
    assert "reservation_id" not in second
    name = first["reservation_id"]
    about = {"schema_version": 1, "customer_id": "cleo", "reservation_id": name}
    extended, released, again, other = asking.ask(
        about | {"kind": "extension", "ttl_seconds": 7_200},
        about | {"kind": "release"},
        about | {"kind": "release"},
        about | {"kind": "release", "reservation_id": "1-0-99999"},
    )
    assert (extended["state"], extended["changed"]) == ("open", True)
    assert extended["expires_at"] > first["expires_at"]
    assert (released["state"], released["changed"], released["released"]) == (
        "released",
        True,
        "900",
    )
    assert (again["state"], again["changed"]) == ("released", False)
    assert (other["kind"], other["code"]) == ("problem", "not_found")
    assert asking.held("cleo") == "9"


def test_a_task_holds_first_and_is_told_beside_the_customer(asking: Asking) -> None:
    missing, opened, refused = asking.ask(
        preflight("dora", "k1", "6", task_ref="job/1"),
        preflight("dora", "k2", "6", task_ref="job/1", task_ceiling="8"),
        preflight("dora", "k3", "6", task_ref="job/1"),
    )
    assert (missing["kind"], missing["code"]) == ("problem", "task_ceiling_required")
    assert (opened["approved"], opened["task"]["remaining"]) == (True, "2")
    assert (refused["approved"], refused["reason"]) == (False, "task_ceiling_exceeded")
    assert (refused["task"]["ceiling"], refused["task"]["approved"]) == ("8", False)
    assert asking.held("dora") == "6"


def test_what_is_no_ask_is_answered_and_nothing_waits_behind_it(asking: Asking) -> None:
    good = json.dumps(preflight("emil", "k1")).encode()
    places = asking.put(
        [
            ("emil", b"?"),
            ("emil", json.dumps(preflight("emil", "k2", much="9")).encode()),
            ("other", good),
            ("k" * 2_000, good),
            ("emil", good),
        ]
    )
    found = asking.answered(places)
    told = [found[place][0] for place in places]
    assert [one.get("code") for one in told] == [
        *("malformed", "unknown_field", "wrong_key", "wrong_key", None)
    ]
    assert told[1]["field"] == "much"
    assert told[4]["approved"] is True


def test_gateways_share_the_partitions(asking: Asking) -> None:
    """Each asks for one of two, wherever the owner is."""
    customers = [f"customer-{number}" for number in range(12)]
    assert {partition_of(name.encode(), PARTITIONS) for name in customers} == {0, 1}
    settings = asking.installation.settings
    wait_members(settings, 2)
    rounds = iter(range(1_000))

    def both() -> bool:
        key = f"k{next(rounds)}"
        told = asking.ask(*(preflight(name, key) for name in customers))
        assert all(one["approved"] for one in told)
        return all(asyncio.run(asked(url)) for url in asking.urls)

    until(both, "both gateways have answered asks", WAIT_SECONDS, LOOK_SECONDS)


def wait_members(settings: Settings, count: int) -> None:
    """Returns when so many gateways share the asks."""
    bootstrap, group = str(settings.kafka_bootstrap), asks_group(settings)

    def members() -> int:
        return asyncio.run(group_members(bootstrap, group))

    until(
        lambda: members() == count,
        lambda: f"{count} members of {group}, but {members()}",
        WAIT_SECONDS,
        LOOK_SECONDS,
    )


async def asked(url: str) -> bool:
    """Whether a gateway has answered any ask of the log."""

    def fetch() -> str:
        with urllib.request.urlopen(f"{url}/metrics", timeout=30) as answer:
            text: str = answer.read().decode()
        return text

    return "tollgate_gateway_asks_total{" in await asyncio.to_thread(fetch)


# --- the guide ----------------------------------------------------------------------------------


def example(number: int, asking: Asking, home: Path) -> str:
    """Runs a Python block of the guide against this installation, and returns what it printed."""
    blocks = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text("utf-8"), re.M | re.S)
    assert len(blocks) == 2
    settings = asking.installation.settings
    text = blocks[number].replace("127.0.0.1:19092", str(settings.kafka_bootstrap))
    text = text.replace('"tollgate.', f'"{settings.topic_prefix}')
    assert settings.topic_prefix in text
    script = home / f"example_{number}.py"
    script.write_text(text)
    outcome = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=150)
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


def test_the_examples_of_the_guide_ask_and_read_the_decision(
    asking: Asking, tmp_path: Path
) -> None:
    # The example has no more patience than a minute; so the gateways have to be there.
    asking.ask(preflight("somebody", "first"))
    told = json.loads(example(0, asking, tmp_path))
    assert (told["kind"], told["approved"], told["estimate"]) == ("preflight", True, "5")
    assert json.loads(example(0, asking, tmp_path))["replayed"] is True
    lines = example(1, asking, tmp_path).splitlines()
    assert lines.count("acme call-0001 True") == 1


def test_the_release_of_the_guide_is_an_ask(asking: Asking) -> None:
    [block] = re.findall(r"^```json\n(.*?)^```", GUIDE.read_text("utf-8"), re.M | re.S)
    [told] = asking.ask(json.loads(block) | {"reservation_id": "1-0-99999"})
    assert told["code"] == "not_found"


# --- kills --------------------------------------------------------------------------------------


@pytest.fixture
def alone(endpoints: Endpoints, topic_prefix: str, tmp_path: Path) -> Iterator[Asking]:
    """An installation without any process yet."""
    with Installation.create(
        endpoints, topic_prefix, tmp_path / "home", partitions=PARTITIONS
    ) as made:
        yield Asking(made)


def test_a_gateway_killed_between_decision_and_position_leaves_one_decision(alone: Asking) -> None:
    gateway = alone.start_gateway()
    # Nobody owns anything yet: one waits for an owner, the other's time runs out.
    waiting, late = alone.put(
        [
            ("acme", json.dumps(preflight("acme", "k1")).encode()),
            ("bert", json.dumps(preflight("bert", "k1", ask_before=patience(1))).encode()),
        ]
    )
    [told] = alone.answered([late])[late]
    assert (told["kind"], told["code"]) == ("problem", "too_late")
    assert waiting not in alone.answers()
    alone.installation.start_worker()
    [first] = alone.answered([waiting])[waiting]
    assert first["approved"] is True

    gateway.kill()
    gateway.wait()
    rewind(alone.installation)
    alone.start_gateway("heir")
    both = alone.answered([waiting], times=2)[waiting]
    assert [one["replayed"] for one in both] == [False, True]
    assert {one["reservation_id"] for one in both} == {first["reservation_id"]}
    assert len(alone.decisions("acme")) == 1
    assert alone.decisions("bert") == []
    alone.installation.wait_consumed()
    decided = [
        entry
        for part in alone.installation.entries()
        for entry in part
        if isinstance(entry, DecisionEntry)
    ]
    assert [entry.customer_id for entry in decided] == ["acme"]


def rewind(installation: Installation) -> None:
    """Puts the stored positions to the beginning: as a gateway leaves them that never came to store
    one. Kafka takes that from a group without members, so after the session of the dead one."""
    settings = installation.settings
    bootstrap, group = str(settings.kafka_bootstrap), asks_group(settings)
    wait_members(settings, 0)

    async def store() -> None:
        topic = ASKS.full_name(settings.topic_prefix)
        places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        async with AIOKafkaConsumer(
            bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False
        ) as consumer:
            consumer.assign(places)
            await consumer.commit(dict.fromkeys(places, 0))

    asyncio.run(store())
