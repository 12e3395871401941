"""What is true of the repository as a whole: no foreign addresses, one version, honest packages."""

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import pytest

from streams import shipped
from tests.guard.repository import ROOT, files, label

# Joined from parts, so that this file does not contain what it looks for.
FOREIGN: Final = re.compile(
    "|".join(
        [
            r"/(?:root|home|Users)/[a-z]",
            r"(?<![\w.])/(?:work|tmp/w)/",
            "py" + r"pi\.org",
            "files.python" + "hosted",
            "repo1?" + r"\.maven",
            "/mav" + "en2",
            r"/sim" + "ple/",
            r"(?:--|PIP_)(?:extra-)?index" + r"[-_]url\b\s*=?\s*\S*http",
            "find" + r"-links\s*=?\s*/",
        ]
    )
)
"""Paths of one machine and hosts of package indexes: whoever builds chooses their own."""

OUTSIDE_PYDANTIC: Final = (
    "schemas.codec",
    "schemas.rpc",
    "schemas.structs",
    "schemas.twins",
    "schemas.client.kafka_sender",
)
"""Modules of schemas for the hot path, and for producers that have a Kafka client."""


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_no_file_names_a_machine_or_an_index() -> None:
    found = []
    for path in files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{label(path)}: {match.group()}" for match in FOREIGN.finditer(text)]
    assert not found


@pytest.mark.parametrize(
    "text",
    [
        "/ho" + "me/ada/x",
        "/wo" + "rk/main",
        "https://py" + "pi.org/",
        "https://x/sim" + "ple/click",
    ],
)
def test_a_planted_address_is_found(text: str) -> None:
    assert FOREIGN.search(text)


def test_one_version_everywhere() -> None:
    version = project()["project"]["version"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## \[(\d[^\]]*)\]", changelog, re.MULTILINE)
    assert released[0] == version, "the newest entry of CHANGELOG.md"
    assert shipped.version() == version


def test_the_installed_package_has_the_version_of_the_checkout() -> None:
    try:
        installed = metadata.version("tollgate")
    except metadata.PackageNotFoundError:
        # Not installed at all: then there is nothing that could differ.
        return
    assert installed == project()["project"]["version"], "install again: make check"


def test_every_pinned_requirement_has_a_hash_and_no_file_names_an_index() -> None:
    for path in files(".txt", "requirements"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"^\s*--(?!hash=sha256:)", text, re.MULTILINE), label(path)
        pins = re.findall(r"^[a-z0-9][\w.-]*==\S+.*\\$", text, re.MULTILINE)
        assert pins, f"{label(path)} pins nothing"
        names = re.findall(r"^[A-Za-z0-9][^#\n]*$", text, re.MULTILINE)
        assert len(names) == len(pins), f"{label(path)} holds a name without version or hash"


def test_the_requirement_files_agree_on_every_version() -> None:
    versions: dict[str, set[str]] = {}
    for path in files(".txt", "requirements"):
        for name, version in re.findall(
            r"^([a-z0-9][\w.-]*)==(\S+)", path.read_text(encoding="utf-8"), re.MULTILINE
        ):
            versions.setdefault(name, set()).add(version)
    assert not {name: found for name, found in versions.items() if len(found) > 1}


def test_every_declared_dependency_is_pinned() -> None:
    declared = {
        "base.txt": project()["project"]["dependencies"],
        "embedded.txt": project()["project"]["optional-dependencies"]["embedded"],
        "dev.txt": project()["project"]["optional-dependencies"]["dev"],
    }
    for name, requirements in declared.items():
        pinned = (ROOT / "requirements" / name).read_text(encoding="utf-8")
        for requirement in requirements:
            package = re.match(r"[\w.-]+", requirement)
            assert package, requirement
            assert re.search(rf"^{re.escape(package.group().lower())}==", pinned, re.MULTILINE), (
                f"{requirement} is not in requirements/{name}: make lock"
            )


def test_a_producer_can_import_the_schemas_with_pydantic_alone() -> None:
    modules = [
        label(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for path in files(".py", "schemas")
    ]
    wanted = [module for module in modules if module not in OUTSIDE_PYDANTIC]
    outcome = _import_bare(wanted)
    assert outcome.returncode == 0, outcome.stderr
    assert len(wanted) > 5


@pytest.mark.parametrize("module", OUTSIDE_PYDANTIC)
def test_the_bare_environment_is_bare(module: str) -> None:
    outcome = _import_bare([module])
    assert outcome.returncode != 0
    assert "not in a bare environment" in outcome.stderr


def _import_bare(modules: list[str]) -> subprocess.CompletedProcess[str]:
    """Import modules in a process that finds only the standard library, Pydantic and schemas."""
    program = Path(__file__).with_name("bare.py")
    return subprocess.run(
        [sys.executable, str(program), str(ROOT), *modules],
        capture_output=True,
        text=True,
        timeout=60,
    )
