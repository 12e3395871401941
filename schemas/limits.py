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

QUANTITIES_MAX = 16
"""Named counts of one event: what one call is charged for beside its tokens are two or three."""

QUANTITY_NAME_CHARS_MAX = 64
"""The name of what is counted; the longest in use has 30."""

CONDITIONS_MAX = 8
"""Conditions of one call that its price depends on: a processing, a tier, a speed, a route."""

CONDITION_CHARS_MAX = 64
"""A condition is a word of the provider's API."""

PAYERS_MAX = 64
"""Grants that one usage entry burnt, as far as an adjustment names them to give back to."""

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

WEIGHT_MAX = 1_000_000
"""Of a signal's part in a shared cost: parts of a millionth are finer than anybody agrees on."""

INVOICE_LINES_MAX = 2_000
"""Lines of one invoice: ten groups of 200 lines. A person reads no more, and the fact that carries
them stays below INVOICE_BYTES_MAX."""

INVOICE_SEGMENTS_MAX = 100
"""Segments of one period: a rate card that changes three times a day for a month."""

INVOICE_TOTALS_MAX = 1_000
"""Currencies of one invoice: more than there are, so that no reported cost can keep a closed
period from being issued."""

INVOICES_MAX = 1_000
"""Invoices and credit notes that one customer may ever have: monthly ones for 80 years. The row
that knows them, some 250 KB then, is read and written by facts about invoices alone."""

INVOICE_NUMBER_CHARS_MAX = 64
"""The number of a document: 40 characters of the customer's id, a hyphen and a count of four
digits, with room to grow."""

ZONE_CHARS_MAX = 64
"""The name of a time zone; the longest in use has 32 characters."""

INVOICE_BYTES_MAX = 960 * 1024
"""A record that issues an invoice: INVOICE_LINES_MAX lines of 490 bytes. They have 300."""

if INVOICE_BYTES_MAX > RECORD_BYTES_MAX or INVOICE_BYTES_MAX < REPLAY_BYTES_MAX:
    raise AssertionError("the broker would refuse the largest invoice, or budgets hold larger ones")

CARD_FEES_MAX = 20
"""Flat fees of one rate card: each is a line of every invoice."""

CARD_ITEMS_MAX = 100
"""Items of one rate card. Each looks at all sums of a period and makes a line for every group and
segment; a seller who sells more different things has more cards."""

CARD_DISCOUNTS_MAX = 20
"""Discounts of one rate card: each is a line of its own for every currency."""

TIER_STEPS_MAX = 50
"""Steps of tiered prices: published tables have three to ten."""

PER_MAX = 10**9
"""So many of something at the most have one price: prices are said for one, a thousand, a
million."""
