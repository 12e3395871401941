"""`python -m streams` and the console command `tollgate`: parses nothing, delegates to the cli."""

import sys

from streams.cli.main import run


def main() -> None:
    """Run the command line of this process and exit with its code."""
    sys.exit(run())


if __name__ == "__main__":
    main()
