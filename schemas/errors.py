"""Why bytes are not a record: stable codes, and the exception that carries one."""

from enum import StrEnum


class RejectCode(StrEnum):
    """Stable codes on dead letters and HTTP refusals, in the order in which they are found.

    A record with several faults gets the first of them.
    """

    OVERSIZED = "oversized"
    """More bytes than `limits.EVENT_BYTES_MAX`."""
    EMPTY = "empty"
    """No value: a tombstone where a fact was expected."""
    MALFORMED = "malformed"
    """Not a JSON object."""
    UNKNOWN_VERSION = "unknown_version"
    """`schema_version` is missing or names a version that this release does not know."""
    UNKNOWN_FIELD = "unknown_field"
    """A field that the schema version does not have."""
    INVALID_FIELD = "invalid_field"
    """A field with a missing or impossible value: negative, not a number, too long, a wrong
    type."""
    WRONG_KEY = "wrong_key"
    """The key of the Kafka record is not the UTF-8 of its `customer_id`."""
    WRONG_PARTITION = "wrong_partition"
    """The key is right, the partition is not the one murmur2 gives (K1): set the partitioner."""
    TOO_OLD = "too_old"
    """Older than the lateness limit: beyond it a repeat could no longer be told from a new
    event."""
    IN_FUTURE = "in_future"
    """Dated further ahead of its append time than the future limit."""
    CONFLICT = "conflict"
    """The id was accepted before with other billing content."""
    TOO_MANY_GRANTS = "too_many_grants"
    """The customer has been given as many grants as the rules allow."""
    TOO_MANY_LIMITS = "too_many_limits"
    """The customer has as many limits as the rules allow."""
    UNIT_MISMATCH = "unit_mismatch"
    """The task counts in another denomination."""
    INTERNAL = "internal"
    """A fault of our own while decoding or deciding the record. Stops the worker where many
    customers' records are hit (K2)."""


class RejectError(ValueError):
    """Bytes that are not an acceptable record.

    `code` is stable, `reason` is for a person, `field` is the path of the first bad field or ''.
    """

    def __init__(self, code: RejectCode, reason: str, field: str = "") -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason
        self.field = field
