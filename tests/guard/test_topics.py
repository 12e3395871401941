"""The list of topics: complete, consistent, and what the broker is told."""

from schemas.limits import OUTBOUND_RECORD_BYTES_MAX
from schemas.topics import (
    ACCOUNTS_CHANGELOG,
    CLAIMS_CHANGELOG,
    CLAIMS_MARGIN_DAYS,
    CLAIMS_RETENTION_DAYS,
    DAY_MS,
    INBOUND,
    LEDGER,
    TOMBSTONE_RETENTION_DAYS,
    TOPICS,
)
from streams.app.installation import default_rules
from streams.domain.decoding import _DECODERS, _INTERNAL
from streams.domain.folding import FOLD_ORDER


def test_names_are_unique_and_every_topic_says_what_it_is_for() -> None:
    assert len({topic.name for topic in TOPICS}) == len(TOPICS) > 10
    assert all(topic.purpose and topic.key and topic.value for topic in TOPICS)


def test_a_cycle_folds_exactly_what_a_worker_reads() -> None:
    assert tuple(topic.name for topic in INBOUND) == FOLD_ORDER
    assert set(FOLD_ORDER) == set(_DECODERS) | set(_INTERNAL)


def test_append_time_is_a_fact_of_every_topic() -> None:
    assert {topic.config()["message.timestamp.type"] for topic in TOPICS} == {"LogAppendTime"}


def test_the_books_are_kept_for_ever() -> None:
    for topic in (*INBOUND, LEDGER):
        assert topic.config()["retention.ms"] == "-1"
        assert topic.config()["cleanup.policy"] == "delete"


def test_claims_are_kept_longer_than_they_hold() -> None:
    assert default_rules().horizon_days + CLAIMS_MARGIN_DAYS <= CLAIMS_RETENTION_DAYS
    assert CLAIMS_CHANGELOG.retention_ms == CLAIMS_RETENTION_DAYS * DAY_MS


def test_the_end_of_a_row_outlasts_a_store_that_is_away_for_a_month() -> None:
    kept_ms = int(ACCOUNTS_CHANGELOG.config()["delete.retention.ms"])
    assert kept_ms == TOMBSTONE_RETENTION_DAYS * DAY_MS > 31 * DAY_MS


def test_no_topic_takes_more_than_tollgate_can_write() -> None:
    assert max(topic.record_bytes_max for topic in TOPICS) == OUTBOUND_RECORD_BYTES_MAX
