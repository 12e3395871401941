"""The catalog of an installation that takes another one's place: prices, rate cards, plans and API
keys as they are there, and rules that grant nobody a plan until everybody has been carried over."""

from dataclasses import dataclass, field
from typing import Final

from schemas import codec
from schemas.structs import (
    ApiKey,
    CatalogRecord,
    PriceBook,
    PriceOverride,
    RateCard,
    RatePlan,
    Rules,
    replace,
)
from streams.app.carry.reading import Left
from streams.errors import SetupError

RULES_ID: Final = "carry-over"
"""The id of the rules that begin and end a carry-over."""

COPIED: Final = (PriceOverride, RateCard, RatePlan, ApiKey)
"""Whose every version is copied, in its order."""


@dataclass(slots=True)
class CatalogPlan:
    """What the new catalog lacks, in the order in which it is appended. `end` are the rules that
    come last of all, None once they are there: `ended`."""

    records: list[CatalogRecord] = field(default_factory=list)
    there: int = 0
    end: Rules | None = None
    ended: bool = False

    def counts(self) -> dict[str, int]:
        """How many records of each kind are to be appended."""
        found: dict[str, int] = {}
        for record in self.records:
            name = KIND_NAMES[type(record).__name__]
            found[name] = found.get(name, 0) + 1
        return found


KIND_NAMES: Final = {
    "PriceBook": "price books",
    "PriceOverride": "price overrides",
    "RateCard": "rate card versions",
    "RatePlan": "rate plan versions",
    "ApiKey": "API key versions",
    "Rules": "rules",
}
"""As a person reads them."""


def plan_catalog(left: Left, now: Left) -> CatalogPlan:
    """What of the old catalog the new one lacks. Raises SetupError where it says otherwise about
    the same version, or has a price book in force that no repeat could put back."""
    plan = CatalogPlan()
    held = {codec.catalog_key(record): record for record in now.catalog}
    begin, end = _rules(left)
    if codec.catalog_key(end) in held:
        # From there on the two installations go their own ways.
        plan.ended = True
        return plan
    plan.end = end
    books = [record for record in left.catalog if isinstance(record, PriceBook)]
    own = [record for record in now.catalog if isinstance(record, PriceBook)]
    wanted: list[CatalogRecord] = []
    if books and (not own or codec.catalog_key(own[-1]) != codec.catalog_key(books[-1])):
        if codec.catalog_key(books[-1]) in held:
            raise SetupError(
                f"price book {books[-1].id}@{books[-1].version} is in the new catalog, and another "
                "one after it",
                action="Make the new installation anew, and import no prices: they are copied.",
            )
        wanted.append(books[-1])
    wanted += [record for record in left.catalog if isinstance(record, COPIED)]
    # Who has spent a default plan in the old installation gets none anew: it is granted again
    # once everybody is known here.
    wanted.append(begin)
    for record in wanted:
        known = held.get(codec.catalog_key(record))
        if known is None:
            plan.records.append(record)
        elif known != record:
            raise SetupError(
                f"{codec.catalog_key(record).decode()} says something else in the new catalog",
                action="Make the new installation anew, and let the carry-over fill its catalog.",
            )
        else:
            plan.there += 1
    return plan


def _rules(left: Left) -> tuple[Rules, Rules]:
    """Those in force in the old installation, first without a default plan, then as they are."""
    last = next(record for record in reversed(left.catalog) if isinstance(record, Rules))
    end = replace(last, id=RULES_ID, version=f"{left.origin}:end")
    return replace(end, version=f"{left.origin}:begin", default_plan=[]), end
