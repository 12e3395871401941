"""Sums out of the log, held in cells: every span has the sums that its entries have."""

import random
from itertools import pairwise

import pytest

from streams.app.invoices.books import Sums
from streams.domain.invoices.tallies import Span, tally
from tests.property.seed import SEED
from tests.random_ledger import CUSTOMERS, EDGES, plain_of, random_entries


@pytest.mark.parametrize("number", range(5))
def test_a_span_has_the_sums_of_its_entries_however_they_are_read(number: int) -> None:
    chance = random.Random(SEED + number)
    entries = plain_of(random_entries(SEED + number), CUSTOMERS[0])
    assert entries
    spans = [
        Span(begin, end, (1 + chance.randrange(2), chance.randrange(400)))
        for begin, end in [*pairwise(EDGES), (EDGES[0], EDGES[-1]), (0, EDGES[0])]
        for _ in range(3)
    ]
    sums = Sums.of(spans)
    while entries:
        size = chance.randrange(1, 40)
        sums.add(entries[:size])
        entries = entries[size:]
    assert [sums.tally(span) for span in spans] == tally(
        plain_of(random_entries(SEED + number), CUSTOMERS[0]), spans
    )
