"""Documents that are made from code: what makes them, and `make docs`, which writes them.

Each is a function of the code alone, so the guard can compare it with what is in docs/.
"""

import ast
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from streams.metrics.reference import metrics_markdown
from streams.settings.reference import reference_markdown
from streams.status.report import Report
from tests.guard.otlp_reference import otlp_emitters_markdown
from tests.guard.repository import ROOT, label, tree

LIMIT_FILES: Final = (
    ROOT / "schemas/limits.py",
    ROOT / "streams/limits.py",
    ROOT / "streams/gateway/otlp/limits.py",
)

_LIMITS_HEAD: Final = """# Limits

Made by `make docs` from the files named below; a test compares them. Every bound has its reason,
and relations between bounds are checked when the module is imported.
"""


def limits(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield name, value as written and reason ('' if it has none) of each constant of a file."""
    body = tree(path).body
    for position, node in enumerate(body):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                pass
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                pass
            case _:
                continue
        if not name.isupper():
            continue
        match body[position + 1 : position + 2]:
            case [ast.Expr(value=ast.Constant(value=str() as reason))]:
                yield name, ast.unparse(value), " ".join(reason.split())
            case _:
                yield name, ast.unparse(value), ""


def limits_markdown() -> str:
    """Return docs/limits.md."""
    parts = [_LIMITS_HEAD]
    for path in LIMIT_FILES:
        parts.append(f"\n## `{label(path)}`\n\n| bound | value | reason |\n|---|---|---|\n")
        for name, value, reason in limits(path):
            cells = reason.replace("|", "\\|")
            parts.append(f"| `{name}` | `{value}` | {cells} |\n")
    return "".join(parts)


def status_schema() -> str:
    """Return docs/status.schema.json: the form of `tollgate status --json`."""
    return json.dumps(Report.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


DOCUMENTS: Final[dict[str, Callable[[], str]]] = {
    "docs/limits.md": limits_markdown,
    "docs/metrics.md": metrics_markdown,
    "docs/otlp-emitters.md": otlp_emitters_markdown,
    "docs/settings.md": reference_markdown,
    "docs/status.schema.json": status_schema,
}


def main() -> None:
    """Write every document that is not current, and say which."""
    for name, make in DOCUMENTS.items():
        path = ROOT / name
        text = make()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"written: {name}", file=sys.stderr)


if __name__ == "__main__":
    main()
