"""Where settings come from: flags, environment, file, defaults, and every fault in one error."""

import difflib
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from streams.errors import SetupError
from streams.settings.allowed import allowed
from streams.settings.fields import (
    DEFAULT_HOME,
    ENV_PREFIX,
    Settings,
    environment_name,
    expanded,
    flag_name,
    is_secret,
)
from streams.settings.files import FileRefusedError, Line, open_to_all, read_env_file, read_secret
from streams.settings.given import (
    DEFAULT,
    FILE_SUFFIX,
    Fault,
    Given,
    Kind,
    Origin,
    without_password,
)
from streams.settings.together import faults_together

log = logging.getLogger(__name__)

ENV_FILE_NAME: Final = f"{ENV_PREFIX}ENV_FILE"
HOME_ENV_FILE: Final = "tollgate.env"
"""The environment file that is read if it exists in the home directory and no other was named."""

ACTION: Final = "Correct what is listed; docs/settings.md has every name and its bounds."


@dataclass(frozen=True, slots=True)
class Reading:
    """All sources read once: `settings` where there is no fault, else None; where each value came
    from, by field; all faults; and what is allowed and yet should be looked at."""

    settings: Settings | None
    origins: Mapping[str, Origin]
    faults: tuple[Fault, ...]
    warnings: tuple[Fault, ...]

    def in_force(self) -> Settings:
        """The settings. Raises SetupError with every fault of every source in one message."""
        if self.faults or self.settings is None:
            listed = "\n".join(f"  - {fault}" for fault in self.faults)
            raise SetupError(f"the settings cannot be used:\n{listed}", action=ACTION)
        return self.settings


def load_settings(
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    env_file: Path | None = None,
) -> Settings:
    """Read all sources and return the settings they amount to; logs a warning for each file with
    a secret that every user may read.

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
    reading = read_settings(flags, environment, env_file)
    settings = reading.in_force()
    for warning in reading.warnings:
        log.warning("%s", warning)
    return settings


def read_settings(
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    env_file: Path | None = None,
) -> Reading:
    """Read all sources as `load_settings` does, and return all that is to be said about them."""
    gathered = _gather(flags or {}, os.environ if environment is None else environment, env_file)
    given, faults, warnings = gathered.given, gathered.faults, gathered.warnings
    origins = {field: item.origin for field, item in given.items()}
    unknown = set(gathered.unknown)
    values = {field: item.value for field, item in given.items()}
    try:
        settings = Settings(**values)
    except ValidationError as error:
        refused = {str(detail["loc"][0]) for detail in error.errors()}
        faults += _explain(error, given)
        unknown |= refused
        # What the others are together is still to be said.
        settings = Settings(
            **{name: value for name, value in values.items() if name not in refused}
        )
    faults += [
        found.fault for found in faults_together(settings, origins) if not found.about & unknown
    ]
    every = {field: origins.get(field, DEFAULT) for field in Settings.model_fields}
    return Reading(None if faults else settings, every, tuple(faults), tuple(warnings))


@dataclass(slots=True)
class _Gathered:
    """What all sources say: by field, what is wrong, what should be looked at, and the fields of
    which somebody has said something that could not be read."""

    given: dict[str, Given]
    faults: list[Fault]
    warnings: list[Fault]
    unknown: set[str]


def _gather(
    flags: Mapping[str, Any], environment: Mapping[str, str], env_file: Path | None
) -> _Gathered:
    """Merge the sources, the strongest last."""
    from_flags = {
        field: Given(value, Origin("flag", f"flag {flag_name(field)}"), environment_name(field))
        for field, value in flags.items()
        if value is not None
    }
    ours = {name: text for name, text in environment.items() if name.startswith(ENV_PREFIX)}
    named_file = ours.pop(ENV_FILE_NAME, "")
    variables = [Line(name, text, "environment") for name, text in ours.items()]
    from_environment, faults = _named(variables, "environment")

    path = env_file or (expanded(Path(named_file)) if named_file else None)
    in_home = path is None
    if path is None:
        above = {**from_environment, **from_flags}.get("home")
        path = (
            expanded(Path(above.value if above and above.value else DEFAULT_HOME)) / HOME_ENV_FILE
        )
    from_file: dict[str, Given] = {}
    if not in_home or path.is_file():
        lines, file_faults = read_env_file(path)
        from_file, named_faults = _named(lines, "file")
        faults += file_faults + named_faults
        if in_home and "home" in from_file:
            faults.append(
                Fault(
                    environment_name("home"),
                    str(from_file["home"].origin),
                    "the file lies in the home itself",
                    "take the line out, or name the file with --env-file",
                )
            )
    merged = {**from_file, **from_environment, **from_flags}
    opened, secret_faults = _opened(merged)
    unknown = {field for field in merged if field not in opened}
    if any(fault.name == str(path) for fault in faults):
        # The file could not be read: anything may be in it.
        unknown = set(Settings.model_fields)
    return _Gathered(opened, faults + secret_faults, _open_files(path, from_file, merged), unknown)


def _named(lines: Iterable[Line], kind: Kind) -> tuple[dict[str, Given], list[Fault]]:
    """Turn variables into fields; a name that no field has is a fault, and so are a secret and its
    file in one source."""
    fields = {environment_name(field): field for field in Settings.model_fields}
    secrets = {name + FILE_SUFFIX: field for name, field in fields.items() if is_secret(field)}
    given: dict[str, Given] = {}
    faults: list[Fault] = []
    for line in lines:
        field = fields.get(line.name) or secrets.get(line.name)
        if field is None:
            faults.append(_unknown(line, [*fields, *secrets]))
            continue
        if field in given:
            faults.append(
                Fault(
                    line.name,
                    line.place,
                    f"the secret is also given as {given[field].name} ({given[field].origin})",
                    "keep one of the two",
                )
            )
        given[field] = Given(line.text, Origin(kind, line.place), line.name)
    return given, faults


def _unknown(line: Line, names: list[str]) -> Fault:
    """The fault of a name that does not exist, with the nearest that does."""
    plain = line.name.removesuffix(FILE_SUFFIX)
    if line.name.endswith(FILE_SUFFIX) and plain in names:
        return Fault(
            line.name,
            line.place,
            "there is no such setting: only secrets are read from files of their own",
            f"give {plain} itself",
        )
    # Without the prefix, which would make every name look alike.
    short = {name.removeprefix(ENV_PREFIX).lower(): name for name in names}
    near = difflib.get_close_matches(line.name.removeprefix(ENV_PREFIX).lower(), short, n=1)
    todo = f"did you mean {short[near[0]]}?" if near else "take it out"
    return Fault(line.name, line.place, "there is no such setting", todo)


def _opened(given: Mapping[str, Given]) -> tuple[dict[str, Given], list[Fault]]:
    """Put what the files of secrets hold in the place of their paths."""
    opened: dict[str, Given] = {}
    faults: list[Fault] = []
    for field, item in given.items():
        if not _is_file(field, item):
            opened[field] = item
            continue
        if not item.value:
            faults.append(Fault(item.name, str(item.origin), "is empty", "give the path of a file"))
            continue
        path = expanded(Path(item.value))
        try:
            secret = read_secret(path)
        except FileRefusedError as error:
            wrong = f"the file {path} {error.wrong}"
            faults.append(Fault(item.name, str(item.origin), wrong, error.todo))
            continue
        origin = Origin(item.origin.kind, item.origin.place, str(path))
        opened[field] = Given(secret, origin, item.name)
    return opened, faults


def _is_file(field: str, item: Given) -> bool:
    return is_secret(field) and item.name.endswith(FILE_SUFFIX)


def _open_files(
    env_file: Path, from_file: Mapping[str, Given], merged: Mapping[str, Given]
) -> list[Fault]:
    """Warnings for files with secrets that every user of the machine may read."""
    paths: dict[str, Path] = {}
    for field, item in merged.items():
        if _is_file(field, item) and item.value:
            paths[item.name] = expanded(Path(item.value))
    if any(is_secret(field) and not _is_file(field, item) for field, item in from_file.items()):
        paths["the environment file"] = env_file
    return [
        Fault(
            name,
            str(path),
            "every user of this machine may read the secret in it",
            f"run: chmod o-rwx {path} (where a container mounts it, set its mode there)",
        )
        for name, path in paths.items()
        if open_to_all(path)
    ]


def _explain(error: ValidationError, given: Mapping[str, Given]) -> list[Fault]:
    """Say for each refused value where it was given, what it is and what is wrong with it."""
    faults = []
    for detail in error.errors(include_url=False, include_input=False):
        field = str(detail["loc"][0])
        item = given.get(field)
        name, place = environment_name(field), str(DEFAULT)
        if item is not None:
            shown = "" if is_secret(field) else f", got {without_password(str(item.value))!r}"
            name, place = item.name, f"{item.origin}{shown}"
        reason = detail["msg"].removeprefix("Value error, ")
        # Some name what they refuse.
        wrong = without_password(reason[:1].lower() + reason[1:])
        bounds = allowed(Settings.model_fields[field])
        todo = f"allowed is {bounds}" if bounds else "docs/settings.md says what it may be"
        faults.append(Fault(name, place, wrong, todo))
    return faults
