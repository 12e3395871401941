"""The table of all settings as a reader of the documentation sees it, made from the fields."""

from typing import Final

from pydantic.fields import FieldInfo

from streams.settings.allowed import allowed
from streams.settings.fields import Settings, environment_name, flag_name, is_secret
from streams.settings.given import FILE_SUFFIX

_HEAD: Final = """# Settings

Made by `tollgate config reference` (`make docs`) from `streams/settings/fields.py`; a test compares
the two.

A flag of the command line counts before the environment, the environment before the environment
file, the file before the default. The environment file is the one given by `--env-file` or
`TOLLGATE_ENV_FILE`, else `tollgate.env` in the home directory if it exists: lines of `NAME=value`,
blank lines and lines that begin with `#` are passed over, nothing is expanded. A `TOLLGATE_` name
that is not in this table is refused, and all faults are reported together.

A secret has no flag, because every user of a machine can read the arguments of a process. Its value
may stand in a file of its own instead, which the name with `_FILE` gives:
`TOLLGATE_CLICKHOUSE_PASSWORD_FILE=/run/secrets/clickhouse`. One line end at the end of the file is
not part of the secret. Both forms in one source are a fault; otherwise the stronger source counts.

`tollgate config check` reads everything and connects to nothing; `tollgate config show` prints
what is in force and where it was given, without secrets. [Configuration](configuration.md) says how
to keep secrets, and how to change certificates.

| setting | default | allowed | meaning |
|---|---|---|---|
"""


def reference_markdown() -> str:
    """Return docs/settings.md, a function of the fields alone."""
    rows = [_row(field, info) for field, info in Settings.model_fields.items()]
    return _HEAD + "\n".join(rows) + "\n"


def _row(field: str, info: FieldInfo) -> str:
    name = environment_name(field)
    how = name + FILE_SUFFIX if is_secret(field) else flag_name(field)
    default = "not given" if info.default is None else f"`{info.default}`"
    bounds = allowed(info) or "see meaning"
    return f"| `{name}`<br>`{how}` | {default} | {bounds} | {info.description} |"
