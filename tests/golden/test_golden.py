"""The recorded log still means what it meant: the same entries, refusals and accounts, byte for
byte."""

from collections import Counter
from pathlib import Path

import pytest

from schemas import codec
from schemas.errors import RejectCode
from streams.domain.replay import accounts_digest, fold_entries
from tests.golden.record import DIGEST, LEDGER, REFUSED, inbound, outcome


@pytest.mark.parametrize("path", [LEDGER, REFUSED, DIGEST], ids=lambda path: path.name)
def test_the_recorded_log_still_means_what_it_meant(path: Path) -> None:
    assert outcome()[path] == path.read_text(), (
        "bills would change: if that is meant, run `python -m tests.golden.record`"
    )


def test_the_recorded_ledger_folds_back_into_the_recorded_accounts() -> None:
    entries = [codec.decode_entry(line.encode()) for line in LEDGER.read_text().splitlines()]
    assert accounts_digest(fold_entries(entries)) == DIGEST.read_text().strip()


def test_the_recorded_log_has_something_of_everything() -> None:
    topics = Counter(line.get("topic", "other") for line in inbound())
    assert min(topics[name] for name in ("usage", "signals", "budgets")) >= 2
    refused = {RejectCode(line.split()[2]) for line in REFUSED.read_text().splitlines()}
    assert len(refused) >= 7
    text = LEDGER.read_text()
    for word in (
        "reported",
        "priced",
        "unpriced",
        "provisional",
        "EUR",
        "burns",
        "cycle",
        "signal",
    ):
        assert f'"{word}"' in text
