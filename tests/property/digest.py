"""Folds the random log of a seed and prints a digest of every byte that came of it.

python -m tests.property.digest SEED
"""

import hashlib
import random
import sys

from schemas import codec
from streams.domain.replay import accounts_digest
from tests.property.logs import fold, random_cut, random_log


def digest(seed: int) -> str:
    """One line: the entries, the refusals, the claims and the accounts of the log of a seed."""
    chance = random.Random(seed)
    folded = fold(random_log(chance, length=400), random_cut(chance))
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
