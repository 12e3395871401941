"""The catalog of a simulated installation: rules and prices that come in several versions."""

from typing import Any, Final

import msgspec

from streams.domain.context import CatalogView
from tests.builders import book, catalog_record
from tests.property.logs import FUTURE_US, GRANTS_MAX, HORIZON_DAYS, LATENESS_DAYS, PLAN, prices
from tests.simulation.nameless import WAIT_SECONDS_MAX
from tests.simulation.traces import TRACE_RULES

PARTITIONS: Final = 2
DEARER_FROM: Final = 4
"""From this catalog offset on, model `small` costs twice."""
LIMITS: Final = {
    "horizon_days": HORIZON_DAYS,
    "lateness_days": LATENESS_DAYS,
    "future_seconds": FUTURE_US // 1_000_000,
    "grants_max": GRANTS_MAX,
    **TRACE_RULES,
    "unassigned_seconds": WAIT_SECONDS_MAX,
}


def catalog_views() -> list[CatalogView]:
    """`views[n]` is the catalog after n records: rules and prices come in several versions."""
    cheap = prices()
    models = [
        book(small={"input": "6", "output": "30", "cache_read": "0.6"}).providers[0].models[0],
        *(model for model in cheap.providers[0].models if model.id != "small"),
    ]
    dearer = _with(cheap, version="2", providers=[_with(cheap.providers[0], models=models)])
    found = [CatalogView()]
    plan = [dict(zip(("denomination", "amount", "priority"), one, strict=True)) for one in PLAN]
    first: list[Any] = [
        catalog_record("generation", generation=1, partitions=PARTITIONS, topic_ids={}),
        catalog_record("rules", default_plan=plan, **LIMITS),
        prices(),
        dearer,
        *(catalog_record("rules", version=f"{n}", default_plan=plan, **LIMITS) for n in (2, 3)),
    ]
    for length in range(1, len(first) + 1):
        view = CatalogView()
        for offset, record in enumerate(first[:length]):
            view.fold(offset, record)
        if length > 2:
            view.context()
        found.append(view)
    return found


def _with(struct: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(struct, **changes)


VIEWS: Final = catalog_views()
