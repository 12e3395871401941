"""Entries of closed, issued and voided invoices as the ledger has them, made of documents."""

from typing import Any

from schemas.codec import decode_entry, encode
from schemas.envelope import SCHEMA_VERSION
from streams.domain.invoices.documents import Document, digest, plain_totals


def place(sequence: int, partition: int = 0, **said: Any) -> dict[str, Any]:
    """What every entry says of where it stands."""
    return {
        "schema_version": SCHEMA_VERSION,
        "entry_id": f"1-budgets-{partition}-{sequence}-0",
        "generation": 1,
        "partition": partition,
        "sequence": sequence,
        "cycle": 1,
        "topic": "budgets",
        "source_offset": sequence,
        "entry_index": 0,
        "source": "tollgate",
        **said,
    }


def times(at_us: int) -> dict[str, int]:
    """An entry decided, appended and told of at one time."""
    return {"decided_at": at_us, "appended_at": at_us, "occurred_at": at_us}


def issue_entry(
    document: Document, sequence: int, at_us: int, partition: int = 0
) -> dict[str, Any]:
    """The entry that issues a document."""
    return {
        "kind": "invoice_issue",
        **place(sequence, partition),
        **times(at_us),
        "customer_id": document.customer_id,
        "event_id": f"issue:{document.number}",
        "number": document.number,
        "document": document.document,
        "label": document.label,
        "period_from": document.period_from,
        "period_to": document.period_to,
        "digest": digest(document),
        "lines": [line.plain() for line in document.lines],
        "totals": plain_totals(document.lines),
        "voids": document.voids,
    }


def close_entry(
    document: Document, sequence: int, at_us: int, partition: int = 0
) -> dict[str, Any]:
    """The entry that closes the period of an invoice."""
    return {
        "kind": "invoice_close",
        **place(sequence, partition),
        **times(at_us),
        "customer_id": document.customer_id,
        "event_id": f"close:{document.period_from}:{document.period_to}",
        "number": document.number,
        "label": document.label,
        "zone": document.zone,
        "period_from": document.period_from,
        "period_to": document.period_to,
        "segments": [
            {"card": s.card, "version": s.version, "from_us": s.from_us, "to_us": s.to_us}
            for s in document.segments
        ],
        "reissues": document.reissues,
        "cut_generation": document.cut[0],
        "cut_sequence": document.cut[1],
        "after_generation": document.after[0],
        "after_sequence": document.after[1],
        "after_end": document.period_from,
    }


def row_of(entry: dict[str, Any]) -> bytes:
    """The bytes of an entry; raises what the codec raises for one that is none."""
    value = encode(entry)
    decode_entry(value)
    return value
