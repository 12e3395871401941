"""Folds the random log of a seed and prints a digest of every byte that came of it.

python -m tests.property.digest SEED
"""

import hashlib
import random
import sys

from schemas import codec
from streams.domain.replay import accounts_digest
from tests.property.logs import fold, random_log


def digest(seed: int) -> str:
    """One line: the entries, the refusals, the claims and the accounts of the log of a seed."""
    log = random_log(random.Random(seed), length=400)
    cut = [{"budgets": 3, "signals": 5, "usage": 17}] * 9
    folded = fold(log, cut)
    found = hashlib.blake2b(digest_size=16)
    for entry in folded.entries:
        found.update(codec.encode(entry))
    for refused in folded.rejected:
        found.update(f"{refused.record.offset} {refused.code} {refused.reason}".encode())
    for key, claim in folded.state.new_claims.items():
        found.update(key + claim.body_hash)
    return f"{len(folded.entries)} {found.hexdigest()} {accounts_digest(folded.state)}"


if __name__ == "__main__":
    print(digest(int(sys.argv[1])))
