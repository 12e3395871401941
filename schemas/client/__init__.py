"""A client for producers without an SDK: validate, key, encode, spool on the disk, send.

Needs Pydantic alone; `schemas.client.kafka_sender`, which is not imported here, needs aiokafka too.
Begin with `schemas.client.producer`; docs/producing.md is the guide, decision 020 the promises.
"""

from schemas.client.errors import (
    ClientError,
    NotAResultError,
    NotDeliveredError,
    SpoolBusyError,
    SpoolClosedError,
    SpoolDamagedError,
    SpoolError,
    SpoolFullError,
)
from schemas.client.forwarding import Status
from schemas.client.http_sender import HttpSender
from schemas.client.producer import BlockingProducer, Producer
from schemas.client.sending import Later, Outcome, Refused, Sender, Spooled
from schemas.client.spool import Spool
from schemas.errors import RejectError

__all__ = [
    "BlockingProducer",
    "ClientError",
    "HttpSender",
    "Later",
    "NotAResultError",
    "NotDeliveredError",
    "Outcome",
    "Producer",
    "Refused",
    "RejectError",
    "Sender",
    "Spool",
    "SpoolBusyError",
    "SpoolClosedError",
    "SpoolDamagedError",
    "SpoolError",
    "SpoolFullError",
    "Spooled",
    "Status",
]
