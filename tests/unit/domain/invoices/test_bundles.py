"""streams.domain.invoices.bundle, late and verify: what a bundle proves, and what it finds."""

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from schemas.times import parse_time_us
from streams.domain.invoices.bundle import (
    TOLD_MAX,
    Bundle,
    Case,
    bundle_from,
    compose,
    differences,
    recompute,
    spans,
)
from streams.domain.invoices.cards import card_from
from streams.domain.invoices.documents import digest, document_bytes, line_from
from streams.domain.invoices.verify import bill_from, bill_plain, main
from tests.invoiced import Books, Plain, card, item

OCTOBER, NOVEMBER = "2026-10-10T00:00:00Z", "2026-11-10T00:00:00Z"


def everything() -> Books:
    """Two months in which every part of a card and every kind of entry makes a line."""
    plain = card(
        title="Pro",
        fees=[{"id": "base", "title": "Platform", "amount": "20"}],
        items=[
            item(price="0.5", included=10, group_by="model", provider="p"),
            item(id="tokens", metric="tokens", price="3", per=1000),
            item(id="calls", metric="calls", price="0.1", agent="bot"),
            item(
                id="won",
                metric="signals",
                signal="won",
                tiers={"mode": "graduated", "steps": [{"up_to": 2, "price": "9"}, {"price": "8"}]},
            ),
            {"id": "ai", "metric": "cost", "markup_percent": "20"},
        ],
        discounts=[{"id": "off", "title": "Loyal", "percent": "10", "items": ["tokens"]}],
        minimum="500",
    )
    books = Books([plain])
    who = {"provider": "p", "model": "m", "agent_id": "bot"}
    for at in (OCTOBER, NOVEMBER):
        books.usage(at, **who, units=40, input_tokens=7000, cost="3", price_version="v1")
        books.usage(
            at, **who, units=2, output_tokens=500, cost="2", currency="EUR", cost_basis="unpriced"
        )
        books.add("adjustment", at, **who, cost="-1", was_unpriced=True, price_version="v2")
        books.signal(at, "won", quantity=4)
        books.add("void", at, signal_name="won", quantity=1)
    books.credit("1.50", "sorry", number="")
    books.close("2026-10")
    books.usage(OCTOBER, **who, units=60, input_tokens=100, cost="0.7", cost_basis="unpriced")
    books.credit("2.50", "again", number="acme-0001")
    books.close()
    return books


@pytest.fixture(scope="module")
def books() -> Books:
    return everything()


def changed(bundle: Bundle, where: str, number: int, fields: Plain) -> Bundle:
    """The bundle with fields of one of its entries changed."""
    plain = deepcopy(bundle.plain())
    entry = plain[where] if where == "close" else plain[where][number]
    entry.update(fields)
    return bundle_from(plain)


def test_a_bundle_that_was_not_touched_has_no_differences(books: Books) -> None:
    for number, bundle in books.bundles.items():
        assert differences(bundle, books.issued(number)) == []


MUTATIONS: list[tuple[str, int, Plain]] = [
    *[("entries", 0, {name: value}) for name, value in {
        "units": 41,
        "input_tokens": 7001,
        "cache_read_tokens": 1000,
        "cache_write_tokens": 1000,
        "output_tokens": 1000,
        "reasoning_tokens": 1000,
        "input_audio_tokens": 1000,
        "output_audio_tokens": 1000,
        "missing_tokens": 1000,
        "cost": "3.01",
        "currency": "EUR",
        "provider": "q",
        "model": "n",
        "agent_id": "human",
        "flags": ["outer_span"],
        "cost_basis": "unpriced",
        "price_version": "v3",
        "occurred_at": parse_time_us(NOVEMBER),
        "customer_id": "bolt",
        "sequence": 2,
        "generation": 2,
        "kind": "signal_of_nothing",
    }.items()],
    ("entries", 2, {"cost": "-1.01"}),
    ("entries", 2, {"was_unpriced": False}),
    ("entries", 2, {"price_version": "v1"}),
    ("entries", 3, {"quantity": 5}),
    ("entries", 3, {"signal_name": "lost"}),
    ("entries", 4, {"quantity": 2}),
    ("entries", 4, {"kind": "signal"}),
    ("credits", 0, {"amount": "1.49"}),
    ("credits", 0, {"currency": "EUR"}),
    ("credits", 0, {"reason": "none"}),
    ("credits", 0, {"number": "acme-0009"}),
    ("credits", 0, {"sequence": 99}),
    *[("close", 0, {name: value}) for name, value in {
        "label": "2026-11",
        "zone": "Europe/Berlin",
        "number": "acme-0002",
        "customer_id": "bolt",
        "period_from": parse_time_us(OCTOBER),
        "period_to": parse_time_us(NOVEMBER),
        "cut_sequence": 3,
        "after_sequence": 1,
        "after_generation": 1,
        "reissues": "acme-0000",
        "segments": [],
    }.items()],
    *[("cards", 0, {name: value}) for name, value in {
        "currency": "EUR",
        "fees": [{"id": "base", "title": "Platform", "amount": "20.01"}],
        "items": [],
        "discounts": [],
        "minimum": "501",
        "version": "2",
    }.items()],
]  # fmt: skip


@pytest.mark.parametrize(("where", "number", "fields"), MUTATIONS, ids=str)
def test_a_change_of_one_field_is_found(
    books: Books, where: str, number: int, fields: Plain
) -> None:
    bundle = changed(books.bundles["acme-0001"], where, number, fields)
    assert differences(bundle, books.issued("acme-0001"))


def _fields(plain: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(plain, dict | list):
        for key, value in plain.items() if isinstance(plain, dict) else enumerate(plain):
            yield from _fields(value, (*path, key))
    else:
        yield path


def test_a_change_of_any_field_of_what_was_issued_is_found(books: Books) -> None:
    issued = {
        name: value
        for name, value in books.issued("acme-0002").items()
        if name not in ("kind", "generation", "sequence", "occurred_at")
    }
    count = 0
    for path in _fields(issued):
        wrong: Any = deepcopy(issued)
        inner = wrong
        for step in path[:-1]:
            inner = inner[step]
        old = inner[path[-1]]
        inner[path[-1]] = old + 1 if isinstance(old, int) else f"{old}9"
        assert differences(books.bundles["acme-0002"], wrong), path
        count += 1
    assert count > 100


def test_lines_that_are_missing_or_too_many_are_told(books: Books) -> None:
    issued = dict(books.issued("acme-0001"))
    bundle = books.bundles["acme-0001"]
    short = differences(bundle, issued | {"lines": issued["lines"][:-1]})
    assert short == ["line 10: recomputed, not issued: sorry -1.5"]
    long = differences(bundle, issued | {"lines": [*issued["lines"], issued["lines"][0]]})
    assert long == ["line 11: issued, not recomputed: Platform 20"]
    many = issued | {"lines": issued["lines"] * 30}
    assert len(differences(bundle, many)) == TOLD_MAX


def test_defaults_that_an_entry_leaves_out_are_no_difference(books: Books) -> None:
    issued = deepcopy(dict(books.issued("acme-0001")))
    issued["lines"] = [
        {name: value for name, value in line.items() if value != ""} for line in issued["lines"]
    ]
    del issued["voids"]
    assert any("card" not in line for line in issued["lines"])
    assert differences(books.bundles["acme-0001"], issued) == []
    assert [line_from(line) for line in issued["lines"]] == list(books.documents["acme-0001"].lines)


def test_an_entry_that_stands_there_twice_is_told(books: Books) -> None:
    bundle = books.bundles["acme-0001"]
    doubled = replace(bundle, entries=(*bundle.entries, bundle.entries[0]))
    found = differences(doubled, books.issued("acme-0001"))
    assert found[0] == "entry (1, 1) stands there twice"
    assert len(found) > 1


def test_a_missing_card_is_named(books: Books) -> None:
    bundle = books.bundles["acme-0001"]
    without = replace(bundle, case=replace(bundle.case, cards=()))
    (found,) = differences(without, books.issued("acme-0001"))
    assert "rate card pro@1 is missing" in found


def test_a_card_that_was_read_already_says_the_same(books: Books) -> None:
    bundle = books.bundles["acme-0002"]
    parsed = replace(bundle.case, cards=tuple(card_from(one) for one in books.cards))
    assert digest(recompute(replace(bundle, case=parsed))) == digest(recompute(bundle))


def test_sums_of_other_spans_are_refused(books: Books) -> None:
    case = books.bundles["acme-0002"].case
    with pytest.raises(ValueError, match="the sums are not those of spans"):
        compose(case, [{}], None)


@pytest.mark.parametrize(
    "plain", [None, [], {}, {"format": "tollgate-bundle/2"}, {"format": "tollgate-bundle/1"}]
)
def test_what_is_no_bundle_is_refused(plain: object) -> None:
    with pytest.raises(ValueError, match="not a"):
        bundle_from(plain)


def test_the_bytes_of_a_document_are_canonical(books: Books) -> None:
    document = books.documents["acme-0001"]
    text = document_bytes(document).decode()
    plain = json.loads(text)
    assert text == json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert plain["format"] == "tollgate-invoice/1"
    assert (plain["period_from"], plain["period_to"]) == (
        "2026-10-01T00:00:00Z",
        "2026-11-01T00:00:00Z",
    )
    assert plain["price_versions"] == ["v1", "v2"]
    assert plain["notes"] == {"unpriced_calls": 0}
    assert plain["totals"] == [
        {"currency": "EUR", "amount": "2.4"},
        {"currency": "USD", "amount": "498.5"},
    ]


def test_the_digest_of_a_document_stays_what_it_is(books: Books) -> None:
    # A change of the format, of a name or of the arithmetic changes every issued document: this
    # digest is never to be replaced by another without a new format.
    assert digest(books.documents["acme-0001"]) == (
        "c106449f5863c98b548dbde6488df440dba4ab284f28e9edea57a7f4aa4db88e"
    )


# --- the bill -------------------------------------------------------------------------------


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Any], str]:
    def written(plain: Any) -> str:
        path = tmp_path / "bill.json"
        path.write_text(plain if isinstance(plain, str) else json.dumps(plain), encoding="utf-8")
        return str(path)

    return written


def test_a_bill_is_checked_from_its_file(
    books: Books, write: Callable[[Any], str], capsys: pytest.CaptureFixture[str]
) -> None:
    plain = bill_plain(books.bundles["acme-0002"], books.issued("acme-0002"))
    assert main([write(plain)]) == 0
    told = capsys.readouterr().out
    assert digest(books.documents["acme-0002"]) in told
    assert "acme-0002" in told
    bundle, issued = bill_from(json.loads(json.dumps(plain)))
    assert bundle == books.bundles["acme-0002"]
    assert issued == books.issued("acme-0002")


def test_a_bill_that_was_changed_is_different(
    books: Books, write: Callable[[Any], str], capsys: pytest.CaptureFixture[str]
) -> None:
    plain = deepcopy(bill_plain(books.bundles["acme-0001"], books.issued("acme-0001")))
    plain["entries"][0]["units"] += 1
    assert main([write(plain)]) == 1
    assert "DIFFERENT" in capsys.readouterr().out


@pytest.mark.parametrize("plain", ["", "[]", "{}", "[" * 100_000, '{"format": 1}'])
def test_what_is_no_bill_is_told_apart_from_a_wrong_one(
    plain: str, write: Callable[[Any], str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([write(plain)]) == 2
    assert "is not a bill" in capsys.readouterr().err


def test_a_bill_without_its_file_is_not_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["/no/such/bill.json"]) == 2
    assert main([]) == 2
    assert "usage" in capsys.readouterr().err


def test_a_case_needs_nothing_but_its_close() -> None:
    case = Case(close=Books([card()]).closing(Books().period("2026-10")))
    assert [(span.from_us < span.to_us) for span in spans(case, set())] == [True]
