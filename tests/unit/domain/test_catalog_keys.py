"""API keys in the catalog: collected, never decided by."""

import dataclasses

import pytest

from schemas import codec
from streams.domain.context import CatalogView
from tests.builders import book, catalog_view
from tests.key_making import KEY_ID, key_record


def test_a_key_is_collected_and_changes_nothing_that_a_decision_sees() -> None:
    view = catalog_view([("unit", "1000")], prices=book(small={"input": "1"}))
    before = view.context()
    view.fold(3, key_record())
    after = view.context()
    assert set(view.keys) == {KEY_ID}
    assert dataclasses.replace(after, catalog_offset=before.catalog_offset) == before
    assert (before.catalog_offset, after.catalog_offset) == (3, 4)


def test_the_latest_version_of_a_key_counts() -> None:
    view = CatalogView()
    view.fold(0, key_record())
    view.fold(1, key_record(version="2", expires_at=7))
    assert view.keys[KEY_ID].expires_at == 7


def test_nothing_takes_a_revocation_back() -> None:
    view = CatalogView()
    view.fold(0, key_record())
    view.fold(1, key_record(version="2-a", revoked_at=7))
    view.fold(2, key_record(version="2-b", expires_at=9))
    assert view.keys[KEY_ID].revoked_at == 7


def test_a_key_never_gets_another_secret_and_the_message_holds_no_digest() -> None:
    view = CatalogView()
    view.fold(0, key_record())
    other = key_record(version="2", secret=bytes(24))
    with pytest.raises(ValueError, match="new id") as refused:
        view.fold(1, other)
    assert other.digest not in str(refused.value)
    assert view.keys[KEY_ID] == key_record()


def test_versions_of_a_key_lie_under_keys_of_their_own() -> None:
    found = [codec.catalog_key(key_record(version=version)) for version in ("1", "2-ab")]
    assert found == [f"api_key/{KEY_ID}/1".encode(), f"api_key/{KEY_ID}/2-ab".encode()]


@pytest.mark.parametrize(
    "wrong",
    [
        {"scopes": []},
        {"scopes": ["root"]},
        {"id": "A" * 16},
        {"id": "0" * 15},
        {"digest": "0" * 63},
        {"customers": []},
        {"customers": ["c"] * 101},
        {"requests_per_second": 0},
        {"requests_per_second": 100_001},
        {"secret_text": "agb_"},
    ],
)
def test_a_record_that_is_no_key_is_refused_by_the_decoder(wrong: dict[str, object]) -> None:
    fields = codec.to_plain(key_record()) | wrong
    with pytest.raises(ValueError, match=r".+"):
        codec.decode_catalog(codec.encode({k: v for k, v in fields.items() if v is not None}))
