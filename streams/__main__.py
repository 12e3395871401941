"""`python -m streams` and the console command `tollgate`: parses nothing, delegates to the cli."""

import sys
import traceback
from typing import Final

from streams.cli.main import run

EXIT_BUG: Final = 70
"""EX_SOFTWARE, as a worker after a fault: a script must not take a bug of ours for an answer."""


def main() -> None:
    """Run the command line of this process and exit with its code; 70 with a traceback for a
    bug."""
    try:
        code = run()
    except Exception:  # noqa: BLE001 - nobody above could do anything with it
        traceback.print_exc()
        code = EXIT_BUG
    sys.exit(code)


if __name__ == "__main__":
    main()
