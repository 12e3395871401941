"""The pinned jars: what is in the list, and that nothing else is ever used."""

import hashlib
import os
from pathlib import Path

import pytest

from streams.embedded import jars as jars_module
from streams.embedded.jars import (
    KAFKA_VERSION,
    Jar,
    check_jar,
    missing_jars,
    read_pins,
    verify_jars,
)
from streams.errors import SetupError


def jar_in(folder: Path, name: str, content: bytes) -> Jar:
    (folder / name).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return Jar(name, f"org.example:{name}:1", len(content), digest)


def test_the_pin_file_lists_each_jar_once_and_the_broker_in_the_stated_version() -> None:
    pins = read_pins()
    names = [pin.name for pin in pins]
    assert len(names) == len(set(names)) > 40
    assert f"kafka_2.13-{KAFKA_VERSION}.jar" in names
    assert all(pin.coordinates.count(":") == 2 for pin in pins)


def test_the_broker_can_write_its_log() -> None:
    names = [pin.name for pin in read_pins()]
    # Without the bridge every message of the broker is dropped without a word.
    assert any(name.startswith("log4j-slf4j-impl-") for name in names)


def test_a_malformed_pin_is_named_by_its_line(tmp_path: Path) -> None:
    broken = tmp_path / "pins.txt"
    broken.write_text("# comment\na.jar org.example:a:1 12 nonsense\n")
    with pytest.raises(SetupError, match="line 2"):
        read_pins(broken)


def test_a_jar_with_other_content_is_refused_by_name(tmp_path: Path) -> None:
    good = jar_in(tmp_path, "good.jar", b"right")
    bad = jar_in(tmp_path, "bad.jar", b"right too")
    (tmp_path / "bad.jar").write_bytes(b"tampered!")
    with pytest.raises(SetupError, match=r"bad\.jar is not the pinned file") as refused:
        verify_jars(tmp_path, [good, bad])
    assert str(tmp_path / "bad.jar") in refused.value.action
    check_jar(tmp_path / "good.jar", good)


def test_content_is_read_again_only_when_size_time_or_pin_changed(tmp_path: Path) -> None:
    jar = jar_in(tmp_path, "a.jar", b"content")
    assert verify_jars(tmp_path, [jar])
    assert not verify_jars(tmp_path, [jar])
    os.utime(tmp_path / "a.jar", ns=(1, 1))
    assert verify_jars(tmp_path, [jar])
    assert not verify_jars(tmp_path, [jar])


def test_a_jar_that_changes_after_it_was_verified_is_refused(tmp_path: Path) -> None:
    jar = jar_in(tmp_path, "a.jar", b"content")
    verify_jars(tmp_path, [jar])
    (tmp_path / "a.jar").write_bytes(b"tampered")
    with pytest.raises(SetupError, match=r"a\.jar"):
        verify_jars(tmp_path, [jar])


def test_a_new_pin_is_not_covered_by_the_stamp_of_the_old_one(tmp_path: Path) -> None:
    old = jar_in(tmp_path, "a.jar", b"content")
    verify_jars(tmp_path, [old])
    new = Jar(old.name, old.coordinates, old.size_bytes, "0" * 64)
    with pytest.raises(SetupError, match=r"a\.jar"):
        verify_jars(tmp_path, [new])


def test_a_damaged_stamp_means_that_everything_is_read(tmp_path: Path) -> None:
    jar = jar_in(tmp_path, "a.jar", b"content")
    (tmp_path / jars_module.STAMP_NAME).write_text("{")
    assert verify_jars(tmp_path, [jar])


def test_missing_jars_are_those_without_a_file(tmp_path: Path) -> None:
    here = jar_in(tmp_path, "here.jar", b"x")
    absent = Jar("absent.jar", "org.example:absent:1", 1, "0" * 64)
    assert missing_jars(tmp_path, [here, absent]) == [absent]
