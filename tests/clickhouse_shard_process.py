"""An embedded ClickHouse that may connect to others; its argument is its directory.

The shipped one is confined and refuses outgoing connections, which shards of a cluster need.
"""

import os
import sys
from pathlib import Path

from streams.embedded.clickhouse_server import HOLDING_QUERY, engine_file, load_engine


def main() -> None:
    """Serve until killed."""
    folder = Path(sys.argv[1]).resolve()
    library = engine_file()
    assert library is not None, "chdb-core is not installed"
    os.umask(0o077)
    engine = load_engine(library)
    os.chdir(folder / "conf")  # The engine reads ./config.xml.
    engine.query(HOLDING_QUERY, "TabSeparated", path=str(folder / "data"))


if __name__ == "__main__":
    main()
