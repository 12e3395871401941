"""streams.adapters.key_uses: when keys were last used, in files that may be lost."""

import logging
from pathlib import Path

import pytest

from streams.adapters.key_uses import FILE_BYTES_MAX, KeyUseFile, read_key_uses


def test_the_latest_use_over_all_gateways_is_read(tmp_path: Path) -> None:
    KeyUseFile(tmp_path, "127.0.0.1:8080").write({"a": 5, "b": 7})
    KeyUseFile(tmp_path, "[::1]:8081").write({"a": 6, "c": 1})
    assert read_key_uses(tmp_path) == {"a": 6, "b": 7, "c": 1}


def test_a_gateway_that_starts_again_keeps_what_it_knew(tmp_path: Path) -> None:
    KeyUseFile(tmp_path, "one").write({"a": 5, "b": 7})
    KeyUseFile(tmp_path, "one").write({"b": 6, "c": 1})
    assert read_key_uses(tmp_path) == {"a": 5, "b": 7, "c": 1}


def test_where_nothing_was_written_nothing_is_known(tmp_path: Path) -> None:
    assert read_key_uses(tmp_path / "none") == {}


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"\xff", b'{"a": "x", "b": -1}', b" " * (FILE_BYTES_MAX + 1)]
)
def test_a_damaged_file_says_nothing_and_is_written_anew(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "one.json").write_bytes(damage)
    assert read_key_uses(tmp_path) == {}
    KeyUseFile(tmp_path, "one").write({"a": 5})
    assert read_key_uses(tmp_path) == {"a": 5}


def test_only_the_user_of_the_gateway_may_read_its_file(tmp_path: Path) -> None:
    KeyUseFile(tmp_path / "uses", "one").write({"a": 5})
    assert (tmp_path / "uses").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "uses" / "one.json").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "uses").iterdir()] == ["one.json"]


def test_no_name_leads_out_of_the_directory(tmp_path: Path) -> None:
    KeyUseFile(tmp_path / "uses", "../../etc/x").write({"a": 5})
    assert [path.name for path in (tmp_path / "uses").iterdir()] == ["etc-x.json"]


def test_a_file_that_cannot_be_written_is_said_and_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "uses").write_text("a file where the directory should be")
    file = KeyUseFile(tmp_path / "uses", "one")
    with caplog.at_level(logging.WARNING):
        file.write({"a": 5})
    assert "not written" in caplog.text
