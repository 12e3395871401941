"""What endpoints work with: one frozen object, made by the composition root or a test."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from streams.gateway.asking import Asking
from streams.gateway.paid_catalogue import Catalogue
from streams.gateway.ports import Directory, Entries
from streams.metrics import Metrics

DECISION_SECONDS: Final = 3.0
"""Within which a preflight, a release or a lookup is answered: a planned hand-over of a partition
(about a second) is waited out; AgentBill's client gives up after 5 s."""

RECORD_SECONDS: Final = 3.0
"""Within which a record is answered from its committed entry; after that it is accepted and not
yet decided."""


@dataclass(frozen=True, slots=True)
class Services:
    """The gateway's surroundings, as endpoints see them.

    `new_id` makes an id for what a client left without one; `now_us` is wall time, for edges such
    as a header with an age. `not_ready` says what is missing before requests can be served, '' for
    nothing. `upgrade_url` is what AgentBill's clients are shown with a refusal of
    the seller's plan.
    """

    asking: Asking
    directory: Directory
    new_id: Callable[[], str]
    now_us: Callable[[], int]
    metrics: Metrics
    not_ready: Callable[[], str]
    decision_seconds: float = DECISION_SECONDS
    record_seconds: float = RECORD_SECONDS
    upgrade_url: str = ""
    entries: Entries | None = None
    catalogue: Catalogue | None = None
