"""Options that commands share, and how a command gets its settings out of them."""

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import click

from streams.settings import (
    Reading,
    Settings,
    environment_name,
    flag_name,
    is_secret,
    load_settings,
    read_settings,
)

P = ParamSpec("P")
R = TypeVar("R")
Given = TypeVar("Given")


def with_settings(
    *fields: str,
) -> Callable[[Callable[Concatenate[Settings, P], R]], Callable[P, R]]:
    """Give a command its `Settings` as first argument, and the options that choose them.

    Every such command has `--home` and `--env-file`, and a flag for each of `fields` (names of
    fields of `Settings`). Flags count before the environment. They are plain text for click:
    the settings judge them together with all other sources, so that all faults are reported
    at once.
    """
    return _with(load_settings, fields)


def with_reading(command: Callable[Concatenate[Reading, P], R]) -> Callable[P, R]:
    """Give a command what was read, faults included, and a flag for every setting but secrets."""
    fields = [field for field in Settings.model_fields if field != "home" and not is_secret(field)]
    return _with(read_settings, fields)(command)


def _with(
    load: Callable[..., Given], fields: Sequence[str]
) -> Callable[[Callable[Concatenate[Given, P], R]], Callable[P, R]]:
    own_fields = ("home", *fields)

    def decorate(command: Callable[Concatenate[Given, P], R]) -> Callable[P, R]:
        @wraps(command)
        def with_loaded(*args: P.args, **kwargs: P.kwargs) -> R:
            flags = {field: kwargs.pop(field, None) for field in own_fields}
            env_file = kwargs.pop("env_file", None)
            path = Path(env_file).expanduser() if isinstance(env_file, str) else None
            return command(load(flags, env_file=path), *args, **kwargs)

        decorated: Callable[P, R] = with_loaded
        decorated = click.option(
            "--env-file",
            metavar="FILE",
            help="File of NAME=value lines. [env: TOLLGATE_ENV_FILE]",
        )(decorated)
        for field in reversed(own_fields):
            decorated = _option(field)(decorated)
        return decorated

    return decorate


def _option(field: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Build the flag of a field: its help is the field's description, default and variable."""
    if is_secret(field):
        # Every user of the machine can read the arguments of a process.
        raise ValueError(f"{field} is a secret and must not become a flag")
    info = Settings.model_fields[field]
    default = "" if info.default is None else f" [default: {info.default}]"
    return click.option(
        flag_name(field),
        field,
        metavar="VALUE",
        help=f"{info.description}{default} [env: {environment_name(field)}]",
    )
