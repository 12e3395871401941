"""streams.domain.ledger: ids that are a function of where an entry comes from."""

from itertools import product

from streams.domain.ledger import cycle_id, entry_id


def test_an_id_names_the_record_that_caused_the_entry() -> None:
    assert entry_id(1, "usage", 3, 42, 0) == "1-usage-3-42-0"
    assert cycle_id(2, 3, 7) == "2-cycle-3-7"


def test_no_two_places_share_an_id() -> None:
    places = list(product((1, 11), ("usage", "signals", "budgets"), (0, 1, 10), (0, 1, 10), (0, 1)))
    cycles = list(product((1, 11), (0, 1, 10), (1, 10, 100)))
    ids = {entry_id(*place) for place in places} | {cycle_id(*place) for place in cycles}
    assert len(ids) == len(places) + len(cycles)
