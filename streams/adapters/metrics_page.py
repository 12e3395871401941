"""A process's page of metrics, read for one figure: how many holds are open."""

import asyncio
import re
from collections.abc import Iterable
from typing import Final

from streams.adapters.frames import split_address
from streams.errors import SetupError

PAGE_SECONDS_MAX: Final = 2.0
"""Until a page is here; it is made in milliseconds."""

PAGE_BYTES_MAX: Final = 2 * 1024 * 1024
"""Of a page: a few thousand series."""

HOLDS_OPEN: Final = re.compile(rb"^tollgate_holds_open (\S+)\s*$", re.MULTILINE)


async def open_holds(addresses: Iterable[str]) -> tuple[int | None, dict[str, str]]:
    """The open holds of all workers whose `host:port` of metrics is given, None where none of them
    told, and why those did not that were not reached."""
    known = list(addresses)
    pages = await asyncio.gather(*map(_page, known))
    total: int | None = None
    faults = {}
    for address, page in zip(known, pages, strict=True):
        if isinstance(page, str):
            faults[address] = page
        elif (found := HOLDS_OPEN.search(page)) is not None:
            total = (total or 0) + int(float(found[1]))
    return total, faults


async def _page(address: str) -> bytes | str:
    """The page, or why there is none."""
    try:
        host, port = split_address(address)
        async with asyncio.timeout(PAGE_SECONDS_MAX):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                lines = ("GET /metrics HTTP/1.1", f"Host: {address}", "Connection: close", "", "")
                writer.write("\r\n".join(lines).encode())
                page = await _whole(reader)
            finally:
                writer.close()
    except TimeoutError:
        return "no answer in time"
    except (OSError, ValueError, SetupError) as error:
        return f"{type(error).__name__}: {error}"
    status = page.split(b"\r\n", 1)[0].split(b" ")
    if len(status) < 2 or status[1] != b"200":
        return f"it answered {b' '.join(status[:3])[:80]!r}"
    return page


async def _whole(reader: asyncio.StreamReader) -> bytes:
    page = b""
    while len(page) < PAGE_BYTES_MAX and (more := await reader.read(65_536)):
        page += more
    return page
