"""streams.domain.identity: who was first with an id, and what a later record is."""

import pytest

from streams.domain.facts import claim_key
from streams.domain.identity import (
    CLAIM_BYTES,
    KEYED_CLAIM_BYTES,
    Claim,
    Verdict,
    judge,
    pack_claim,
    pack_segment,
    split_segment,
    unpack_claim,
)
from tests.builders import DAY_US, NOON_US

HORIZON_US = 35 * DAY_US
HASH, OTHER = b"h" * 16, b"o" * 16
CLAIM = Claim(HASH, NOON_US, offset=7)


def verdict(claim: Claim | None, body_hash: bytes, appended_at_us: int, offset: int) -> Verdict:
    return judge(claim, body_hash, appended_at_us, offset, HORIZON_US)


def test_an_id_that_nobody_claimed_is_fresh() -> None:
    assert verdict(None, HASH, NOON_US, 7) is Verdict.FRESH


def test_the_record_that_made_the_claim_is_a_replay() -> None:
    assert verdict(CLAIM, HASH, NOON_US, 7) is Verdict.REPLAY


def test_the_same_content_at_another_position_is_a_duplicate() -> None:
    assert verdict(CLAIM, HASH, NOON_US, 8) is Verdict.DUPLICATE
    assert verdict(CLAIM, HASH, NOON_US + DAY_US, 6) is Verdict.DUPLICATE


def test_other_content_under_the_same_id_is_a_conflict_wherever_it_stands() -> None:
    assert verdict(CLAIM, OTHER, NOON_US, 8) is Verdict.CONFLICT
    assert verdict(CLAIM, OTHER, NOON_US, 7) is Verdict.CONFLICT


@pytest.mark.parametrize("body_hash", [HASH, OTHER])
def test_a_claim_holds_up_to_and_including_its_horizon(body_hash: bytes) -> None:
    at_edge, beyond = NOON_US + HORIZON_US, NOON_US + HORIZON_US + 1
    assert verdict(CLAIM, body_hash, at_edge, 8) is not Verdict.FRESH
    assert verdict(CLAIM, body_hash, beyond, 8) is Verdict.FRESH


def test_a_claim_holds_for_records_appended_before_it() -> None:
    assert verdict(CLAIM, HASH, NOON_US - DAY_US, 8) is Verdict.DUPLICATE


def test_free_text_that_joins_to_the_same_text_is_not_the_same_identity() -> None:
    keys = {
        claim_key("usage", "acme", "crm", "1"),
        claim_key("usage", "acm", "ecrm", "1"),
        claim_key("usage", "acme", "cr", "m1"),
        claim_key("usage", "ac", "mecrm1", ""),
        claim_key("usage", "acme3:crm", "x", "1"),
        claim_key("usage", "acme", "3:crmx", "1"),
        claim_key("usage", "4:acme", "crm", "1"),
        claim_key("usage", "1", "1:1", "1"),
        claim_key("usage", "11:1", "1", "1"),
        claim_key("usage", "11", ":1", "1"),
    }
    assert len(keys) == 10


def test_the_same_id_on_another_topic_is_another_identity() -> None:
    assert len({claim_key(topic, "a", "s", "1") for topic in ("usage", "signals", "budgets")}) == 3


def test_a_claims_key_is_a_function_of_its_identity_alone() -> None:
    assert claim_key("usage", "acme", "crm", "e1").hex() == "b4d0c39a67da737242fb0c7b662e3230"


def test_a_packed_claim_is_the_claim() -> None:
    packed = pack_claim(CLAIM)
    assert len(packed) == CLAIM_BYTES == 32
    assert unpack_claim(packed) == CLAIM


def test_a_segment_is_its_claims_one_after_the_other() -> None:
    claims = {bytes([n]) * 16: Claim(bytes([n + 1]) * 16, NOON_US + n, n) for n in range(5)}
    segment = pack_segment(claims)
    assert len(segment) == 5 * KEYED_CLAIM_BYTES
    assert {key: unpack_claim(packed) for key, packed in split_segment(segment)} == claims
    assert split_segment(b"") == []
