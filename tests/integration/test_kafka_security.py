"""The whole installation on a broker that asks who its clients are: TLS, SCRAM, certificates, and
for each role nothing but the rights of its row."""

import asyncio
import contextlib
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import TopicAuthorizationFailedError
from pydantic import SecretStr

from schemas.client import Spooled
from schemas.client.kafka_access import KafkaAccess, client_options
from schemas.client.kafka_sender import KafkaSender
from schemas.topics import LEDGER, OWNERS, PREFLIGHTS, TOPICS, Topic
from streams.app.rights import topic_rights
from streams.embedded.ports import pick_free_ports
from tests.authority import Authority
from tests.client_fakes import record
from tests.embedded_waiting import until
from tests.integration.test_gateway import call, usage
from tests.kafka_guide import blocks
from tests.secured import ADMINISTRATOR, PLAIN_USER, SCRAM
from tests.secured_roles import WAIT_SECONDS, Command, Roles, command_in, refused, secured_roles


@pytest.fixture(scope="module")
def roles(stack: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roles]:
    with secured_roles(stack.endpoints(), tmp_path_factory.mktemp("secured")) as made:
        yield made


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return command_in(monkeypatch, capsys)


@pytest.mark.timeout(600)
def test_each_role_does_its_work_with_its_own_rights_alone(roles: Roles) -> None:
    (port,) = pick_free_ports(1)
    url = f"http://127.0.0.1:{port}"
    roles.start("worker")
    roles.start("sink")
    roles.start("gateway", gateway_listen=f"127.0.0.1:{port}")

    async def answers(method: str, path: str, body: object = None) -> Any:
        with contextlib.suppress(OSError):
            status, told = await call(url, method, path, body)
            return told if status == 200 else None

    def ask(method: str, path: str, body: object = None) -> Any:
        return asyncio.run(answers(method, path, body))

    until(lambda: ask("GET", "/v1/customers/acme/budget"), "an owner answers", WAIT_SECONDS)
    hold = {"customer_id": "acme", "idempotency_key": "k", "estimate": "5"}
    assert ask("POST", "/v1/preflights", hold)["approved"]
    assert ask("POST", "/v1/records", usage("by-gateway", "acme"))["balances"]
    told = asyncio.run(sent_by_producer(roles))
    assert told == [None]

    def rows() -> int:
        found = roles.clickhouse.query("SELECT count() FROM ledger WHERE kind = 'usage'").rows
        return int(found[0][0])

    until(lambda: rows() == 2, "both events are rows", WAIT_SECONDS)
    assert set(roles.stop().values()) == {0}, roles.logs()[-3000:]
    assert "AuthorizationFailed" not in roles.logs()
    for password in roles.broker.passwords.values():
        assert password not in roles.logs()


async def sent_by_producer(roles: Roles) -> Any:
    """What the producer's own sender says of an event."""
    sender = KafkaSender(roles.broker.access("tollgate-producer"), roles.settings.topic_prefix)
    made = record("by-producer", "acme")
    try:
        return await sender.send([Spooled(1, made.topic, made.key, made.value)])
    finally:
        await sender.close()


def test_a_producer_cannot_write_what_only_a_worker_may_say(roles: Roles) -> None:
    prefix = roles.settings.topic_prefix
    writable = {
        topic.full_name(prefix)
        for topic in TOPICS
        if "Write" in topic_rights(topic.name, "producer")
    }
    forbidden = {topic.full_name(prefix) for topic in TOPICS} - writable
    assert {t.full_name(prefix) for t in (PREFLIGHTS, LEDGER, OWNERS)} < forbidden
    access = roles.broker.access("tollgate-producer")
    # Not those that it may: they would be refused by the worker, and be rows of dead letters.
    assert asyncio.run(refused(access, sorted(forbidden))) == forbidden


def test_a_gateway_cannot_write_decisions_or_entries(roles: Roles) -> None:
    prefix = roles.settings.topic_prefix
    forbidden = [t.full_name(prefix) for t in (PREFLIGHTS, LEDGER, OWNERS)]
    access = roles.broker.access("tollgate-gateway")
    assert asyncio.run(refused(access, forbidden)) == set(forbidden)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        pytest.param(
            {"kafka_sasl_password": SecretStr("not-the-password")},
            ("does not let user 'tollgate-operator' in", "TOLLGATE_KAFKA_SASL_PASSWORD"),
            id="wrong-password",
        ),
        pytest.param(
            {"kafka_sasl_mechanism": "OAUTHBEARER"},
            ("does not offer OAUTHBEARER", "TOLLGATE_KAFKA_SASL_MECHANISM"),
            id="mechanism-not-offered",
        ),
        pytest.param(
            {"kafka_security_protocol": "sasl_plaintext", "kafka_tls_ca": None},
            ("does not talk SASL_PLAINTEXT", "TOLLGATE_KAFKA_SECURITY_PROTOCOL"),
            id="no-tls",
        ),
        pytest.param(
            {"kafka_tls_ca": "other"},
            ("certificate of Kafka at localhost", "TOLLGATE_KAFKA_TLS_CA"),
            id="untrusted-authority",
        ),
    ],
)
def test_a_refusal_says_what_to_do(
    roles: Roles, run: Command, more: dict[str, Any], told: tuple[str, str], tmp_path: Path
) -> None:
    if more.get("kafka_tls_ca"):
        more = {"kafka_tls_ca": Authority(tmp_path).certificate}
    if more.get("kafka_sasl_mechanism") == "OAUTHBEARER":
        token = tmp_path / "token"
        token.write_text("no-real-token")
        absent = {"kafka_sasl_username": None, "kafka_sasl_password": None}
        more = more | absent | {"kafka_sasl_token_file": token}
    code, _, error = run(roles.of("operator", **more), "topics", "generation")
    assert code == 2, error
    for words in told:
        assert words in error
    assert "not-the-password" not in error
    assert "Traceback" not in error


def test_every_way_in_that_aiokafka_speaks_itself_works(roles: Roles) -> None:
    broker = roles.broker
    ways = [broker.access(ADMINISTRATOR, mechanism) for mechanism in SCRAM]
    ways += [
        broker.access(PLAIN_USER, "PLAIN"),
        broker.access_by_certificate("tollgate-operator"),
    ]

    async def topics_seen(access: KafkaAccess) -> set[str]:
        async with AIOKafkaConsumer(**client_options(access)) as consumer:
            return set(await consumer.topics())

    seen = [asyncio.run(topics_seen(access)) for access in ways]
    everything = {topic.full_name(roles.settings.topic_prefix) for topic in TOPICS}
    # Who is known but was given nothing sees nothing.
    assert [everything <= found for found in seen] == [True, True, False, True]
    assert seen[2] == set()


def test_no_command_shows_the_password(roles: Roles, run: Command) -> None:
    shown = run(roles.of("worker"), "config", "show"), run(roles.of("worker"), "topics", "acls")
    assert [code for code, *_ in shown] == [0, 0]
    assert "tollgate-worker" in shown[0][1]
    access = roles.broker.access("tollgate-worker")
    texts = [text for _, *both in shown for text in both]
    for text in (*texts, repr(access), str(access)):
        assert roles.broker.passwords["tollgate-worker"] not in text


def test_an_operator_reads_every_topic_and_a_sink_no_decisions(roles: Roles) -> None:
    prefix = roles.settings.topic_prefix

    async def read(role: str, topics: Iterable[Topic]) -> None:
        access = roles.broker.access(f"tollgate-{role}")
        async with AIOKafkaConsumer(**client_options(access)) as consumer:
            consumer.assign([TopicPartition(topic.full_name(prefix), 0) for topic in topics])
            await consumer.seek_to_beginning()
            while not await consumer.getmany(timeout_ms=1_000):
                pass

    asyncio.run(read("operator", TOPICS))
    with pytest.raises(TopicAuthorizationFailedError):
        asyncio.run(read("sink", [PREFLIGHTS]))


def test_a_user_without_rights_is_told_which_command_gives_them(roles: Roles, run: Command) -> None:
    code, _, error = run(roles.of("producer"), "topics", "generation")
    assert code == 2, error
    told = " ".join(error.split())
    assert "may not see it" in told
    assert "tollgate topics acls --role" in told


def test_what_the_guide_says_can_be_done(
    roles: Roles, run: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(lines) >= 3
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "tollgate"
        code, _, error = run(roles.of(ADMINISTRATOR), *words)
        assert code == 0, error

    (example,) = blocks("python")
    (tmp_path / "kafka-password").write_text(roles.broker.passwords["tollgate-producer"] + "\n")
    (tmp_path / "kafka-ca.pem").write_text(roles.broker.authority.certificate.read_text())
    script = tmp_path / "send.py"
    script.write_text(example.replace("kafka:9093", f"localhost:{roles.broker.port}"))
    outcome = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert outcome.stdout == "[None]\n", outcome.stderr
