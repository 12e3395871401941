"""What comes from others: every locked file has its hash, the bill of materials is whole, known
holes are looked for, and ruff's security rules are on."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from streams.embedded.jars import read_pins
from tests.guard import advisories, sbom
from tests.guard.repository import ROOT, files

LOCKS: Final = sorted(path.name for path in files(".txt", "requirements"))


@pytest.mark.parametrize("lock", LOCKS)
def test_no_version_is_locked_without_a_hash(lock: str) -> None:
    pins = sbom.read_lock((ROOT / "requirements" / lock).read_text(encoding="utf-8"))
    assert len(pins) >= 5
    assert all(pin.hashes for pin in pins)


@pytest.mark.parametrize(
    "text",
    [
        "click==8.1.7\n",
        "click>=8 \\\n    --hash=sha256:" + "0" * 64,
        "click==8.1.7 \\\n    --hash=md5:" + "0" * 32,
        "https://example.org/click.whl \\\n    --hash=sha256:" + "0" * 64,
        "-r other.txt\n",
        "click==8.1.7 \\\n    --hash=sha256:" + "0" * 64 + "\nrich==1 \\\n    # via click",
    ],
)
def test_a_planted_entry_without_version_or_hash_is_found(text: str) -> None:
    with pytest.raises(ValueError, match=r"line|without a hash"):
        sbom.read_lock(text)


def test_what_is_installed_from_is_hashed_in_every_command() -> None:
    for name in ("Makefile", "deploy/Dockerfile"):
        text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
        for line in re.findall(r"^.*(?:pip install|INSTALL\)).* -r .*$", text, re.MULTILINE):
            assert "--require-hashes" in line, f"{name}: {line.strip()}"
        assert "--require-hashes" in text, name


# --- the bill of materials -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return sbom.bill()


def test_the_bill_of_materials_is_cyclonedx(document: dict[str, Any]) -> None:
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(json.dumps(document)) is None
    document_of_others = {**document, "components": [{"name": "without a type"}]}
    assert validator.validate_str(json.dumps(document_of_others)) is not None


def test_the_bill_of_materials_names_everything_that_is_locked_and_nothing_else(
    document: dict[str, Any],
) -> None:
    listed = {component["purl"] for component in document["components"]}
    assert len(listed) == len(document["components"])
    locked = set()
    for _, scope in sbom.SCOPES:
        assert any(one.get("scope") == scope for one in document["components"])
    for name, _ in sbom.SCOPES:
        text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
        for package, version in re.findall(r"^([a-z0-9][\w.-]*)==(\S+)", text, re.MULTILINE):
            locked.add(f"pkg:pypi/{package}@{version}")
    jars = {one for one in listed if one.startswith("pkg:maven/")}
    assert listed - jars == locked
    assert len(jars) == len(read_pins()) > 40
    hashes = {one["content"] for part in document["components"] for one in part["hashes"]}
    assert {jar.sha256 for jar in read_pins()} <= hashes
    refs = listed | {document["metadata"]["component"]["bom-ref"]}
    for entry in document["dependencies"]:
        assert {entry["ref"], *entry["dependsOn"]} <= refs


def test_the_same_locks_give_the_same_bill(document: dict[str, Any], tmp_path: Path) -> None:
    assert sbom.bill() == document
    assert document["serialNumber"].startswith("urn:uuid:")


# --- known holes ---------------------------------------------------------------------------------

LOOKED_UP: Final = {"dependencies": [{"name": "a", "version": "1", "vulns": []}]}
SKIPPED: Final = {"dependencies": [{"name": "b", "skip_reason": "not found"}]}
HOLE: Final = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["2"]}
WITH_HOLE: Final = {"dependencies": [{"name": "c", "version": "1", "vulns": [HOLE]}]}


@pytest.mark.parametrize(
    ("reports", "status", "said"),
    [
        ([LOOKED_UP], advisories.CLEAN, "looked up: 1 packages, 0 known holes"),
        ([LOOKED_UP, SKIPPED], advisories.UNCHECKED, "not looked up: 1 (b…)"),
        ([None], advisories.UNCHECKED, "all of 0"),
        ([LOOKED_UP, WITH_HOLE], advisories.HOLES, "c 1: PYSEC-1 CVE-1; repaired in 2"),
        ([SKIPPED, WITH_HOLE], advisories.HOLES, "not looked up"),
    ],
)
def test_what_was_not_looked_up_is_no_good_news(reports: list[Any], status: int, said: str) -> None:
    ended, lines = advisories.verdict({str(number): one for number, one in enumerate(reports)})
    assert ended == status
    assert said in "\n".join(lines)


def test_a_tool_that_is_not_there_has_looked_nothing_up(tmp_path: Path) -> None:
    assert advisories.ask(tmp_path / "pip-audit", "build.txt", "pypi") is None


# --- the code itself -----------------------------------------------------------------------------

IGNORED_WITH_REASON: Final = {"S101", "S105", "S106", "S107", "S404", "S603", "S607"}


def test_the_security_rules_are_on_everywhere_but_in_tests() -> None:
    ruff = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]
    lint = ruff["lint"]
    assert "S" in lint["select"]
    assert {rule for rule in lint["ignore"] if rule.startswith("S")} - {"SIM"} == (
        IGNORED_WITH_REASON
    )
    for pattern, rules in lint["per-file-ignores"].items():
        assert pattern == "tests/**" or not {rule for rule in rules if re.match(r"S\d|S$", rule)}


EXCEPTIONS: Final = {
    "S104": "an address that is compared, not listened on",
    "S310": "an address of the settings, checked to be http or https",
    "S311": "numbers that have to differ or to repeat, and are no secrets",
    "S506": "a loader that makes texts, lists and mappings alone",
    "S606": "a list of words, no shell",
    "S608": "names and conditions of our own; what others say goes in as a parameter",
}
"""Security rules that single lines are excepted from, and the one reason that there may be."""


def test_single_exceptions_from_the_security_rules_are_of_few_kinds() -> None:
    excepted = {
        rule
        for folder in ("streams", "schemas", "bench")
        for path in files(".py", folder)
        for rule in re.findall(r"noqa: (?:[A-Z0-9]+, )*(S\d{3})", path.read_text(encoding="utf-8"))
    }
    assert excepted <= EXCEPTIONS.keys()
    assert excepted
