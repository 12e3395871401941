"""Whether the settings lead to servers that let this process in: tried, not supposed."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

from schemas.topics import TOPICS
from streams.adapters.topic_ids import topic_identities
from streams.app.addresses import kafka_bootstrap
from streams.app.warehouse import clickhouse
from streams.errors import TollgateError
from streams.settings import Settings
from streams.tls import ServedCertificate


@dataclass(frozen=True, slots=True)
class Tried:
    """What was tried and what came of it; `todo` is empty where it went well."""

    name: str
    found: str
    todo: str = ""


def try_connections(settings: Settings) -> Iterator[Tried]:
    """Kafka, ClickHouse and the gateway's certificate, each tried whatever became of the others."""
    for chatty in ("aiokafka", "clickhouse_connect"):
        # They log what is told here.
        logging.getLogger(chatty).setLevel(logging.CRITICAL)
    yield _tried("Kafka", lambda: _kafka(settings))
    yield _tried("ClickHouse", lambda: _clickhouse(settings))
    if settings.gateway_tls_certificate is not None:
        yield _tried("gateway's certificate", lambda: _certificate(settings))


def _tried(name: str, attempt: Callable[[], str]) -> Tried:
    try:
        return Tried(name, attempt())
    except TollgateError as error:
        return Tried(name, error.message, error.action)


def _kafka(settings: Settings) -> str:
    bootstrap = kafka_bootstrap(settings)
    found = asyncio.run(topic_identities(bootstrap, settings.topic_prefix))
    return f"{bootstrap} answers; {len(found)} of {len(TOPICS)} topics are there"


def _clickhouse(settings: Settings) -> str:
    with closing(clickhouse(settings)) as found:
        version = found.query("SELECT version()").rows[0][0]
        address = found.address
    return f"{address.url} lets the user {address.user} in; version {version}"


def _certificate(settings: Settings) -> str:
    certificate, key = settings.gateway_tls_certificate, settings.gateway_tls_key
    assert certificate is not None, "asked for only where there is one"
    served = ServedCertificate(certificate, key)
    return f"{certificate} is good for {', '.join(served.hosts)} until {served.until}"
