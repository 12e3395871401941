"""Owner records, version 1: which process answers for a partition. Topic `owners`, one partition,
compacted, keyed by the partition's number; written by owners, followed by gateways.

A hint and no more: it says where to ask. Who decides is said by the leases on `preflights` alone,
so a record that is old or wrong costs a question in vain and never a decision.
"""

from typing import Annotated

from pydantic import Field

from schemas.envelope import Name, Offset, Record, TimeUs
from schemas.preflight import Nonce


class Owner(Record):
    """A process took a partition and has appended its lease.

    Of two records for a partition the one with the later generation holds, then the one with the
    larger lease: announcements of two owners may arrive in either order.
    """

    partition: Annotated[int, Field(ge=0)]
    generation: Annotated[int, Field(ge=1)]
    """Of the topics."""
    address: Name
    """`host:port` under which it answers asks."""
    lease: Offset
    """The offset of its lease on `preflights`."""
    nonce: Nonce
    """Of that lease."""
    since: TimeUs
    """When it took the partition."""
