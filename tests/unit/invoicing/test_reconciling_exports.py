"""Exports and mappings as they are read: exact amounts, days of zones, rows that cannot be read."""

from collections.abc import Iterable
from datetime import date
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from schemas.money import fraction_of
from streams.errors import SetupError
from streams.invoicing.reconciling import exports
from streams.invoicing.reconciling.exports import Export, Key, read_export
from streams.invoicing.reconciling.mapping import Mapping, day_of

UTC = ZoneInfo("UTC")
PLAIN: dict[str, Any] = {
    "format": "tollgate-reconcile/1",
    "providers": ["openai"],
    "day": {"column": "day"},
    "model": {"column": "model"},
    "amount": {"column": "cost"},
    "currency": {"value": "USD"},
}
FIRST, SECOND = date(2026, 10, 1), date(2026, 10, 2)


def mapping(**changes: Any) -> Mapping:
    return Mapping.model_validate(PLAIN | changes)


def read(text: str, into: Mapping | None = None, **more: Any) -> Export:
    return read_export(text.splitlines(True), into or mapping(), str, more.pop("zone", UTC), **more)


# --- amounts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.000004500000000000000000000000000000000", Fraction(45, 10**7)),
        ("0E-6176", Fraction(0)),
        ("1.5e-13", Fraction(15, 10**14)),
        ("2E3", Fraction(2000)),
        ("-0.25", Fraction(-1, 4)),
        ("+7", Fraction(7)),
        ("1.", Fraction(1)),
    ],
)
def test_an_amount_is_read_exactly_whatever_its_decimals(text: str, value: Fraction) -> None:
    assert fraction_of(text) == value


@pytest.mark.parametrize(
    "text", ["", "1,5", "$1", "1 ", "nan", "inf", "0x1", "1e12345", "1e26", "-1e26", "١", "1_0"]
)
def test_what_is_no_decimal_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a decimal number|out of range"):
        fraction_of(text)


def test_a_sum_of_many_amounts_is_exact() -> None:
    found = read("day,model,cost\n" + "2026-10-01,a,0.1\n" * 1000)
    assert found.cells[Key(FIRST, "a", "USD")].cost == 100
    assert found.cells[Key(FIRST, "a", "USD")].rows == 1000


def test_amounts_in_cents_are_read_as_such() -> None:
    found = read(
        "day,model,cost\n2026-10-01,a,123.45\n", mapping(amount={"column": "cost", "unit": "0.01"})
    )
    assert found.cells[Key(FIRST, "a", "USD")].cost == Fraction(12345, 10**4)


# --- rows ----------------------------------------------------------------------------------------


def test_a_bad_row_is_named_with_its_line_and_fault_and_the_others_count() -> None:
    found = read(
        "day,model,cost\n"
        "2026-10-01,a,1\n"
        "2026-13-01,a,1\n"
        "2026-10-01,a,much\n"
        "2026-10-01,a\n"
        "2026-10-01,,1\n"
        '2026-10-01,"a"b,1\n'
        "2026-10-01,\udcff,1\n"
        "\n"
        "2026-10-02,a,2\n"
    )
    assert [str(one) for one in found.bad] == [
        "line 3: day: not a day as date: '2026-13-01'",
        "line 4: cost: not a decimal number: 'much'",
        "line 5: 2 columns instead of 3",
        "line 6: model: empty, so no model is named",
        "line 7: ',' expected after '\"'",
        "line 8: model: not UTF-8: '\\udcff'",
    ]
    assert found.bad_count == 6
    assert {key.day: cell.cost for key, cell in found.cells.items()} == {FIRST: 1, SECOND: 2}
    assert found.rows == 8


def test_a_quote_that_never_ends_is_a_bad_row_over_its_lines() -> None:
    found = read('day,model,cost\n2026-10-01,a,1\n2026-10-01,"a,1\n2026-10-01,a,1\n')
    assert [str(one) for one in found.bad] == ["line 3-4: unexpected end of data"]
    assert found.cells[Key(FIRST, "a", "USD")].cost == 1


def test_a_text_over_several_lines_is_one_row() -> None:
    found = read('day,model,cost\n2026-10-01,"a\nb",1\n2026-10-01,c,x\n')
    assert Key(FIRST, "a\nb", "USD") in found.cells
    assert [one.line for one in found.bad] == [4]


def test_more_bad_rows_than_can_be_kept_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "BAD_ROWS_MAX", 2)
    found = read("day,model,cost\n" + "x,a,1\n" * 5)
    assert (len(found.bad), found.bad_count) == (2, 5)


def test_more_sums_than_can_be_held_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "CELLS_MAX", 2)
    with pytest.raises(SetupError, match="more than 2 days and models"):
        read("day,model,cost\n" + "".join(f"2026-10-01,m{n},1\n" for n in range(3)))


def test_rows_are_read_one_at_a_time() -> None:
    taken = 0

    def lines() -> Iterable[str]:
        nonlocal taken
        yield "day,model,cost\n"
        for taken in range(1, 1001):
            yield "bad,a,1\n" if taken == 10 else "2026-10-01,a,1\n"

    seen: list[int] = []

    def naming(model: str) -> str:
        seen.append(taken)
        return model

    found = read_export(lines(), mapping(), naming, UTC)
    assert seen == [1]
    assert (found.rows, found.bad[0].line) == (1000, 11)


def test_every_row_is_counted_somewhere() -> None:
    into = mapping(
        amount={"column": "cost", "empty": "skip"},
        filters=[{"column": "kind", "is": ["usage", "batch"], "not": ["batch"]}],
    )
    found = read(
        "day,model,cost,kind\n"
        "2026-10-01,a,1,usage\n"
        "2026-10-01,a,1,batch\n"
        "2026-10-01,a,1,tax\n"
        "2026-10-01,a,,usage\n"
        "2026-10-05,a,1,usage\n"
        "2026-09-30,a,1,usage\n"
        "2026-10-01,a,?,usage\n",
        into,
        first=FIRST,
        end=date(2026, 10, 5),
    )
    assert (found.filtered, found.skipped, found.outside, found.bad_count) == (2, 1, 2, 1)
    counted = sum(cell.rows for cell in found.cells.values())
    assert counted + 2 + 1 + 2 + 1 == found.rows == 7


def test_a_header_without_a_column_names_it_and_what_is_there() -> None:
    with pytest.raises(SetupError, match=r"no column cost, model; its first line names: day, what"):
        read("day,what\n")
    with pytest.raises(SetupError, match="its first line names: nothing"):
        read("")


def test_the_mark_of_a_spreadsheet_and_its_semicolons_are_read() -> None:
    found = read("\ufeffday;model;cost\n2026-10-01;a;1\n", mapping(delimiter=";"))
    assert Key(FIRST, "a", "USD") in found.cells


def test_a_currency_that_is_none_is_a_bad_row() -> None:
    found = read(
        "day,model,cost,in\n2026-10-01,a,1,eur\n2026-10-01,a,1,\n",
        mapping(currency={"column": "in"}),
    )
    assert list(found.cells) == [Key(FIRST, "a", "EUR")]
    assert "no currency code" in found.bad[0].fault


def test_counts_are_added_up_by_class_and_a_count_that_is_none_is_bad() -> None:
    into = mapping(tokens={"input": ["plain", "written"], "output": ["out"]}, calls="calls")
    found = read(
        "day,model,cost,plain,written,out,calls\n"
        "2026-10-01,a,1,10,5,3.0,2\n"
        "2026-10-01,a,1,1,,1,1\n"
        "2026-10-01,a,1,1.5,0,0,1\n",
        into,
    )
    cell = found.cells[Key(FIRST, "a", "USD")]
    assert (cell.tokens, cell.calls) == ({"input": 16, "output": 4}, 3)
    assert str(found.bad[0]) == "line 4: plain: not a whole number: '1.5'"


# --- days ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "form", "zone", "day"),
    [
        ("2026-10-01", "date", "America/New_York", date(2026, 10, 1)),
        ("1790812800", "unix_seconds", "UTC", date(2026, 10, 1)),
        ("1790812800", "unix_seconds", "America/New_York", date(2026, 9, 30)),
        ("2026-10-01T03:00:00Z", "rfc3339", "America/New_York", date(2026, 9, 30)),
        ("2026-10-01T03:00:00+00:00", "rfc3339", "UTC", date(2026, 10, 1)),
        ("31.10.2026", "%d.%m.%Y", "Asia/Tokyo", date(2026, 10, 31)),
        ("2026-10-01 23:00 +0000", "%Y-%m-%d %H:%M %z", "Asia/Tokyo", date(2026, 10, 2)),
    ],
)
def test_a_time_becomes_a_day_of_the_zone_and_a_day_stays_one(
    text: str, form: str, zone: str, day: date
) -> None:
    assert day_of(text, form, ZoneInfo(zone)) == day
