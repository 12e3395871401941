"""streams.agents.wholeness: a partition whose topics end with different cycles stops its owner."""

from dataclasses import dataclass

import pytest

from schemas.topics import (
    ACCOUNTS_CHANGELOG,
    ATTRIBUTIONS,
    CLAIMS_CHANGELOG,
    DEAD_LETTERS,
    LEDGER,
)
from streams.agents.wholeness import check_recovered, check_whole
from streams.domain.state import Progress
from streams.errors import FaultError
from streams.ports import Table


@dataclass(frozen=True)
class End:
    """How a topic ends."""

    key: bytes | None = None
    value: bytes | None = None
    cut: bool = False
    offset: int | None = None


def entry(sequence: int, generation: int = 1) -> End:
    text = f'{{"generation":{generation},"partition":0,"sequence":{sequence},"decided_at":1}}'
    return End(None, text.encode())


WHOLE = {
    LEDGER.name: entry(9),
    ATTRIBUTIONS.name: entry(5),
    DEAD_LETTERS.name: entry(1),
    CLAIMS_CHANGELOG.name: End(b"1-4", b"claims"),
}
PROGRESS = Progress(
    cycle=4, next_sequence=10, next_dead_letter=2, next_attribution=6, claims_segment="1-4"
)
NOTHING = dict.fromkeys(WHOLE, End())


def test_topics_that_end_with_the_tables_cycle_are_whole() -> None:
    check_whole(0, PROGRESS, WHOLE)


def test_a_partition_that_nothing_happened_in_is_whole() -> None:
    check_whole(0, Progress(), NOTHING)


@pytest.mark.parametrize(
    ("topic", "end", "says"),
    [
        (LEDGER.name, entry(8), "ledger goes on with sequence 9, the tables say with 10"),
        (LEDGER.name, entry(10), "ledger goes on with sequence 11, the tables say with 10"),
        (LEDGER.name, End(), "ledger goes on with sequence 0"),
        (LEDGER.name, End(None, b"no entry"), "ledger goes on with sequence -1"),
        (
            ATTRIBUTIONS.name,
            entry(6),
            "attributions goes on with sequence 7, the tables say",
        ),
        (DEAD_LETTERS.name, entry(0), "dead-letters goes on with sequence 1, the tables say with"),
        (CLAIMS_CHANGELOG.name, End(b"1-3", b"x"), "ends with segment 1-3, the tables say 1-4"),
        (CLAIMS_CHANGELOG.name, End(), "ends with segment none, the tables say 1-4"),
    ],
)
def test_a_topic_that_ends_with_another_cycle_stops_the_owner(
    topic: str, end: End, says: str
) -> None:
    with pytest.raises(FaultError, match=says):
        check_whole(0, PROGRESS, {**WHOLE, topic: end})


def test_tables_without_content_beside_a_ledger_with_entries_stop_the_owner() -> None:
    with pytest.raises(FaultError, match="the tables say with 0"):
        check_whole(0, Progress(), {**NOTHING, LEDGER.name: entry(9)})


def test_claims_that_retention_has_deleted_are_no_fault() -> None:
    check_whole(0, PROGRESS, {**WHOLE, CLAIMS_CHANGELOG.name: End(cut=True)})


def test_a_new_generation_begins_beside_what_the_former_one_left() -> None:
    begun = Progress(generation=2, claims_segment="1-4")
    check_whole(0, begun, WHOLE)
    check_whole(0, begun, {**WHOLE, LEDGER.name: End()})


CHANGELOG_ENDS = {ACCOUNTS_CHANGELOG.name: End(offset=90), CLAIMS_CHANGELOG.name: End(offset=20)}


@pytest.mark.parametrize("claims", [20, 22])
def test_tables_with_all_records_of_their_changelogs_are_recovered(claims: int) -> None:
    check_recovered(0, {Table.ACCOUNTS: 90, Table.CLAIMS: claims}, CHANGELOG_ENDS)


def test_tables_of_a_partition_that_nothing_happened_in_are_recovered() -> None:
    ends = dict.fromkeys(CHANGELOG_ENDS, End())
    check_recovered(0, {Table.ACCOUNTS: None, Table.CLAIMS: None}, ends)


@pytest.mark.parametrize(
    ("accounts", "claims", "says"),
    [
        (89, 20, "behind accounts-changelog has it up to offset 89, the topic goes up to 90"),
        (90, 19, "behind claims-changelog has it up to offset 19, the topic goes up to 20"),
        (90, None, "behind claims-changelog has it up to offset None"),
    ],
)
def test_a_table_that_lacks_the_end_of_its_changelog_is_not_owned(
    accounts: int, claims: int | None, says: str
) -> None:
    with pytest.raises(FaultError, match=says):
        check_recovered(0, {Table.ACCOUNTS: accounts, Table.CLAIMS: claims}, CHANGELOG_ENDS)
