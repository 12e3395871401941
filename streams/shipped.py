"""Where the files that travel with the code are, and which version this is.

Knows the two ways in which Tollgate runs: from a checkout (also an editable install), where the
migrations lie in `deploy/`, and from an installed wheel, which carries a copy inside the package
(`[tool.hatch.build.targets.wheel.force-include]` in pyproject.toml). Reads nothing but its own
files; who needs their content opens them.
"""

import tomllib
from importlib import metadata
from pathlib import Path

from streams.errors import SetupError

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent


def clickhouse_migrations() -> Path:
    """Return the directory of the numbered ClickHouse migrations (`NNNN_name.sql`).

    Raises:
        SetupError: the installation does not contain them.
    """
    return _deployed("clickhouse", "the ClickHouse migrations are")


def reconcile_mappings() -> Path:
    """Return the directory of the mappings of providers' cost exports (`NAME.yaml`).

    Raises:
        SetupError: the installation does not contain them.
    """
    return _deployed("reconcile", "the mappings of cost exports are")


def _deployed(name: str, what: str) -> Path:
    for candidate in (_PACKAGE / "_deploy" / name, _CHECKOUT / "deploy" / name):
        if candidate.is_dir():
            return candidate
    raise SetupError(
        f"{what} not part of this installation",
        action="Install the wheel of Tollgate, or run from a complete checkout.",
    )


def version() -> str:
    """Return Tollgate's version: that of pyproject.toml in a checkout, of the package otherwise."""
    project_file = _CHECKOUT / "pyproject.toml"
    if project_file.is_file():
        project = tomllib.loads(project_file.read_text(encoding="utf-8")).get("project", {})
        # Some packages drop their own pyproject.toml beside ours; the name tells them apart.
        if project.get("name") == "tollgate":
            return str(project["version"])
    return metadata.version("tollgate")
