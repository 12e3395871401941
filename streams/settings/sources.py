"""Where settings come from: flags, environment, file, defaults, and every fault in one error."""

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from streams import limits
from streams.errors import SetupError
from streams.settings.fields import (
    DEFAULT_HOME,
    ENV_PREFIX,
    Settings,
    environment_name,
    expanded,
    flag_name,
    is_secret,
)

ENV_FILE_NAME: Final = f"{ENV_PREFIX}ENV_FILE"
HOME_ENV_FILE: Final = "tollgate.env"
"""The environment file that is read if it exists in the home directory and no other was named."""


def load_settings(
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    env_file: Path | None = None,
) -> Settings:
    """Read all sources and return the settings they amount to.

    A flag counts before the environment, the environment before the file, the file before the
    default. The file is `env_file`, else the one that TOLLGATE_ENV_FILE names, else `tollgate.env`
    in the home directory if there is one.

    Args:
        flags: field name to value, as the command line gave it; None means not given.
        environment: defaults to that of this process; names without the prefix are ignored.
        env_file: the file named by `--env-file`; it has to exist.

    Raises:
        SetupError: with every fault of every source in one message.
    """
    given, faults = _gather(
        flags or {}, os.environ if environment is None else environment, env_file
    )
    settings: Settings | None = None
    try:
        settings = Settings(**{field: item.value for field, item in given.items()})
    except ValidationError as error:
        faults += _explain(error, given)
    if settings is not None:
        faults += _clashing_ports(settings)
    if faults or settings is None:
        listed = "\n".join(f"  - {fault}" for fault in faults)
        raise SetupError(
            f"the settings cannot be used:\n{listed}",
            action="Correct what is listed; docs/settings.md has every name and its bounds.",
        )
    return settings


@dataclass(frozen=True, slots=True)
class _Given:
    """A value as somebody wrote it, and where."""

    value: Any
    origin: str


def _gather(
    flags: Mapping[str, Any], environment: Mapping[str, str], env_file: Path | None
) -> tuple[dict[str, _Given], list[str]]:
    """Merge the sources, the strongest last, and collect what is wrong with their names."""
    from_flags = {
        field: _Given(value, f"flag {flag_name(field)}")
        for field, value in flags.items()
        if value is not None
    }
    ours = {name: text for name, text in environment.items() if name.startswith(ENV_PREFIX)}
    named_file = ours.pop(ENV_FILE_NAME, "")
    from_environment, faults = _named(ours.items(), "environment")

    path = env_file or (expanded(Path(named_file)) if named_file else None)
    in_home = path is None
    if path is None:
        above = {**from_environment, **from_flags}.get("home")
        path = (
            expanded(Path(above.value if above and above.value else DEFAULT_HOME)) / HOME_ENV_FILE
        )
    from_file: dict[str, _Given] = {}
    if not in_home or path.is_file():
        from_file, file_faults = _read_env_file(path)
        faults += file_faults
        if in_home and "home" in from_file:
            faults.append(f"{environment_name('home')} ({path}): the file lies in the home itself")
    return {**from_file, **from_environment, **from_flags}, faults


def _named(pairs: Iterable[tuple[str, str]], origin: str) -> tuple[dict[str, _Given], list[str]]:
    """Turn variables into fields; a name that no field has is a fault."""
    fields = {environment_name(field): field for field in Settings.model_fields}
    given: dict[str, _Given] = {}
    faults: list[str] = []
    for name, text in pairs:
        if name in fields:
            given[fields[name]] = _Given(text, origin)
            continue
        # Without the prefix, which would make every name look alike.
        near = difflib.get_close_matches(
            name.removeprefix(ENV_PREFIX).lower(), Settings.model_fields, n=1
        )
        hint = f"; did you mean {environment_name(near[0])}?" if near else ""
        faults.append(f"{name} ({origin}): there is no such setting{hint}")
    return given, faults


def _read_env_file(path: Path) -> tuple[dict[str, _Given], list[str]]:
    """Read `NAME=value` lines; blank lines and lines that begin with # are passed over.

    A value goes to the end of its line, without surrounding white space; one pair of quotes
    around it is taken off. Nothing is expanded.
    """
    try:
        with path.open("rb") as file:
            content = file.read(limits.ENV_FILE_BYTES_MAX + 1)
        if len(content) > limits.ENV_FILE_BYTES_MAX:
            return {}, [f"{path}: larger than {limits.ENV_FILE_BYTES_MAX} bytes"]
        lines = content.decode("utf-8").splitlines()
    except OSError as error:
        return {}, [f"{path}: cannot be read ({error.strerror})"]
    except UnicodeDecodeError:
        return {}, [f"{path}: is not UTF-8 text"]

    pairs: dict[str, str] = {}
    faults: list[str] = []
    for number, raw_line in enumerate(lines, start=1):
        line = raw_line.strip()
        if not line or line.startswith("#"):
            continue
        name, equals, text = (part.strip() for part in line.partition("="))
        if not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            # The line itself is not repeated: it may hold a password.
            faults.append(f"{path}, line {number}: is not NAME=value")
        elif name in pairs:
            faults.append(f"{path}, line {number}: {name} is given twice")
        elif len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
            pairs[name] = text[1:-1]
        else:
            pairs[name] = text
    given, unknown = _named(pairs.items(), str(path))
    return given, faults + unknown


def _explain(error: ValidationError, given: Mapping[str, _Given]) -> list[str]:
    """Say for each refused value where it was given, what it is and what is wrong with it."""
    faults = []
    for detail in error.errors(include_url=False, include_input=False):
        field = str(detail["loc"][0])
        item = given.get(field)
        label = environment_name(field)
        if item is not None:
            shown = "" if is_secret(field) else f", got {_without_password(str(item.value))!r}"
            label = f"{label} ({item.origin}{shown})"
        reason = detail["msg"].removeprefix("Value error, ")
        faults.append(f"{label}: {reason[:1].lower()}{reason[1:]}")
    return faults


def _without_password(text: str) -> str:
    """Cover user and password of an address, which are refused there but may have been given."""
    return re.sub(r"//[^/]*@", "//***@", text)


def _clashing_ports(settings: Settings) -> list[str]:
    """Name two settings that want the same port of this machine."""
    wanted: list[tuple[str, int]] = []
    if settings.embedded_kafka:
        wanted += [("kafka_port", settings.kafka_port)]
        wanted += [("kafka_controller_port", settings.kafka_controller_port)]
    if settings.embedded_clickhouse:
        wanted += [("clickhouse_http_port", settings.clickhouse_http_port)]
        wanted += [("clickhouse_tcp_port", settings.clickhouse_tcp_port)]
    wanted += [("worker_web_port", settings.worker_web_port)]
    faults: list[str] = []
    owners: dict[int, str] = {}
    for field, port in wanted:
        if port == 0:
            continue
        if port in owners:
            first, second = environment_name(owners[port]), environment_name(field)
            faults.append(f"{second}: port {port} is already taken by {first}")
        owners.setdefault(port, field)
    return faults
