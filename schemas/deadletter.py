"""Dead letter, version 1: a record that could not be accepted, whole, with the reason. Topic
`dead-letters`."""

from typing import Annotated

from pydantic import Field, StringConstraints

from schemas.envelope import Name, Offset, Outbound, TimeUs
from schemas.errors import RejectCode
from schemas.limits import INTEGER_MAX, REASON_CHARS_MAX


class DeadLetter(Outbound):
    """The original bytes (base64), where they came from, a stable code and a reason for a person.

    `sequence` is dense per (generation, partition), apart from the ledger's. `position` of the
    original (topic, source_partition, source_offset, appended_at) is what a replay carries with it
    (I5). Headers are not kept: no decision reads them.
    """

    code: RejectCode
    reason: Annotated[str, StringConstraints(max_length=REASON_CHARS_MAX)]
    field: str = ""
    record_version: Annotated[int, Field(ge=0, le=INTEGER_MAX)] | None = None
    """`schema_version` of the original, null where its bytes say none that can be read."""
    topic: Name
    source_offset: Offset
    appended_at: TimeUs
    record_key: str | None = None
    """Base64 of the key, null where the record had none."""
    record_value: str | None = None
    """Base64 of the value, null where the record had none."""
