"""What a release is made of, as CycloneDX JSON: `make sbom` writes dist/sbom.json.

Read from what is locked and from nothing else: requirements/*.txt (each version with the SHA-256 of
every file that it was published with) and the embedded broker's jars. The same lock files give the
same bytes, so there is no time of making in it.
"""

import json
import re
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from streams.embedded.jars import Jar, read_pins
from streams.shipped import version
from tests.guard.repository import ROOT

SCOPES: Final = (("base.txt", "required"), ("embedded.txt", "optional"), ("dev.txt", "excluded"))
"""Lock files from the innermost outwards, each containing those before it, and what CycloneDX calls
what a file adds: production, one machine, and what only checks the project."""

NAMESPACE: Final = uuid.UUID("6f0b7d5e-6a0e-5a0b-9f5b-7d7c1f0a3c11")
"""Of the serial numbers, which follow from the content."""

_PIN: Final = re.compile(r"(?P<name>[a-z0-9][\w.-]*)==(?P<version>[^\s;]+)(?: ; (?P<marker>.+))?")
_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(slots=True)
class Pin:
    """One locked version. `needed_by` are names; `hashes` those of all files of it."""

    name: str
    version: str
    marker: str = ""
    hashes: list[str] = field(default_factory=list)
    needed_by: list[str] = field(default_factory=list)

    @property
    def purl(self) -> str:
        """The package's address in the form that every scanner knows."""
        return f"pkg:pypi/{self.name}@{self.version}"


def read_lock(text: str) -> list[Pin]:
    """The pins of a lock file as uv writes it. Raises ValueError for a line that is none."""
    pins: list[Pin] = []
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip().removesuffix("\\").strip()
        if not stripped or line.startswith("#"):
            continue
        if not line[0].isspace():
            found = _PIN.fullmatch(stripped)
            if found is None:
                raise ValueError(f"line {number} is no pinned version: {stripped}")
            pins.append(Pin(found["name"], found["version"], found["marker"] or ""))
        elif one := _HASH.fullmatch(stripped):
            pins[-1].hashes.append(one[1])
        elif stripped.startswith("# via "):
            names = stripped.removeprefix("# via ").split(", ")
            pins[-1].needed_by += [name for name in names if re.fullmatch(r"[a-z0-9][\w.-]*", name)]
        else:
            raise ValueError(f"line {number} is neither a hash nor a reason: {stripped}")
    for pin in pins:
        if not pin.hashes:
            raise ValueError(f"{pin.name} is pinned without a hash")
    return pins


def locked() -> Iterator[tuple[Pin, str]]:
    """Every pin with its scope: that of the innermost file that holds it."""
    seen: set[tuple[str, str]] = set()
    for name, scope in SCOPES:
        for pin in read_lock((ROOT / "requirements" / name).read_text(encoding="utf-8")):
            if (pin.name, pin.version) not in seen:
                seen.add((pin.name, pin.version))
                yield pin, scope


def bill() -> dict[str, Any]:
    """The document, in the order of its parts' addresses."""
    pins = list(locked())
    components = [_of_pin(pin, scope) for pin, scope in pins] + [
        _of_jar(jar) for jar in read_pins()
    ]
    components.sort(key=lambda one: str(one["bom-ref"]))
    ours = f"pkg:pypi/tollgate@{version()}"
    document: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": ours,
                "name": "tollgate",
                "version": version(),
                "purl": ours,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": components,
        "dependencies": _dependencies(ours, [pin for pin, _ in pins]),
    }
    content = json.dumps(document, sort_keys=True)
    return {**document, "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, content)}"}


def _of_pin(pin: Pin, scope: str) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": pin.purl,
        "name": pin.name,
        "version": pin.version,
        "scope": scope,
        "purl": pin.purl,
        # Of each file that this version was published with: pip takes whichever fits the machine.
        "hashes": [{"alg": "SHA-256", "content": one} for one in pin.hashes],
    }
    if pin.marker:
        component["properties"] = [{"name": "tollgate:marker", "value": pin.marker}]
    return component


def _of_jar(jar: Jar) -> dict[str, Any]:
    group, artifact, release = jar.coordinates.split(":")[:3]
    purl = f"pkg:maven/{group}/{artifact}@{release}"
    return {
        "type": "library",
        "bom-ref": purl,
        "group": group,
        "name": artifact,
        "version": release,
        "scope": "optional",
        "purl": purl,
        "hashes": [{"alg": "SHA-256", "content": jar.sha256}],
    }


def _dependencies(ours: str, pins: list[Pin]) -> list[dict[str, Any]]:
    refs: dict[str, list[str]] = {}
    for pin in pins:
        refs.setdefault(pin.name, []).append(pin.purl)
    needs: dict[str, set[str]] = {ours: set()}
    for pin in pins:
        known = [ref for name in pin.needed_by for ref in refs.get(name, [])]
        for ref in known or [ours]:
            needs.setdefault(ref, set()).add(pin.purl)
    return [{"ref": ref, "dependsOn": sorted(needs[ref])} for ref in sorted(needs)]


def main() -> None:
    """Write the document to the file that is named, and say what it holds."""
    target = Path(sys.argv[1])
    document = bill()
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(f"{target}: {len(document['components'])} components", file=sys.stderr)


if __name__ == "__main__":
    main()
