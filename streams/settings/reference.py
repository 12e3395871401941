"""The table of all settings as a reader of the documentation sees it, made from the fields."""

from typing import Final, get_args

import annotated_types
from pydantic.fields import FieldInfo

from streams.settings.fields import Settings, environment_name, flag_name, is_secret

_HEAD: Final = """# Settings

Made by `tollgate config reference` (`make docs`) from `streams/settings/fields.py`; a test compares
the two.

A flag of the command line counts before the environment, the environment before the environment
file, the file before the default. The environment file is the one given by `--env-file` or
`TOLLGATE_ENV_FILE`, else `tollgate.env` in the home directory if it exists: lines of `NAME=value`,
blank lines and lines that begin with `#` are passed over, nothing is expanded. A `TOLLGATE_` name
that is not in this table is refused, and all faults are reported together.

`tollgate config check` reads everything and connects to nothing; `tollgate config show` prints
what is in force, without secrets.

| setting | default | allowed | meaning |
|---|---|---|---|
"""


def reference_markdown() -> str:
    """Return docs/settings.md, a function of the fields alone."""
    rows = [_row(field, info) for field, info in Settings.model_fields.items()]
    return _HEAD + "\n".join(rows) + "\n"


def _row(field: str, info: FieldInfo) -> str:
    name = environment_name(field)
    how = "no flag" if is_secret(field) else flag_name(field)
    default = "not given" if info.default is None else f"`{info.default}`"
    return f"| `{name}`<br>`{how}` | {default} | {_allowed(info)} | {info.description} |"


def _allowed(info: FieldInfo) -> str:
    """Say in words what a field takes: its bounds, its choices, its pattern or its kind."""
    low: object = None
    high: object = None
    longest: object = None
    pattern: str | None = None
    for bound in info.metadata:
        if isinstance(bound, annotated_types.Ge):
            low = bound.ge
        elif isinstance(bound, annotated_types.Le):
            high = bound.le
        elif isinstance(bound, annotated_types.MaxLen):
            longest = bound.max_length
        pattern = getattr(bound, "pattern", None) or pattern
    if low is not None and high is not None:
        return f"{low} … {high}"
    choices = [str(choice) for choice in get_args(info.annotation) if isinstance(choice, str)]
    if choices:
        return ", ".join(choices)
    if pattern:
        pattern = pattern.replace("|", "\\|")
        return f"`{pattern}`" + (f", {longest} characters" if longest else "")
    if longest:
        return f"text, {longest} characters"
    return "see meaning"
