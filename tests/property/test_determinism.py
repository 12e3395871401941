"""The same log gives the same bytes in every process."""

import subprocess
import sys
from pathlib import Path

from tests.property.digest import digest
from tests.property.seed import SEED

ROOT = Path(__file__).parents[2]


def digest_under(hash_seed: str) -> str:
    """The digest in a new process whose hashes of text differ."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.property.digest", str(SEED)],
        cwd=ROOT,
        env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_two_processes_with_other_hash_seeds_write_the_same_bytes() -> None:
    found = {digest_under("1"), digest_under("2"), digest(SEED)}
    assert len(found) == 1
    assert int(found.pop().split()[0]) > 200


def test_another_log_gives_another_digest() -> None:
    assert digest(SEED) != digest(SEED + 1)
