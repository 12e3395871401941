"""The files of a bill that its receiver can check: bundle, verifier, a note on how to use them.

The verifier is a zip that Python runs. It holds the very modules that `tollgate invoice verify`
runs (streams.domain.invoices and the two of schemas that they use), so it cannot judge differently.
Its bytes are a function of those modules alone: no time, no path, no compression, whose output
depends on a library's version.
"""

import importlib
import io
import zipfile
from pathlib import Path
from typing import Final

VERIFIER: Final = "verify.pyz"
BUNDLE: Final = "bill.json"
NOTE: Final = "README.txt"
DOCUMENT: Final = "document.json"

PACKAGE: Final = "streams.domain.invoices"
"""All modules of this package travel."""

ALONE: Final = (
    "schemas",
    "schemas.limits",
    "schemas.money",
    "streams",
    "streams.domain",
)
"""Modules that travel because the package imports them or lies in them."""

_MAIN: Final = f'''"""Checks a bill: `python {VERIFIER} {BUNDLE}`."""

import sys

from streams.domain.invoices.verify import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
'''

_EARLIEST: Final = (1980, 1, 1, 0, 0, 0)
"""The first moment that a zip can name: the files' own times would differ on every machine."""

_READABLE: Final = 0o100644 << 16
"""A plain file that everybody may read, as a zip writes it."""


def verifier_bytes() -> bytes:
    """The verifier: the same bytes wherever the same Tollgate is installed."""
    members = {"__main__.py": _MAIN.encode()} | _sources()
    target = io.BytesIO()
    target.write(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name, _EARLIEST)
            entry.create_system = 3
            entry.external_attr = _READABLE
            archive.writestr(entry, members[name])
    return target.getvalue()


def _sources() -> dict[str, bytes]:
    """The modules' sources by their place in the archive, lines ended by LF on every system."""
    found = {}
    for module in ALONE:
        path = _file(module)
        found[_place(module, path)] = _source(path)
    directory = _file(PACKAGE).parent
    for path in sorted(directory.glob("*.py")):
        found[f"{PACKAGE.replace('.', '/')}/{path.name}"] = _source(path)
    return found


def _file(module: str) -> Path:
    origin = importlib.import_module(module).__file__
    if origin is None:
        raise FileNotFoundError(f"the source of {module} is not part of this installation")
    return Path(origin)


def _place(module: str, path: Path) -> str:
    base = module.replace(".", "/")
    return f"{base}/__init__.py" if path.name == "__init__.py" else f"{base}.py"


def _source(path: Path) -> bytes:
    return path.read_bytes().replace(b"\r\n", b"\n")


def note_text(number: str, digest: str) -> str:
    """What stands beside the bundle for whoever has never seen one."""
    return f"""Bill {number}

{BUNDLE} holds everything that this bill follows from: the recorded entries, the rate cards, what
was billed before, and the document itself. {VERIFIER} computes the bill again from it. It needs
Python 3.11 or newer and nothing else, reads this one file, writes nothing and uses no network:

    python {VERIFIER} {BUNDLE}

It prints every line and the totals, and ends with the digest. Exit code 0 says that all of it is as
billed, 1 that something differs; then it says what. The digest on the bill that you were sent must
be the same:

    {digest}

Any tool that computes SHA-256 finds it in {DOCUMENT}, the bill's canonical text.

What it cannot tell you is whether the entries are what you used: compare them with your own records
of it.
"""
