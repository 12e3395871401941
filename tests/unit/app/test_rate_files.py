"""Files of rate cards: every fault with the line and column that it stands on."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from schemas import rates
from streams.app.rate_files import FILE_BYTES_MAX, WHOLE_NUMBERS, FilesRead, read_rate_files
from streams.domain.rate_cards import path_text
from streams.errors import SetupError

CARD = """\
kind: rate_card
id: pro
title: Pro
currency: EUR
effective_from: 2026-11-01
fees:
  - id: base
    amount: 49
items:
  - id: calls
    metric: calls
    included: 1_000
    tiers:
      mode: graduated
      steps:
        - {up_to: 10000, price: 0.01}
        - {up_to: 100000, price: 0.005, flat: 5}
        - {price: 0.001}
  - id: ai
    metric: cost
    model: gpt-4
    markup_percent: 12.5
  - id: meetings
    metric: signals
    signal: meeting_booked
    group_by: agent
    price: 2.50
discounts:
  - id: loyal
    percent: 10
    items: [calls]
minimum: 100
"""

AMOUNT = (
    "an amount is a decimal such as 0.01: no sign, no exponent, at most 18 digits before the point "
    "and 12 after it"
)


def read(tmp_path: Path, text: str, name: str = "card.yaml") -> FilesRead:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_rate_files([str(path)])


def faults(tmp_path: Path, text: str, name: str = "card.yaml") -> list[str]:
    return [
        f"{fault.line}:{fault.column}: {fault.path}: {fault.message}"
        for fault in read(tmp_path, text, name).faults
    ]


def test_numbers_of_a_file_are_read_as_they_are_written_and_never_as_floats(tmp_path: Path) -> None:
    found = read(tmp_path, CARD)
    assert not found.faults
    (document,) = found.documents
    card: Any = document.model
    assert not document.doubts
    assert card.fees[0].amount == "49"
    assert card.items[0].included == 1000
    assert [step.price for step in card.items[0].tiers.steps] == ["0.01", "0.005", "0.001"]
    assert card.items[2].price == "2.50"
    assert card.minimum == "100"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("kind: rate_card\n", "", "1:1: : kind is missing: rate_card or rate_plan"),
        ("rate_card", "card", "1:7: kind: must be rate_card or rate_plan"),
        ("id: pro\n", "", "1:1: id: is missing"),
        ("title: Pro", "titel: Pro", "3:1: titel: there is no such field: did you mean title?"),
        (
            "title: Pro",
            "version: 3",
            (
                "3:1: version: there is no such field: there are title, currency, fees, items, "
                "discounts, minimum, kind, id, effective_from"
            ),
        ),
        (
            "EUR",
            "eur",
            "4:11: currency: a currency is three capital letters of ISO 4217, such as USD",
        ),
        (
            "2026-11-01",
            "1.11.2026",
            (
                "5:17: effective_from: a day such as 2026-11-01 (midnight UTC) or a time with a "
                "zone such as 2026-11-01T00:00:00+01:00"
            ),
        ),
        (
            "2026-11-01",
            "2026-11-31",
            "5:17: effective_from: no such day: '2026-11-31T00:00:00Z'",
        ),
        ("amount: 49", "amount: 4.9e1", f"8:13: fees[0].amount: {AMOUNT}"),
        ("amount: 49", "amount: -49", f"8:13: fees[0].amount: {AMOUNT}"),
        ("amount: 49", "amount: [49]", "8:5: fees[0].amount: must be a text or a number"),
        ("id: ai", "id: base", "19:9: items[1].id: 'base' is the id of fees[0]"),
        (
            "1_000",
            "a lot",
            "12:15: items[0].included: must be a whole number, without quotes",
        ),
        (
            "1_000",
            '"1000"',
            "12:15: items[0].included: must be a whole number, without quotes",
        ),
        (
            "graduated",
            "rising",
            "14:13: items[0].tiers.mode: must be 'graduated' or 'volume'",
        ),
        (
            "up_to: 100000,",
            "up_to: 10000,",
            "17:19: items[0].tiers.steps[1].up_to: must be above 10000, where the step begins",
        ),
        (
            "up_to: 100000, ",
            "",
            "17:11: items[0].tiers.steps[1]: only the last step may be without up_to",
        ),
        (
            "{price: 0.001}",
            "{up_to: 7000000, price: 0.001}",
            "18:19: items[0].tiers.steps[2].up_to: the last step has no end: leave it out",
        ),
        (
            "    included: 1_000\n",
            "    price: 3\n",
            "13:5: items[0].tiers: either a price or tiers, not both",
        ),
        ("    price: 2.50\n", "", "23:5: items[2]: metric signals needs a price or tiers"),
        (
            "markup_percent: 12.5",
            "price: 3",
            "22:12: items[1].price: metric cost is charged as it is: use markup_percent",
        ),
        ("markup_percent: 12.5", "per: 1000", "22:10: items[1].per: metric cost has none"),
        (
            "markup_percent: 12.5",
            "included: 5",
            "22:15: items[1].included: metric cost has none",
        ),
        (
            "price: 2.50",
            "markup_percent: 3\n    price: 1",
            "27:21: items[2].markup_percent: only metric cost has a markup",
        ),
        (
            "    model:",
            "    signal:",
            "21:13: items[1].signal: only metric signals counts signals",
        ),
        (
            "group_by: agent",
            "group_by: model",
            "26:15: items[2].group_by: a signal has no model",
        ),
        (
            "group_by: agent",
            "provider: openai",
            "26:15: items[2].provider: a signal has no provider",
        ),
        (
            "percent: 10\n",
            "percent: 0\n",
            "30:14: discounts[0].percent: must be above 0 and 100 at the most",
        ),
        ("[calls]", "[call]", "31:13: discounts[0].items[0]: the card has no item 'call'"),
        ("[calls]", "[calls, calls]", "31:20: discounts[0].items[1]: 'calls' is named twice"),
        (
            "minimum: 100\n",
            "  - {id: more, percent: 90.5}\n",
            (
                "32:25: discounts[1].percent: more than 100 percent is off item 'calls', with the "
                "discounts before it"
            ),
        ),
        ("title: Pro", "id: two", "3:1: : 'id' stands twice: first in line 2"),
        (
            "minimum: 100",
            "minimum: 'a",
            "33:1: : while scanning a quoted scalar, found unexpected end of stream",
        ),
        ("minimum: 100", "minimum: {}", "32:1: minimum: must be a text or a number"),
        ("minimum: 100", "? [a]\n: 3", "32:3: : a key must be a word"),
        ("id: base", "id: ''", "7:9: fees[0].id: must not be empty"),
    ],
)
def test_each_fault_is_told_once_and_where_it_stands(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert CARD.count(old) >= 1
    assert faults(tmp_path, CARD.replace(old, new, 1)) == [expected]


def test_all_faults_of_all_documents_and_files_are_told_at_once(tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text(
        CARD.replace("49", "-1").replace("gpt-4", "[]") + "---\nkind: rate_plan\nid: x\n"
    )
    two.write_text("- a\n")
    found = read_rate_files([str(one), str(two)])
    assert not found.documents
    assert [(Path(fault.file).name, fault.line, fault.path) for fault in found.faults] == [
        ("one.yaml", 8, "fees[0].amount"),
        ("one.yaml", 21, "items[1].model"),
        ("one.yaml", 34, "card"),
        ("two.yaml", 1, ""),
    ]


def test_a_wrong_value_hides_nothing_that_its_neighbours_say(tmp_path: Path) -> None:
    text = (
        CARD.replace("1_000", "some")
        .replace("up_to: 100000, price: 0.005", "up_to: 10000, price: -1")
        .replace("markup_percent: 12.5", "markup_percent: lots\n    per: 7")
        .replace("    price: 2.50\n", "    pric: 2.50\n")
        .replace("percent: 10\n    items: [calls]", "percent: ten\n    items: [call]")
    )
    assert [f"{fault.line} {fault.path}" for fault in read(tmp_path, text).faults] == [
        "12 items[0].included",
        "17 items[0].tiers.steps[1].up_to",
        "17 items[0].tiers.steps[1].price",
        "22 items[1].markup_percent",
        "23 items[1].per",
        "28 items[2].pric",
        "31 discounts[0].percent",
        "32 discounts[0].items[0]",
    ]


def test_a_file_without_a_document_says_so(tmp_path: Path) -> None:
    assert faults(tmp_path, "# nothing\n") == ["1:1: : there is nothing in the file"]
    assert faults(tmp_path, "") == ["1:1: : there is nothing in the file"]


def test_json_is_read_like_yaml_with_its_own_lines(tmp_path: Path) -> None:
    text = '{\n\t"kind": "rate_card",\n\t"id": "\\ud83d\\ude00",\n\t"minimum": 1e3\n}\n'
    assert faults(tmp_path, text, "card.json") == [f"4:13: minimum: {AMOUNT}"]
    found = read(tmp_path, text.replace("1e3", "0.10"), "card.json")
    assert not found.faults
    model: Any = found.documents[0].model
    assert (model.id, model.minimum) == ("\U0001f600", "0.10")
    assert faults(tmp_path, '{"kind":\n  rate_card}', "card.json") == ["2:3: : Expecting value"]


def test_an_alias_that_holds_itself_and_one_that_grows_without_end_are_refused(
    tmp_path: Path,
) -> None:
    inside = "kind: rate_card\nid: a\nitems: &a\n  - *a\n"
    assert [line.split(": ")[-1] for line in faults(tmp_path, inside)] == [
        "nested too deeply, or too long"
    ]
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
    )
    assert [line.split(": ")[-1] for line in faults(tmp_path, bomb)] == [
        "nested too deeply, or too long"
    ]


def test_words_that_yaml_takes_for_something_else_stay_words(tmp_path: Path) -> None:
    found = read(tmp_path, CARD.replace("title: Pro", "title: no").replace("gpt-4", "4.50"))
    card: Any = found.documents[0].model
    assert (card.title, card.items[1].model) == ("no", "4.50")


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (
            "{id: more, metric: calls, agent: a, price: 1}",
            "items[3]: counts what items[0] counts too",
        ),
        ("{id: more, metric: cost, model: other}", ""),
        ("{id: more, metric: cost}", "items[3]: counts what items[1] counts too"),
        (
            "{id: more, metric: signals, signal: x, group_by: signal, price: 1}",
            "items[3].group_by: the item counts one signal alone",
        ),
    ],
)
def test_a_doubt_is_told_and_is_no_fault(tmp_path: Path, item: str, expected: str) -> None:
    found = read(tmp_path, CARD.replace("discounts:", f"  - {item}\ndiscounts:"))
    assert not found.faults
    told = [f"{doubt.path}: {doubt.message}" for doubt in found.documents[0].doubts]
    assert len(told) == (1 if expected else 0)
    assert all(text.startswith(expected) for text in told)


def test_discounts_may_take_all_of_an_item_and_no_more(tmp_path: Path) -> None:
    assert faults(tmp_path, CARD.replace("minimum: 100\n", "  - {id: rest, percent: 90}\n")) == []
    more = "  - {id: rest, percent: 90.000000000001}\n"
    assert len(faults(tmp_path, CARD.replace("minimum: 100\n", more))) == 1


def test_items_of_all_tokens_and_of_one_class_are_doubted(tmp_path: Path) -> None:
    items = "- {id: a, metric: tokens, price: 1}\n- {id: b, metric: input_tokens, price: 1}\n"
    found = read(tmp_path, f"kind: rate_card\nid: pro\nitems:\n{items}")
    assert [doubt.path for doubt in found.documents[0].doubts] == ["items[1]"]


def test_a_card_that_charges_nothing_is_doubted(tmp_path: Path) -> None:
    found = read(tmp_path, "kind: rate_card\nid: free\n")
    assert [doubt.message for doubt in found.documents[0].doubts] == ["the card charges nothing"]


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot be read"):
        read_rate_files([str(tmp_path / "absent.yaml")])
    path = tmp_path / "card.yaml"
    path.write_bytes(b"title: \xff")
    with pytest.raises(SetupError, match="no UTF-8: byte 7 is 0xff"):
        read_rate_files([str(path)])
    path.write_bytes(b" " * (FILE_BYTES_MAX + 1))
    with pytest.raises(SetupError, match="a file of rate cards may have"):
        read_rate_files([str(path)])


def test_the_fields_that_are_whole_numbers_are_those_of_the_models() -> None:
    found: set[str] = set()
    seen: set[type[BaseModel]] = set()

    def look(annotation: Any, name: str) -> None:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            if annotation not in seen:
                seen.add(annotation)
                for field, info in annotation.model_fields.items():
                    look(info.annotation, field)
        elif annotation is int:
            found.add(name)
        for part in get_args(annotation):
            look(part, name)

    for model in rates.RATE_FILES.values():
        look(model, "")
    assert found == WHOLE_NUMBERS


def test_the_schema_of_files_is_what_editors_get() -> None:
    schema = json.loads(Path("docs/schemas/rates.json").read_text(encoding="utf-8"))
    assert {part["$ref"] for part in schema["oneOf"]} == {
        "#/$defs/RateCardFile",
        "#/$defs/RatePlanFile",
    }


def test_a_path_is_written_as_a_person_writes_it() -> None:
    assert path_text(("items", 2, "tiers", "steps", 0)) == "items[2].tiers.steps[0]"
