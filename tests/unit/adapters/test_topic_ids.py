"""Topics that have just been created, on a broker that does not know of all of them yet."""

import pytest

from schemas.topics import TOPICS
from streams.adapters import topic_ids
from streams.adapters.topic_ids import all_identities
from streams.domain.generations import TopicIdentity
from streams.errors import TransientError

FIRST, LAST = TOPICS[0].name, TOPICS[-1].name


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many topics the broker knows at each look, after these all of them; empties itself."""
    known: list[int] = []

    async def look(_bootstrap: str, _prefix: str) -> dict[str, TopicIdentity]:
        count = known.pop(0) if known else len(TOPICS)
        return {topic.name: TopicIdentity(topic.name, 1) for topic in TOPICS[:count]}

    monkeypatch.setattr(topic_ids, "topic_identities", look)
    monkeypatch.setattr(topic_ids, "KNOWN_POLL_SECONDS", 0.0)
    return known


async def test_topics_that_a_busy_broker_does_not_know_yet_are_waited_for(looks: list[int]) -> None:
    looks += [0, 1, len(TOPICS) - 1]
    found = await all_identities("broker:1", "x.")
    assert (looks, list(found)) == ([], [topic.name for topic in TOPICS])


async def test_a_topic_that_stays_unknown_is_named(
    looks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topic_ids, "KNOWN_SECONDS_MAX", -1.0)
    looks.append(len(TOPICS) - 1)
    with pytest.raises(TransientError) as caught:
        await all_identities("broker:1", "x.")
    assert f"x.{LAST}" in caught.value.message
    assert f"x.{FIRST}" not in caught.value.message
