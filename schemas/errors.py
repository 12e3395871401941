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
    """The key of the Kafka record is not the UTF-8 of its `customer_id`, or of its `trace_id` on
    `unassigned`."""
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
    OTHER_CUSTOMER = "other_customer"
    """The trace belongs to another customer: the first who was named for it counts (K4)."""
    TOO_MANY_WAITING = "too_many_waiting"
    """As many events of the trace wait for a customer as the rules allow."""
    NO_CUSTOMER = "no_customer"
    """Nobody named a customer for the event's trace in the time that the rules allow."""
    INVOICE_NOT_DUE = "invoice_not_due"
    """The period has not ended, or its grace has not: late usage may still come."""
    INVOICE_OUT_OF_ORDER = "invoice_out_of_order"
    """Another document of the customer comes first: periods are closed one after the other, and
    each is issued before the next is closed."""
    INVOICE_UNKNOWN = "invoice_unknown"
    """The customer has no invoice of that number."""
    INVOICE_NOT_OPEN = "invoice_not_open"
    """What is issued is not issued again, and what is void is not voided again."""
    INVOICE_SUM = "invoice_sum"
    """The totals are not the sums of the lines, or a credit note's not those that it takes
    back."""
    TOO_MANY_INVOICES = "too_many_invoices"
    """The customer has as many invoices and credit notes as there may be."""
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
