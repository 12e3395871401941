"""Bounds of the wire format. Each has a reason; records beyond them are dead letters."""

EVENT_BYTES_MAX = 64 * 1024
"""A usage, signal or budget record. Typical ones are 400 bytes; 64 KiB leaves room for metadata and
keeps the largest batch of a cycle in memory."""

ID_BYTES_MAX = 128
"""Event, customer, agent, task and trace ids and sources, in UTF-8: twice the longest id scheme in
use (a prefixed UUID or a 64-digit hash)."""

NAME_CHARS_MAX = 128
"""Names of providers, models, events and reasons."""

UNITS_MAX = 10**12
"""Units or tokens in one event. A million times the largest context window in sale, and small
enough that 10**6 such events still fit a 64-bit sum."""

AMOUNT_INTEGER_DIGITS_MAX = 18
"""Digits before the point of one amount: 10**18 dollars in pico-dollars is 10**30, inside
Decimal(38, 12)."""

AMOUNT_FRACTION_DIGITS_MAX = 12
"""Digits after the point of one amount: a pico-dollar is the smallest amount there is (decision
001)."""

METADATA_ENTRIES_MAX = 16
"""Metadata is for a person who looks at an event, not for payloads."""

METADATA_KEY_CHARS_MAX = 64
"""A key of metadata is a label."""

METADATA_VALUE_CHARS_MAX = 256
"""A value of metadata is a short text; prompts and completions do not belong into a bill."""

INTEGER_MAX = 2**53 - 1
"""Integers in metadata, so that every JSON reader sees the same number."""

PRIORITY_MAX = 1000
"""Grants burn in the order of their priority; 1,000 steps are more than anybody has told apart."""

REASON_CHARS_MAX = 512
"""The reason on a dead letter: a sentence and a path, not a copy of the record."""

RECORD_BYTES_MAX = 1024 * 1024
"""The largest record that an inbound topic takes at all (the broker refuses more). Records between
EVENT_BYTES_MAX and this are dead letters that still carry their bytes."""

REPLAYED_KEY_BYTES_MAX = 1024
"""The key of a dead letter that travels with its replay. It decides nothing; longer ones stay on
the letter alone."""

REPLAY_BYTES_MAX = 4 * EVENT_BYTES_MAX // 3 + 4 * REPLAYED_KEY_BYTES_MAX
"""A replay on `budgets`: it holds EVENT_BYTES_MAX and a key in base64 (4/3), and ids of 128 bytes
whose every byte is escaped."""

OUTBOUND_RECORD_BYTES_MAX = 4 * 1024 * 1024
"""The largest record that Tollgate itself writes: a dead letter holds RECORD_BYTES_MAX in base64
(4/3); an account with all the grants it may be given and a packed claims segment stay below."""

if RECORD_BYTES_MAX * 4 // 3 + 64 * 1024 > OUTBOUND_RECORD_BYTES_MAX:
    raise AssertionError("a dead letter could not carry the largest inbound record")
if REPLAY_BYTES_MAX > RECORD_BYTES_MAX:
    raise AssertionError("the broker would refuse the replay of the largest event")
if EVENT_BYTES_MAX > RECORD_BYTES_MAX:
    raise AssertionError("the broker would refuse what the schema accepts")
