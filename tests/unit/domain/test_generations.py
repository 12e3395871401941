"""streams.domain.generations: whether topics are the recorded ones, and where a new life of them
begins."""

from collections.abc import Mapping

import pytest

from schemas.structs import Generation
from streams.domain.generations import TopicIdentity, differences, start_offset
from tests.builders import catalog_record, catalog_view

CUSTOMER_TOPICS = frozenset({"usage", "ledger"})


def generation(number: int, **topic_ids: str) -> Generation:
    record = catalog_record(
        "generation", version=str(number), generation=number, partitions=8, topic_ids=topic_ids
    )
    assert isinstance(record, Generation)
    return record


FIRST = generation(1, usage="u1", ledger="l1", owners="o1")
AS_RECORDED = {
    "usage": TopicIdentity("u1", 8),
    "ledger": TopicIdentity("l1", 8),
    "owners": TopicIdentity("o1", 1),
}


def test_topics_as_recorded_differ_in_nothing() -> None:
    assert differences(FIRST, AS_RECORDED, CUSTOMER_TOPICS) == []


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"usage": TopicIdentity("u2", 8)}, "usage: deleted and made anew (its id is u2)"),
        ({"ledger": TopicIdentity("l1", 9)}, "ledger: 9 partitions, not 8"),
    ],
)
def test_a_topic_that_is_another_one_is_named(
    changed: Mapping[str, TopicIdentity], says: str
) -> None:
    assert differences(FIRST, {**AS_RECORDED, **changed}, CUSTOMER_TOPICS) == [says]


def test_a_topic_that_is_gone_is_named() -> None:
    found = {name: topic for name, topic in AS_RECORDED.items() if name != "ledger"}
    assert differences(FIRST, found, CUSTOMER_TOPICS) == ["ledger: the topic is gone"]


def test_a_topic_that_a_later_release_added_is_no_difference() -> None:
    found = {**AS_RECORDED, "novel": TopicIdentity("n1", 3)}
    assert differences(FIRST, found, CUSTOMER_TOPICS) == []


def test_a_topic_made_anew_is_read_from_its_beginning_and_any_other_goes_on() -> None:
    second = generation(2, usage="u2", ledger="l1", owners="o1")
    assert start_offset("usage", FIRST, second, 512) is None
    assert start_offset("ledger", FIRST, second, 512) == 512


def test_without_a_record_of_the_former_life_everything_is_read_from_its_beginning() -> None:
    assert start_offset("usage", None, FIRST, 512) is None
    assert start_offset("usage", generation(1), generation(2), 512) is None
    assert start_offset("usage", FIRST, generation(2, usage="u1"), None) is None


def test_generations_are_counted_upwards() -> None:
    view = catalog_view()
    with pytest.raises(ValueError, match="counted upwards"):
        view.fold(2, catalog_record("generation", version="1b", generation=1, partitions=8))


def test_a_former_generation_stays_known() -> None:
    view = catalog_view()
    view.fold(2, generation(2, usage="u2"))
    former, current = view.generation_of(1), view.generation
    assert former is not None
    assert current is not None
    assert (former.generation, current.generation) == (1, 2)
