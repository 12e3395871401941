"""The outside world behind the ports: Kafka, RocksDB, ClickHouse, clocks.

Imported by `streams.app` alone. Importing it keeps the Kafka client from writing what records hold
into a log: at its finest level it would print whole requests and answers.
"""

import logging
from typing import Final

PRINT_PAYLOADS: Final = ("aiokafka.conn", "aiokafka.producer.producer")
"""Loggers whose debug lines hold the bytes of records (aiokafka 0.14); their others do not."""


def without_payload(line: logging.LogRecord) -> bool:
    """Whether a line of these loggers may be written."""
    return line.levelno >= logging.INFO


for _name in PRINT_PAYLOADS:
    logging.getLogger(_name).addFilter(without_payload)
