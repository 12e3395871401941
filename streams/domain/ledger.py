"""Entry ids: where an entry comes from, as text that finds the record again (decision 004).

An id is a function of the source position, so that deciding a record again writes the same bytes,
and a person can go from any row to the record that caused it.
"""


def entry_id(generation: int, topic: str, partition: int, offset: int, index: int) -> str:
    """The id of the index-th entry that follows from one inbound record."""
    return f"{generation}-{topic}-{partition}-{offset}-{index}"


def segment_key(generation: int, cycle: int) -> str:
    """What the claims' changelog calls the claims of a cycle."""
    return f"{generation}-{cycle}"


def cycle_id(generation: int, partition: int, cycle: int) -> str:
    """The id of a cycle's own entry."""
    return f"{generation}-cycle-{partition}-{cycle}"
