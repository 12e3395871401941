"""schemas.topics: one list, consistent with itself and with the limits."""

from schemas.catalog import Rules
from schemas.limits import OUTBOUND_RECORD_BYTES_MAX, RECORD_BYTES_MAX
from schemas.topics import (
    CATALOG,
    CLAIMS_CHANGELOG,
    CLAIMS_RETENTION_DAYS,
    DAY_MS,
    DEAD_LETTERS,
    INBOUND,
    LEDGER,
    TOPICS,
)


def test_no_two_topics_have_one_name() -> None:
    names = [topic.name for topic in TOPICS]
    assert len(set(names)) == len(names) >= 13


def test_a_prefix_stands_before_the_name() -> None:
    assert LEDGER.full_name("shop.") == "shop.ledger"


def test_every_topic_stamps_records_when_they_are_appended() -> None:
    assert {t.config()["message.timestamp.type"] for t in TOPICS} == {"LogAppendTime"}


def test_the_books_are_kept_for_ever() -> None:
    for topic in (*INBOUND, LEDGER):
        settings = topic.config()
        assert (settings["cleanup.policy"], settings["retention.ms"]) == ("delete", "-1")
        assert settings["retention.bytes"] == "-1"


def test_claims_are_kept_by_time_longer_than_the_default_horizon() -> None:
    assert CLAIMS_CHANGELOG.config()["cleanup.policy"] == "delete"
    assert CLAIMS_CHANGELOG.retention_ms == CLAIMS_RETENTION_DAYS * DAY_MS
    horizon = Rules.model_fields["horizon_days"].default
    assert horizon < CLAIMS_RETENTION_DAYS


def test_a_dead_letter_may_be_larger_than_what_it_carries() -> None:
    assert int(DEAD_LETTERS.config()["max.message.bytes"]) == OUTBOUND_RECORD_BYTES_MAX
    assert {t.record_bytes_max for t in INBOUND} == {RECORD_BYTES_MAX}
    assert CATALOG.partitions == 1


def test_settings_of_a_topic_of_its_own_win() -> None:
    from dataclasses import replace

    own = replace(LEDGER, more={"retention.bytes": "5"})
    assert own.config()["retention.bytes"] == "5"
    assert LEDGER.config()["retention.bytes"] == "-1"
