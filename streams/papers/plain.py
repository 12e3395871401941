"""The canonical JSON of a document: the form that the digest is over, and that everything else is
made of."""

import hashlib
from collections.abc import Mapping
from typing import Any

from streams.domain.invoices.documents import Document, canonical_bytes

Plain = Mapping[str, Any]
"""A document's JSON."""


def plain_of(document: Document | Plain) -> Plain:
    """The JSON of a document; what is JSON already stays as it is."""
    return document if isinstance(document, Mapping) else document.plain()


def json_text(document: Document | Plain) -> str:
    """The document's canonical JSON and the end of its line: without that, what `digest` is of."""
    return canonical_text(plain_of(document))


def canonical_text(plain: Any) -> str:
    """JSON with sorted keys and without blanks, and the end of its line."""
    return canonical_bytes(plain).decode() + "\n"


def digest_of(plain: Any) -> str:
    """The digest of a document's JSON: SHA-256 of its canonical bytes, in hex."""
    return hashlib.sha256(canonical_bytes(plain)).hexdigest()
