"""The examples of README and docs/producing.md: what they append is what a worker accepts."""

import ast
import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas import codec
from schemas.structs import Grant
from schemas.topics import USAGE
from streams.app.installation import create_topics
from streams.domain.decoding import decode_records
from streams.domain.facts import SourceRecord, UsageFact
from streams.embedded.endpoints import Endpoints
from streams.settings import Settings

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "docs/producing.md")
DEFAULT_KAFKA = "127.0.0.1:19092"


def blocks(name: str, language: str) -> list[str]:
    text = (ROOT / name).read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


PYTHON = [(name, block) for name in DOCUMENTS for block in blocks(name, "python")]
RUNNABLE = [pytest.param(block, id=name) for name, block in PYTHON if "aiokafka" in block]


def test_both_documents_have_an_example_that_runs_here() -> None:
    assert {parameter.id for parameter in RUNNABLE} == set(DOCUMENTS)


@pytest.mark.parametrize("block", RUNNABLE)
def test_the_aiokafka_example_appends_an_event_that_is_accepted(
    block: str, endpoints: Endpoints, topic_prefix: str, tmp_path: Path
) -> None:
    settings = Settings(
        home=tmp_path, kafka_bootstrap=endpoints.kafka_bootstrap, topic_prefix=topic_prefix
    )
    asyncio.run(create_topics(settings))
    assert DEFAULT_KAFKA in block
    assert '"tollgate.usage"' in block
    script = tmp_path / "first_event.py"
    script.write_text(
        block.replace(DEFAULT_KAFKA, endpoints.kafka_bootstrap).replace(
            '"tollgate.usage"', f'"{USAGE.full_name(topic_prefix)}"'
        )
    )
    outcome = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert outcome.returncode == 0, outcome.stderr

    (record,) = asyncio.run(appended(settings))
    source = SourceRecord(USAGE.name, record.offset, 1_000 * record.timestamp, *key_value(record))
    (fact,) = decode_records([source], record.partition, settings.partitions)
    assert isinstance(fact, UsageFact)


def key_value(record: Any) -> tuple[bytes | None, bytes | None]:
    return record.key, record.value


async def appended(settings: Settings) -> list[Any]:
    """All records of the usage topic."""
    places = [
        TopicPartition(USAGE.full_name(settings.topic_prefix), partition)
        for partition in range(settings.partitions)
    ]
    async with AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    ) as consumer:
        consumer.assign(places)
        found: list[Any] = []
        due = sum((await consumer.end_offsets(places)).values())
        while len(found) < due:
            for records in (await consumer.getmany(timeout_ms=1_000)).values():
                found += records
        return found


@pytest.mark.parametrize(("name", "block"), PYTHON)
def test_every_python_example_sends_a_valid_event(name: str, block: str) -> None:
    (event,) = [
        ast.literal_eval(node.value)
        for node in ast.parse(block).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "event"
    ]
    assert codec.decode_usage(json.dumps(event).encode()).customer_id == "acme"


def test_the_json_of_the_guide_is_a_usage_record_a_signal_and_a_grant() -> None:
    usage, signal, grant = blocks("docs/producing.md", "json")
    assert codec.decode_usage(usage.encode()).tokens is not None
    assert codec.decode_signal(signal.encode()).cost_tracing
    found = codec.decode_budget(grant.encode())
    assert isinstance(found, Grant)
    assert found.amount == "5000"


def test_the_shell_and_java_examples_send_valid_events() -> None:
    (kcat,) = [b for b in blocks("docs/producing.md", "console") if "kcat" in b]
    key, _, value = kcat.split("'")[1].partition("|")
    assert codec.decode_usage(value.encode()).customer_id == key
    (java,) = blocks("docs/producing.md", "java")
    (value,) = re.findall(r'"""(.*?)"""', java, re.DOTALL)
    assert codec.decode_usage(value.strip().encode()).customer_id == "acme"


def test_every_example_for_librdkafka_sets_the_partitioner() -> None:
    examples = [
        b for name in DOCUMENTS for lang in ("python", "console") for b in blocks(name, lang)
    ]
    librdkafka = [b for b in examples if "confluent_kafka" in b or "kcat -P" in b]
    assert len(librdkafka) == 2
    assert all("murmur2_random" in block for block in librdkafka)
