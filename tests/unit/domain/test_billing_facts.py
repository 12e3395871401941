"""From records about terms and invoices to facts: what is none, and what the hash covers."""

from typing import Any

import pytest

from schemas.errors import RejectCode, RejectError
from streams.domain.decoding import decode_record
from streams.domain.facts import Rejected
from tests.builders import fact, record
from tests.invoice_facts import (
    MONTHS,
    close,
    credit,
    issue,
    line,
    retold,
    terms,
    total,
    void_invoice,
)


@pytest.mark.parametrize(
    ("made", "named"),
    [
        (lambda: terms(plan="standard"), "card"),
        (lambda: terms(card=None), "card"),
        (lambda: credit(amount="0"), "amount"),
        (lambda: credit(amount="0.00"), "amount"),
        (lambda: close(period_from=MONTHS[0] + 1), "segments"),
        (lambda: close(period_to=MONTHS[2]), "segments"),
        (lambda: close(segments=[segment(0, 1), segment(2, 3)], period_to=MONTHS[3]), "segments"),
        (lambda: close(segments=[segment(0, 2), segment(1, 2)], period_to=MONTHS[2]), "segments"),
        (lambda: close(segments=[segment(0, 0), segment(0, 1)]), "segments"),
        (lambda: close(segments=[segment(0, 1, version="")]), "segments"),
        (lambda: issue(lines=[line(2)]), "lines"),
        (lambda: issue(lines=[line(1), line(1)]), "lines"),
        (lambda: issue(lines=[line(to_us=MONTHS[0] - 1)]), "lines"),
    ],
)
def test_what_no_state_of_the_books_could_make_sense_of_is_no_fact(made: Any, named: str) -> None:
    with pytest.raises(RejectError) as refused:
        fact(made())
    assert (refused.value.code, refused.value.field) == (RejectCode.INVALID_FIELD, named)


def segment(begin: int, end: int, card: str = "pro", version: str = "1") -> dict[str, Any]:
    return {"card": card, "version": version, "from_us": MONTHS[begin], "to_us": MONTHS[end]}


WHOLE_LINE = line(title="Calls", card="pro@1", group="large", metric="calls", quantity="5")


@pytest.mark.parametrize(
    ("body", "changes"),
    [
        (terms(), {"card": "basic"}),
        (terms(), {"zone": "Europe/Berlin"}),
        (terms(), {"anchor_day": 2}),
        (terms(), {"effective_from": 1}),
        (credit(), {"amount": "5.000000000001"}),
        (credit(), {"currency": "EUR"}),
        (credit(), {"number": "acme-0001"}),
        (close(), {"label": "other"}),
        (close(), {"zone": "Europe/Berlin"}),
        (close(), {"reissues": "acme-0001"}),
        (void_invoice(), {"number": "acme-0002"}),
        (void_invoice(), {"reissue": True}),
        (issue(), {"number": "acme-0002"}),
        (issue(), {"document": "credit_note"}),
        (issue(), {"digest": "f" * 64}),
        (issue(), {"totals": [total("USD", "12.51")]}),
        (issue(), {"totals": [total("EUR", "12.50")]}),
        *(
            (issue(lines=[WHOLE_LINE]), {"lines": [WHOLE_LINE | {name: value}]})
            for name, value in {
                **dict.fromkeys(("corrects", "label", "item", "title", "card"), "other"),
                "group": "other",
                "metric": "other",
                "line_kind": "fee",
                "quantity": "6",
                "from_us": MONTHS[0] + 1,
                "to_us": MONTHS[1] + 1,
                "amount": "12.51",
                "currency": "EUR",
            }.items()
        ),
    ],
)
def test_whatever_is_billed_by_is_in_the_hash(body: Any, changes: dict[str, Any]) -> None:
    assert fact(body).body_hash != fact(retold(body, **changes)).body_hash
    assert fact(body).claim_key == fact(retold(body, **changes)).claim_key


def test_what_is_no_fact_is_a_rejected_record_that_names_the_field() -> None:
    source = record(terms(), 0)
    source.value = (source.value or b"").replace(b'"card":"pro"', b'"card":"pro","plan":"x"')
    found = decode_record(source, 0, 1)
    assert isinstance(found, Rejected)
    assert (found.code, found.field) == (RejectCode.INVALID_FIELD, "card")
    with pytest.raises(RejectError, match="zone"):
        terms(zone="Europe/Berlin\n")
