"""Records the golden papers: one rich document in every form.

    python -m tests.golden.papers

Run it only when papers are meant to change, and look at the page in a browser before it is kept.
The JSON is what digests are of: if that changes, digests of bills that customers hold change.
"""

import json
from pathlib import Path
from typing import Final

from streams.domain.invoices.documents import credit_note, digest
from streams.papers.handover import Issued, handover
from streams.papers.page import html_page
from streams.papers.parties import parties_of
from streams.papers.plain import json_text
from streams.papers.rows import csv_text
from streams.papers.table import table_text
from tests.papers import CARDS, ISSUED, PARTIES, rich_document

HERE: Final = Path(__file__).parent


def outcome() -> dict[Path, bytes]:
    """What each recorded file must say."""
    document, parties = rich_document(), parties_of(PARTIES)
    note = credit_note(document, {"number": "acme-0003", "note": "Charged by the wrong rates"})
    page = html_page(document, parties, issued_at_us=ISSUED, cards=CARDS)
    note_page = html_page(note, parties, issued_at_us=ISSUED, cards=CARDS)
    objects = [
        one
        for each in (document, note)
        for one in handover(Issued(each.plain(), digest(each), ISSUED))
    ]
    texts = {
        "bill.json": json_text(document),
        "bill.csv": csv_text(document, CARDS),
        "bill.txt": table_text(document, CARDS),
        "bill.html": page,
        "credit_note.html": note_page,
        "handover.jsonl": "".join(json.dumps(one, sort_keys=True) + "\n" for one in objects),
    }
    return {HERE / name: text.encode() for name, text in texts.items()}


if __name__ == "__main__":
    for path, content in outcome().items():
        path.write_bytes(content)
