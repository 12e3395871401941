"""The recorded document still looks as it looked, in every form, byte for byte."""

from pathlib import Path

import pytest

from tests.golden.papers import HERE, outcome

NAMES = ("bill.json", "bill.csv", "bill.txt", "bill.html", "credit_note.html", "handover.jsonl")


@pytest.mark.parametrize("name", NAMES)
def test_the_recorded_papers_still_look_as_they_looked(name: str) -> None:
    assert outcome()[HERE / name] == (HERE / name).read_bytes(), (
        "papers would change: if that is meant, run `python -m tests.golden.papers`"
    )


def test_every_form_is_recorded() -> None:
    assert {Path(path).name for path in outcome()} == set(NAMES)
