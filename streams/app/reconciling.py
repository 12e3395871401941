"""A provider's export compared with the ledger: the file, the mapping, the names, the warehouse."""

from contextlib import closing
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from streams import shipped
from streams.adapters.price_source import price_book
from streams.app.warehouse import clickhouse
from streams.domain.prices import PriceIndex, index_prices
from streams.errors import SetupError
from streams.invoicing.reconciling.booked import Booked, read_booked
from streams.invoicing.reconciling.comparing import Reconciliation, Tolerance, compare, totals
from streams.invoicing.reconciling.exports import Export, Key, read_export
from streams.invoicing.reconciling.mapping import ALL_MODELS, Mapping, read_mapping
from streams.settings import Settings


@dataclass(frozen=True, slots=True)
class Names:
    """Names of models on both sides, made one by the matching of a price book."""

    mapping: Mapping
    prices: PriceIndex

    def exported(self, model: str) -> str:
        """A model of the export: the one of the book that it means, else its own name."""
        return self._family(self.mapping.providers[0], model)

    def booked(self, provider: str, model: str) -> str | None:
        """A model of the ledger, None where it is of a provider that is not compared."""
        home = self.prices.home_of(provider or None, model)
        if not {provider.lower(), home} & set(map(str.lower, self.mapping.providers)):
            return None
        if self.mapping.model is None:
            return ALL_MODELS
        return self._family(provider or home or "", model) if self.mapping.model.family else model

    def _family(self, provider: str, model: str) -> str:
        found = self.prices.find(provider or None, model)
        return model if found is None else found.reference.partition("/")[2]


def find_mapping(name: str) -> Mapping:
    """A mapping by the path of its file, or the name of one that is shipped. Raises SetupError."""
    path = Path(name)
    if path.suffix or path.parent != Path():
        return read_mapping(path)
    shelf = shipped.reconcile_mappings()
    found = shelf / f"{name}.yaml"
    if not found.is_file():
        known = ", ".join(sorted(one.stem for one in shelf.glob("*.yaml")))
        raise SetupError(
            f"there is no mapping {name!r}; there are: {known}",
            action="Name one of them, or a file of your own that ends in .yaml or .json.",
        )
    return read_mapping(found)


def reconcile(
    settings: Settings,
    path: Path,
    mapping: Mapping,
    *,
    first: date | None = None,
    end: date | None = None,
    zone: str | None = None,
    tolerance: str | None = None,
) -> Reconciliation:
    """Compares an export with the ledger over the days [first, end), those of the export where
    they are not given. Names of models are matched by the installed price book.

    Raises SetupError for a file, zone or amount that cannot be used.
    """
    names = Names(mapping, index_prices(price_book()))
    where, allowed = _chosen(mapping, zone, tolerance)
    export = _read(path, mapping, names, where, first, end)
    days = export.days()
    first = first or (days[0] if days else None)
    end = end or (days[1] + timedelta(days=1) if days else None)
    ledger: dict[Key, Booked] = {}
    if first is not None and end is not None:
        with closing(clickhouse(settings, analyst=True)) as warehouse:
            ledger = read_booked(warehouse, first, end, where.key, names.booked)
    return Reconciliation(
        first,
        end,
        where.key,
        allowed,
        export,
        len(export.cells.keys() | ledger),
        compare(export.cells, ledger, allowed),
        totals(export.cells, ledger),
    )


def _chosen(
    mapping: Mapping, zone: str | None, tolerance: str | None
) -> tuple[ZoneInfo, Tolerance]:
    try:
        where = ZoneInfo(zone or mapping.zone)
        rounded_to = mapping.amount.rounded_to
        return where, Tolerance.of(tolerance or mapping.tolerance, rounded_to)
    except (OSError, KeyError, ValueError) as fault:
        raise SetupError(
            f"not a time zone or tolerance: {fault}",
            action="Give a zone such as Europe/Berlin, and an amount such as 0.01.",
        ) from fault


def _read(
    path: Path,
    mapping: Mapping,
    names: Names,
    zone: ZoneInfo,
    first: date | None,
    end: date | None,
) -> Export:
    try:
        # A byte that is not UTF-8 makes its row a bad one, not the file.
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as lines:
            return read_export(lines, mapping, names.exported, zone, first, end)
    except OSError as fault:
        raise SetupError(
            f"cannot read the export: {fault}", action="Name the CSV file of the provider."
        ) from fault
