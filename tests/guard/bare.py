"""Imports the modules named on the command line as a producer would who has only Pydantic.

Run as a program: the first argument is the checkout, the others are modules. Everything outside of
the standard library, Pydantic with what it needs, and `schemas` is refused.
"""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

ALLOWED = {
    "annotated_types",
    "pydantic",
    "pydantic_core",
    "schemas",
    "typing_extensions",
    "typing_inspection",
}


class OnlyAllowed(MetaPathFinder):
    """Refuses what a bare environment does not have, and finds nothing itself."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Raise for a foreign module; None passes the question on to the usual finders."""
        top = fullname.partition(".")[0]
        known = top in ALLOWED or top in sys.stdlib_module_names
        # The build configuration of the interpreter lies in a module named after the platform.
        if not known and not top.startswith("_sysconfigdata"):
            raise ModuleNotFoundError(f"{fullname} is not in a bare environment", name=fullname)
        return None


if __name__ == "__main__":
    sys.path[0] = sys.argv[1]
    sys.meta_path.insert(0, OnlyAllowed())
    for name in sys.argv[2:]:
        importlib.import_module(name)
