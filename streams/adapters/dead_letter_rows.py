"""Dead letters in ClickHouse whose originals were written anew."""

from collections.abc import Sequence
from typing import Final

from schemas.structs import DeadLetter
from streams.adapters.clickhouse import ClickHouse

AT_ONCE: Final = 100
"""Letters of one mutation: each brings its whole original along, and rewrites the column of the
parts that it lies in."""


def replace_values(clickhouse: ClickHouse, letters: Sequence[DeadLetter]) -> int:
    """Gives the rows of these letters the originals that the letters have, and returns how many
    rows had others. Returns when they are on the disk of this server."""
    changed = 0
    for at in range(0, len(letters), AT_ONCE):
        some = letters[at : at + AT_ONCE]
        places = ", ".join(f"({one.generation}, {one.partition}, {one.sequence})" for one in some)
        where = f"(generation, `partition`, sequence) IN ({places})"
        rows = clickhouse.query(
            "SELECT generation, `partition`, sequence, record_value "  # noqa: S608 - numbers
            f"FROM dead_letters WHERE {where}"
        ).rows
        held = {(int(g), int(p), int(s)): value for g, p, s, value in rows}
        due = [
            one
            for one in some
            if held.get(place := (one.generation, one.partition, one.sequence)) != one.record_value
            and place in held
        ]
        if due:
            # Base64 holds nothing that would end a text.
            branches = ", ".join(
                f"(generation, `partition`, sequence) = ({one.generation}, {one.partition}, "
                f"{one.sequence}), '{one.record_value or ''}'"
                for one in due
            )
            clickhouse.execute(
                f"ALTER TABLE dead_letters UPDATE record_value = multiIf({branches}, record_value) "
                f"WHERE {where} SETTINGS mutations_sync = 2"
            )
            changed += len(due)
    return changed
