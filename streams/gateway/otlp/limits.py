"""Bounds of an OTLP request. What lies beyond them is refused before anything is made of it."""

from typing import Final

from schemas.limits import METADATA_KEY_CHARS_MAX

BODY_BYTES_MAX: Final = 16 * 1024 * 1024
"""An export after decompression. A collector's batch of 8,192 spans without prompts has about
10 MB; instrumentation that keeps prompts fills it with some hundred spans."""

KEYLESS_BYTES_MAX: Final = 4 * 1024 * 1024
"""An export whose header carries no key, which has to be read to find one inside. Older SDKs send
512 spans of 1 KB."""

SPANS_MAX: Final = 10_000
"""Spans of one request: more than a collector puts into one (8,192)."""

RESOURCES_MAX: Final = 1_000
"""Resources of one request: processes whose spans a collector sends together."""

SCOPES_MAX: Final = 10_000
"""Instrumentation scopes of one request, empty ones too: one for each span at the worst."""

ATTRIBUTES_MAX: Final = 2_048
"""Attributes of one span or resource. The SDKs keep 128 unless told otherwise; instrumentation that
writes every message of a conversation into attributes of its own comes to some hundreds."""

TEXT_CHARS_MAX: Final = 1_024
"""An attribute that is read: names of models and operations, ids, metadata. What is longer is cut;
then it is still too long for an id, which is refused."""

SIGNAL_CHARS_MAX: Final = 32 * 1024
"""The JSON text in a signal's `data`: half of what a record may have."""

VALUES_MAX: Final = 64
"""Elements of a list in metadata; it becomes a text of 256 characters at the most."""

VALUE_DEPTH_MAX: Final = 8
"""Lists inside each other in metadata."""

KEY_CHARS_MAX: Final = METADATA_KEY_CHARS_MAX + len("metadata.")
"""The name of an attribute of metadata: its beginning, and what a record keeps of the rest."""

SPANS_PER_TURN: Final = 25
"""Spans that are read before other requests get their turn: some 2 ms."""

BOUND_TRACES_MAX: Final = 50_000
"""Traces of which a gateway remembers that it has told their customer: some 10 MB. A trace that was
forgotten is told again, which changes nothing."""

HOLDING_SPANS_MAX: Final = 100_000
"""Spans of which a gateway remembers that something inside them was counted: some 20 MB, and 20 s
of as many calls as one gateway takes. SDKs export what has ended within five."""

REASONS_MAX: Final = 5
"""Different reasons that an answer with refused spans tells."""

REASON_CHARS_MAX: Final = 1_000
"""All of them together: a line in the exporter's log."""
