"""The hand-over: one object per document and currency, that adds up and never charges twice."""

import json
from typing import Any

import pytest

from streams.domain.invoices.documents import Document, credit_note, digest
from streams.papers.handover import Issued, handover
from tests.papers import ISSUED, NOVEMBER, OCTOBER, line, rich_document


def objects(document: Document, items_max: int | None = None) -> list[dict[str, Any]]:
    return handover(Issued(document.plain(), digest(document), ISSUED), items_max=items_max)


def test_a_document_becomes_one_object_per_currency() -> None:
    found = objects(rich_document())
    assert [one["idempotency_key"] for one in found] == ["acme-0002-USD", "acme-0002-EUR"]
    assert [one["currency"] for one in found] == ["usd", "eur"]
    assert [one["amount"] for one in found] == [1_803_175, 40]


def test_items_add_up_to_their_object_in_the_smallest_unit() -> None:
    for one in objects(rich_document()):
        assert sum(item["amount"] for item in one["items"]) == one["amount"]
        assert all(type(item["amount"]) is int for item in one["items"])


def test_every_line_is_one_item_with_a_key_of_its_own() -> None:
    document = rich_document()
    items = [item for one in objects(document) for item in one["items"]]
    assert len(items) == len(document.lines)
    assert len({item["idempotency_key"] for item in items}) == len(items)
    assert sorted(int(item["metadata"]["tollgate_line"]) for item in items) == list(range(1, 11))


def test_a_credit_note_is_the_invoice_with_the_opposite_sign() -> None:
    invoice = rich_document()
    note = credit_note(invoice, {"number": "acme-0003", "note": ""})
    for charged, credited in zip(objects(invoice), objects(note), strict=True):
        assert credited["amount"] == -charged["amount"]
        assert credited["metadata"]["tollgate_credits"] == "acme-0002"
        assert credited["idempotency_key"] != charged["idempotency_key"]
        amounts = [item["amount"] for item in charged["items"]]
        assert [-item["amount"] for item in credited["items"]] == amounts


def test_a_period_ends_with_its_last_second() -> None:
    period = objects(rich_document())[0]["period"]
    assert period == {"start": OCTOBER // 10**6, "end": NOVEMBER // 10**6 - 1}


@pytest.mark.parametrize(("currency", "minor"), [("USD", 500), ("JPY", 5), ("KWD", 5_000)])
def test_amounts_are_in_the_smallest_unit_of_their_currency(currency: str, minor: int) -> None:
    lines = (line(cents=500, currency=currency),)
    assert objects(rich_document(lines=lines))[0]["amount"] == minor


def test_an_amount_between_two_smallest_units_is_refused() -> None:
    lines = (line(cents=50, currency="JPY"),)
    with pytest.raises(ValueError, match="no whole number of the smallest unit of JPY"):
        objects(rich_document(lines=lines))


def test_lines_beyond_what_a_processor_takes_become_one_item() -> None:
    document = rich_document()
    whole, joined = objects(document), objects(document, items_max=4)
    assert [len(one["items"]) for one in joined] == [4, 1]
    assert [one["amount"] for one in joined] == [one["amount"] for one in whole]
    last = joined[0]["items"][-1]
    assert last["description"] == "6 more lines of invoice acme-0002"
    assert last["amount"] == sum(item["amount"] for item in whole[0]["items"][3:])


def test_a_document_without_lines_hands_nothing_over() -> None:
    assert objects(rich_document(lines=())) == []


def test_metadata_stays_within_what_processors_take() -> None:
    longest = line(cents=1, item="i" * 128, title="t" * 600, group="g" * 200)
    for one in objects(rich_document(lines=(longest,), number="~" + "a" * 16 + "-0001")):
        for metadata in [one["metadata"], *(item["metadata"] for item in one["items"])]:
            assert len(metadata) <= 50
            assert all(len(key) <= 40 and len(text) <= 500 for key, text in metadata.items())
            assert all(isinstance(text, str) for text in metadata.values())
        assert all(len(item["description"]) <= 500 for item in one["items"])
        assert all(len(item["idempotency_key"]) <= 255 for item in one["items"])


def test_the_same_document_gives_the_same_bytes() -> None:
    first, second = (json.dumps(objects(rich_document())) for _ in range(2))
    assert first == second
