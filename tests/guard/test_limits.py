"""Every bound has a reason, and the file of limits holds nothing else."""

from pathlib import Path

import pytest

from tests.guard import generated
from tests.guard.repository import label

REASON_WORDS_MIN = 5
"""A reason is a sentence; fewer words repeat the name."""


@pytest.mark.parametrize("path", generated.LIMIT_FILES, ids=label)
def test_every_limit_has_a_reason(path: Path) -> None:
    found = list(generated.limits(path))
    assert found, "no limit was found"
    assert not [name for name, _, reason in found if len(reason.split()) < REASON_WORDS_MIN]


def test_a_limit_without_a_reason_is_found(tmp_path: Path) -> None:
    path = tmp_path / "limits.py"
    path.write_text('ROWS_MAX = 10\n"""A reason."""\nBYTES_MAX: Final = 20\n')
    assert list(generated.limits(path)) == [
        ("ROWS_MAX", "10", "A reason."),
        ("BYTES_MAX", "20", ""),
    ]
