"""When keys were last used, in one small file for each gateway.

A file and not a topic: it is a remark for whoever looks for keys that nobody needs any more, no
fact. Losing it costs nothing, and a record for every use would cost a write for every request. A
list of keys shows the latest time among the files of its home.
"""

import contextlib
import json
import logging
import os
import re
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

FILE_BYTES_MAX: Final = 4 * 1024 * 1024
"""A file has some 40 bytes a key; anything larger is another file."""

_ENDING: Final = ".json"


class KeyUseFile:
    """The file of one gateway. `name` tells the gateways of a home apart, such as the address that
    it listens on; what is no letter or digit in it becomes `-`."""

    def __init__(self, directory: Path, name: str) -> None:
        self._path = directory / (re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.") + _ENDING)
        self._earlier = _read(self._path)

    def write(self, used_at_us: dict[str, int]) -> None:
        """Replaces the file by the latest times: these, and those of earlier lives of the gateway.

        A file that cannot be written is said in the log and costs nothing else.
        """
        times = _latest(self._earlier, used_at_us)
        text = json.dumps(times, sort_keys=True)
        fresh = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as to:
                to.write(text)
            fresh.replace(self._path)
        except OSError as error:
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
            log.warning("last uses of API keys are not written: %s", error)


def read_key_uses(directory: Path) -> dict[str, int]:
    """The last use of each key, by id, over all gateways of a home; empty where there is none."""
    times: dict[str, int] = {}
    for path in sorted(directory.glob(f"*{_ENDING}")):
        times = _latest(times, _read(path))
    return times


def _latest(first: dict[str, int], second: dict[str, int]) -> dict[str, int]:
    return first | {name: max(at, first.get(name, 0)) for name, at in second.items()}


def _read(path: Path) -> dict[str, int]:
    """What a file says. One that is damaged says nothing: it is written anew with the next uses."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ValueError(f"larger than {FILE_BYTES_MAX} bytes")
        found = json.loads(path.read_text("utf-8"))
        if not isinstance(found, dict):
            raise TypeError("not an object")
        return {str(name): at for name, at in found.items() if type(at) is int and at >= 0}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as error:
        log.warning("%s does not say when API keys were used: %s", path, error)
        return {}
