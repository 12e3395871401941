"""Looks for the open holds of a partition while its owner answers already.

Every row has to be looked at for them, which takes a second per million, and only expiries need
them. So an owner does it in the background: a little at a time, and one partition after the other.
"""

import asyncio
from contextlib import closing
from typing import Final

from streams.agents.expiries import Expiries
from streams.agents.lease import Tables
from streams.agents.rows import rows_with_holds

SLICE_SECONDS: Final = 0.001
"""How long rows are looked at in one piece: an answer that comes in between waits that much."""

REST_SECONDS: Final = 0.004
"""Between two pieces: four fifths of the loop belong to answers and cycles. A million rows are
through in some five seconds; a hold whose time is over by then expires so much later."""


async def load_expiries(
    expiries: Expiries, tables: Tables, partition: int, one_at_a_time: asyncio.Lock
) -> None:
    """Loads all open holds of a partition. `expiries` is told of every cycle that commits from the
    call on, in the step in which the rows of that cycle are written; the order does not matter.

    Owners of one process share the lock. Raises what reading the table raises.
    """
    loop = asyncio.get_running_loop()
    async with one_at_a_time:
        # Closed whatever happens: a scan keeps the table in use, and its next owner waits for it.
        with closing(rows_with_holds(tables, partition)) as found:
            until = loop.time() + SLICE_SECONDS
            for account in found:
                if account is not None:
                    expiries.load(account)
                elif loop.time() >= until:
                    await asyncio.sleep(REST_SECONDS)
                    until = loop.time() + SLICE_SECONDS
        expiries.loaded()
