"""Restricted analysts of the embedded ClickHouse: who they are, and whose rows they may read.

Kept in the home directory, readable by its user alone; the server gets them when it starts."""

import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from streams.embedded.home import PASSWORD_BYTES, Home, write_private
from streams.errors import SetupError
from streams.invoicing.readers import CUSTOMERS_MAX

# The name is an element of XML and an identifier of SQL.
NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")

# Users that the server has anyway.
TAKEN = frozenset({"admin", "analyst", "default"})


@dataclass(frozen=True, slots=True)
class RestrictedAnalyst:
    """A user that reads the rows of some customers and no others."""

    name: str
    password: str = field(repr=False)
    customers: tuple[str, ...]


def load_analysts(home: Home) -> list[RestrictedAnalyst]:
    """The restricted analysts of a home, by name. Raises `SetupError` for a file that is none."""
    try:
        stored = json.loads(home.analysts_file.read_text("utf-8"))
        return [
            RestrictedAnalyst(str(one["name"]), str(one["password"]), tuple(one["customers"]))
            for one in stored
        ]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SetupError(
            f"{home.analysts_file} cannot be read: {error!r}",
            action="Restore the file, or delete it and add the analysts again.",
        ) from error


def add_analyst(home: Home, name: str, customers: Sequence[str]) -> RestrictedAnalyst:
    """Adds one with a new password, or gives one that is there other customers.

    Raises `SetupError` for a name or a number of customers that cannot be.
    """
    if not NAME.fullmatch(name) or name in TAKEN:
        raise SetupError(
            f"an analyst cannot be called {name!r}",
            action="Choose another name: small letters, digits and _, a letter first; not "
            + ", ".join(sorted(TAKEN))
            + ".",
        )
    if not 1 <= len(customers) <= CUSTOMERS_MAX:
        raise SetupError(
            f"{name} would have {len(customers)} customers",
            action=f"Name 1 to {CUSTOMERS_MAX} with --customer. Who may read everything uses the "
            "user analyst.",
        )
    known = {one.name: one for one in load_analysts(home)}
    password = known[name].password if name in known else secrets.token_urlsafe(PASSWORD_BYTES)
    known[name] = RestrictedAnalyst(name, password, tuple(dict.fromkeys(customers)))
    _store(home, known)
    return known[name]


def remove_analyst(home: Home, name: str) -> None:
    """Takes one away. Raises `SetupError` where there is none of this name."""
    known = {one.name: one for one in load_analysts(home)}
    if known.pop(name, None) is None:
        raise SetupError(
            f"there is no restricted analyst {name!r}", action="Look at `tollgate analyst list`."
        )
    _store(home, known)


def _store(home: Home, known: dict[str, RestrictedAnalyst]) -> None:
    found = [asdict(known[name]) for name in sorted(known)]
    home.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(home.analysts_file, json.dumps(found, indent=2) + "\n")
