"""The overlays of deploy/kubernetes as kustomize renders them: kept in tests/golden/kubernetes,
with the digest of what they were made from, so that tests can judge them without kustomize.

`python -m tests.rendered KUSTOMIZE` renders them again with that program, `--check` compares.
"""

import argparse
import functools
import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[1]
SOURCES: Final = ROOT / "deploy/kubernetes"
KEPT: Final = ROOT / "tests/golden/kubernetes"
OVERLAYS: Final = ("large", "small")
RENDER_SECONDS: Final = 60.0
HEAD: Final = "# Made by `make kubernetes` from deploy/kubernetes, whose digest is {digest}\n"


def digest() -> str:
    """One over the names and contents of all that overlays are made from."""
    found = hashlib.sha256()
    for path in sorted(path for path in SOURCES.rglob("*") if path.is_file()):
        content = path.read_bytes()
        found.update(f"{path.relative_to(SOURCES)} {len(content)}\n".encode() + content)
    return found.hexdigest()


def kept(overlay: str) -> str:
    """The text that was rendered, with its head."""
    return (KEPT / f"{overlay}.yaml").read_text("utf-8")


@functools.cache
def resources(overlay: str) -> list[dict[str, Any]]:
    """The resources of an overlay."""
    return [one for one in yaml.safe_load_all(kept(overlay)) if one]


def render(kustomize: Path, overlay: str) -> str:
    """What kustomize makes of an overlay now."""
    done = subprocess.run(
        [kustomize, "build", SOURCES / "overlays" / overlay],
        capture_output=True,
        text=True,
        timeout=RENDER_SECONDS,
    )
    if done.returncode != 0 or done.stderr:
        raise SystemExit(f"{overlay} cannot be rendered: {done.stderr}")
    return HEAD.format(digest=digest()) + done.stdout


def main() -> int:
    """Renders, or compares."""
    parser = argparse.ArgumentParser(prog="python -m tests.rendered", description=__doc__)
    parser.add_argument("kustomize", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where they differ")
    given = parser.parse_args()
    differing = []
    for overlay in OVERLAYS:
        text = render(given.kustomize, overlay)
        if not given.check:
            KEPT.mkdir(exist_ok=True)
            (KEPT / f"{overlay}.yaml").write_text(text, encoding="utf-8")
        elif text != kept(overlay):
            differing.append(overlay)
    for overlay in differing:
        print(f"{overlay} is rendered differently now: make kubernetes", file=sys.stderr)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
