"""Records the golden log: what came in, and what the ledger said.

    python -m tests.golden.record

`first_days.inbound.jsonl` is written by hand, one record per line, and never by this program; it
reads that file and writes what follows from it. Run it only when the ledger is meant to change, and
read the difference before it is kept: every line of it is somebody's money.
"""

import json
from pathlib import Path
from typing import Any, Final

from schemas import codec
from schemas.errors import RejectError
from schemas.times import parse_time_us
from schemas.topics import UNASSIGNED
from streams.domain.context import CatalogView
from streams.domain.facts import Fact, Rejected, SourceRecord
from streams.domain.folding import FOLD_ORDER, fold_cycle
from streams.domain.nameless import unassigned_fact
from streams.domain.replay import accounts_digest
from streams.domain.state import PartitionState, Progress
from tests.builders import consumed_by, fact_of

HERE: Final = Path(__file__).parent
INBOUND: Final = HERE / "first_days.inbound.jsonl"
LEDGER: Final = HERE / "first_days.ledger.jsonl"
REFUSED: Final = HERE / "first_days.refused"
DIGEST: Final = HERE / "first_days.accounts"


def inbound() -> list[dict[str, Any]]:
    """The lines of the inbound file: {"catalog": …}, {"topic", "at", "value" or "text"} or
    {"cycle"}."""
    return [json.loads(line) for line in INBOUND.read_text().splitlines() if line]


def outcome() -> dict[Path, str]:
    """What each recorded file must say."""
    view, state = CatalogView(), PartitionState(Progress())
    offsets = dict.fromkeys(FOLD_ORDER, 0)
    waiting: list[SourceRecord] = []
    time_us, ledger, refused = 0, [], []
    for line in inbound():
        if "catalog" in line:
            view.fold(view.next_offset, codec.decode_catalog(codec.encode(line["catalog"])))
        elif "topic" in line:
            value = line["text"].encode() if "text" in line else codec.encode(line["value"])
            at_us = parse_time_us(line["at"])
            waiting.append(SourceRecord(line["topic"], offsets[line["topic"]], at_us, None, value))
            offsets[line["topic"]] += 1
        else:
            waiting.sort(key=lambda r: (FOLD_ORDER.index(r.topic), r.offset))
            time_us = max([time_us, *(record.appended_at_us for record in waiting)])
            facts = [_decoded(record) for record in waiting]
            result = fold_cycle(state, 0, consumed_by(waiting), facts, view.context(), time_us)
            ledger += [codec.encode(entry).decode() for entry in result.entries]
            refused += [
                f"{r.record.topic} {r.record.offset} {r.code.value} {r.field}"
                for r in result.rejected
            ]
            waiting = []
    return {
        LEDGER: "\n".join(ledger) + "\n",
        REFUSED: "\n".join(refused) + "\n",
        DIGEST: accounts_digest(state) + "\n",
    }


def _decoded(record: SourceRecord) -> Fact | Rejected:
    try:
        if record.topic == UNASSIGNED.name:
            return unassigned_fact(record, codec.decode_unassigned(record.value))
        return fact_of(record)
    except RejectError as refusal:
        return Rejected(record, refusal.code, refusal.reason, refusal.field)


if __name__ == "__main__":
    for path, text in outcome().items():
        path.write_text(text)
        print(path.relative_to(Path.cwd()))
