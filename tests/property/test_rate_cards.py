"""Rate cards on their way from a file to the arithmetic: nothing is lost, changed, let through."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from schemas import codec
from schemas.catalog import Metric
from schemas.envelope import SCHEMA_VERSION
from schemas.rates import RateCardFile, catalog_fields, effective_time_us
from schemas.structs import RateCard
from streams.app.rate_files import read_rate_files
from streams.app.rates import plan_versions
from streams.domain.invoices.cards import Card, card_from
from streams.domain.rate_cards import RateShelf, card_faults

amounts = st.decimals(0, 10**9, places=6, allow_nan=False).map(lambda number: f"{number:f}")
names = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=12
)
titles = st.one_of(st.just(""), names)
maybe_name = st.one_of(st.none(), st.sampled_from(["a", "b"]))
ends = st.one_of(st.none(), st.integers(1, 50))


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A mapping with some of these fields."""
    return st.fixed_dictionaries({}, optional=fields)


loose_steps = st.fixed_dictionaries({"price": amounts}, optional={"up_to": ends, "flat": amounts})
loose_tiers = st.fixed_dictionaries(
    {
        "mode": st.sampled_from(["graduated", "volume"]),
        "steps": st.lists(loose_steps, min_size=1, max_size=3),
    }
)
loose_items = st.fixed_dictionaries(
    {"id": st.sampled_from("abcd"), "metric": st.sampled_from(get_args(Metric))},
    optional={
        "title": titles,
        "provider": maybe_name,
        "model": maybe_name,
        "agent": maybe_name,
        "signal": maybe_name,
        "group_by": st.sampled_from(["", "model", "agent", "signal"]),
        "price": amounts,
        "included": st.integers(0, 1),
        "tiers": loose_tiers,
        "markup_percent": amounts,
    },
)
"""Items whose fields are right each for itself, and mostly not together."""


@st.composite
def _tiers(draw: st.DrawFn) -> dict[str, Any]:
    bounds = sorted(draw(st.sets(st.integers(1, 10**9), max_size=4)))
    steps = [
        {"price": draw(amounts), **draw(some(flat=amounts)), **({"up_to": end} if end else {})}
        for end in [*bounds, None]
    ]
    return {"mode": draw(st.sampled_from(["graduated", "volume"])), "steps": steps}


@st.composite
def _items(draw: st.DrawFn) -> dict[str, Any]:
    metric = draw(st.sampled_from(get_args(Metric)))
    item: dict[str, Any] = {"metric": metric, **draw(some(title=titles, agent=names))}
    if metric == "signals":
        groups = ["", "agent", "signal"]
        item |= draw(some(signal=names, group_by=st.sampled_from(groups)))
    else:
        groups = ["", "model", "agent"]
        item |= draw(some(provider=names, model=names, group_by=st.sampled_from(groups)))
    if metric == "cost":
        return item | draw(some(markup_percent=amounts))
    item |= draw(some(per=st.integers(1, 10**9), included=st.integers(0, 10**12)))
    key, value = draw(st.one_of(st.tuples(st.just("price"), amounts), _tiers().map(_as_tiers)))
    return {**item, key: value}


def _as_tiers(tiers: dict[str, Any]) -> tuple[str, Any]:
    return "tiers", tiers


@st.composite
def right_cards(draw: st.DrawFn) -> dict[str, Any]:
    """Cards that a person could write."""
    parts: dict[str, list[dict[str, Any]]] = {
        "fees": draw(
            st.lists(
                st.fixed_dictionaries({"amount": amounts}, optional={"title": titles}), max_size=2
            )
        ),
        "items": draw(st.lists(_items(), max_size=4)),
        "discounts": [],
    }
    ids = [f"{draw(names)}{number}" for number in range(8)]
    for part in (*parts["fees"], *parts["items"]):
        part["id"] = ids.pop()
    item_ids = [item["id"] for item in parts["items"]]
    percents = draw(st.lists(st.integers(1, 50), max_size=2))
    for percent in percents:
        of = draw(st.lists(st.sampled_from(item_ids), unique=True)) if item_ids else []
        parts["discounts"].append({"id": ids.pop(), "percent": str(percent), "items": of})
    return {
        "kind": "rate_card",
        "id": draw(names),
        **draw(
            some(
                title=titles,
                currency=st.sampled_from(["USD", "EUR", "JPY"]),
                minimum=amounts,
                effective_from=st.sampled_from(["2026-01-31", "2026-03-01T12:00:00+01:00"]),
            )
        ),
        **{group: part for group, part in parts.items() if part},
    }


def expected(written: dict[str, Any]) -> dict[str, Any]:
    """What a written card means, worked out here once more: amounts in pico, defaults filled in."""

    def pico(text: str | None) -> int | None:
        return None if text is None else int(Decimal(text).scaleb(12))

    return {
        "id": written["id"],
        "version": "1",
        "title": written.get("title", ""),
        "currency": written.get("currency", "USD"),
        "effective_from_us": effective_time_us(written.get("effective_from", "1970-01-01")),
        "minimum_pico": pico(written.get("minimum")),
        "fees": [
            (fee["id"], fee.get("title", ""), pico(fee["amount"]))
            for fee in written.get("fees", [])
        ],
        "items": [
            (
                *(item.get(name, default) for name, default in _PLAIN.items()),
                pico(item.get("price")),
                pico(item.get("markup_percent", "0")),
                item["tiers"]["mode"] if "tiers" in item else "",
                [
                    (step.get("up_to"), pico(step["price"]), pico(step.get("flat", "0")))
                    for step in item.get("tiers", {}).get("steps", [])
                ],
            )
            for item in written.get("items", [])
        ],
        "discounts": [
            (one["id"], pico(one["percent"]), one.get("items", []))
            for one in written.get("discounts", [])
        ],
    }


_PLAIN: dict[str, Any] = {
    "id": "",
    "title": "",
    "metric": "",
    "provider": None,
    "model": None,
    "agent": None,
    "signal": None,
    "group_by": "",
    "per": 1,
    "included": 0,
}


def meant(card: Card) -> dict[str, Any]:
    """A card of the arithmetic in the same form."""
    return {
        "id": card.id,
        "version": card.version,
        "title": card.title,
        "currency": card.currency,
        "effective_from_us": card.effective_from_us,
        "minimum_pico": card.minimum_pico,
        "fees": [(fee.id, fee.title, fee.amount_pico) for fee in card.fees],
        "items": [
            (
                *(getattr(item, name) for name in _PLAIN),
                item.price_pico,
                item.markup_pico,
                item.tiers.mode if item.tiers else "",
                [
                    (step.up_to, step.price_pico, step.flat_pico)
                    for step in (item.tiers.steps if item.tiers else ())
                ],
            )
            for item in card.items
        ],
        "discounts": [(one.id, one.percent_pico, list(one.items)) for one in card.discounts],
    }


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cards")


@given(written=right_cards(), as_json=st.booleans())
def test_a_card_means_the_same_in_its_file_in_the_catalog_and_to_the_arithmetic(
    directory: Path, written: dict[str, Any], as_json: bool
) -> None:
    path = directory / ("card.json" if as_json else "card.yaml")
    text = json.dumps(written) if as_json else yaml.safe_dump(written, allow_unicode=True)
    path.write_text(text, encoding="utf-8")
    found = read_rate_files([str(path)])
    assert not found.faults
    shelf = RateShelf()
    (planned,) = plan_versions(shelf, found.documents, 0)
    record = codec.decode_catalog(codec.encode(planned.record))
    shelf.fold(0, record)
    assert meant(card_from(codec.to_plain(record))) == expected(written)
    (again,) = plan_versions(shelf, found.documents, 0)
    assert not again.is_new


FIELDS = (
    *("kind", "id", "title", "currency", "effective_from", "fees", "items", "discounts"),
    *("minimum", "amount", "metric", "provider", "group_by", "price", "per", "included", "tiers"),
    *("mode", "steps", "up_to", "flat", "percent", "markup_percent", "card", "nonsense"),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 10),
    st.sampled_from(["rate_card", "rate_plan", "calls", "cost", "0.1", "1e3", "", "graduated"]),
)
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5),
    ),
    max_leaves=25,
)


def _spoiled(item: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An item with something anywhere."""
    return st.builds(lambda name, value: {**item, name: value}, st.sampled_from(FIELDS), anything)


somehow_items = st.one_of(loose_items.flatmap(_spoiled), anything)


@given(
    written=st.one_of(
        anything,
        st.builds(
            lambda rest, items: {**rest, "kind": "rate_card", "id": "a", "items": items},
            st.dictionaries(st.sampled_from(FIELDS), anything, max_size=3),
            st.lists(somehow_items, max_size=3),
        ),
    )
)
def test_whatever_a_file_holds_each_of_its_documents_is_right_or_has_a_fault(
    directory: Path, written: Any
) -> None:
    path = directory / "any.yaml"
    path.write_text(yaml.safe_dump(written), encoding="utf-8")
    found = read_rate_files([str(path)])
    assert bool(found.documents) != bool(found.faults)
    lines = path.read_text("utf-8").splitlines()
    places = [(fault.line, fault.column, fault.path, fault.message) for fault in found.faults]
    assert len(set(places)) == len(places)
    assert all(fault.line <= len(lines) + 1 for fault in found.faults)


@given(
    items=st.lists(loose_items, max_size=3),
    discounts=st.lists(
        st.fixed_dictionaries(
            {"id": st.sampled_from("wxyz"), "percent": st.sampled_from(["0", "30", "70", "101"])},
            optional={"items": st.lists(st.sampled_from("abx"), max_size=2, unique=True)},
        ),
        max_size=3,
    ),
)
def test_a_card_has_a_fault_exactly_where_the_arithmetic_refuses_it(
    items: list[dict[str, Any]], discounts: list[dict[str, Any]]
) -> None:
    fields = {"kind": "rate_card", "id": "a", "items": items, "discounts": discounts}
    plain = RateCardFile.model_validate(fields).model_dump(exclude_none=True)
    record = codec.decode_catalog(codec.encode(catalog_fields(plain, "1", SCHEMA_VERSION)))
    assert isinstance(record, RateCard)
    found = [str(fault) for fault in card_faults(record)]
    refusal = _refusal(record)
    assert bool(found) == (refusal is not None), (found, refusal)


def _refusal(record: RateCard) -> str | None:
    try:
        card_from(codec.to_plain(record))
    except ValueError as fault:
        return str(fault)
    return None
