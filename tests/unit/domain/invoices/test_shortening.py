"""streams.domain.invoices.shortening: every closed period can be issued."""

from dataclasses import replace

from schemas.limits import INVOICE_LINES_MAX
from schemas.money import PICO
from streams.domain.invoices.bundle import differences
from streams.domain.invoices.documents import Line, canonical_bytes, totals
from streams.domain.invoices.pricing import OTHERS
from streams.domain.invoices.shortening import LINES_BYTES_MAX, SURELY_SHORT, shortened
from tests.invoiced import Books, card, item, totals_of

LINE = Line(
    0, "usage", "2026-10", "units", "Units", "pro@1", "", "units", PICO, 0, 31, PICO, "USD"
)  # fmt: skip


def many(count: int, corrects: str = "", title: str = "Units") -> list[Line]:
    return [
        replace(LINE, group=f"{number:05d}", corrects=corrects, title=title)
        for number in range(count)
    ]


def test_lines_that_fit_stay_as_they_are() -> None:
    lines = many(INVOICE_LINES_MAX)
    assert shortened(lines) == lines


def test_corrections_are_put_together_before_the_lines_of_the_period() -> None:
    own = many(1500)
    lines = [*own, *many(300, "acme-0001"), *many(300, "acme-0002")]
    found = shortened(lines)
    assert found[:1500] == own
    assert [(line.corrects, line.group, line.amount) for line in found[1500:]] == [
        ("acme-0001", OTHERS, "300"),
        ("acme-0002", OTHERS, "300"),
    ]


def test_the_lines_of_an_item_are_put_together_over_its_segments() -> None:
    segments = [
        replace(line, card=f"pro@{number % 2}", from_us=number, to_us=number + 1)
        for number, line in enumerate(many(INVOICE_LINES_MAX + 1))
    ]
    fee = replace(LINE, line_kind="fee", item="base")
    found = shortened([fee, *segments, replace(LINE, currency="EUR")])
    assert [(line.item, line.currency, line.amount) for line in found] == [
        ("base", "USD", "1"),
        ("units", "USD", "2001"),
        ("units", "EUR", "1"),
    ]
    assert (found[1].card, found[1].from_us, found[1].to_us) == ("", 0, INVOICE_LINES_MAX + 1)
    assert totals(found) == totals([fee, *segments, replace(LINE, currency="EUR")])


def test_long_texts_are_counted_too() -> None:
    lines = many(1200, title="💡" * 128)
    assert len(canonical_bytes([line.plain() for line in lines])) > LINES_BYTES_MAX
    assert len(shortened(lines)) == 1
    largest = "\x01" * 128
    short = replace(
        LINE, item=largest, title=largest, group=largest, metric=largest, card=2 * largest
    )
    # Six bytes for each of these characters, and the field names around them.
    assert SURELY_SHORT * len(canonical_bytes(short.plain())) < LINES_BYTES_MAX


def test_a_document_that_is_too_long_is_issued_and_corrected_all_the_same() -> None:
    items = [
        item(id=f"units{number}", metric="units", price="0.01", group_by="agent")
        for number in range(11)
    ]
    books = Books([card(items=items)])
    for number in range(200):
        books.usage("2026-10-10T00:00:00Z", units=3, agent_id=f"{number:03d}")
    first = books.close("2026-10")
    assert len(first.lines) == 11
    assert totals_of(first) == {"USD": "66"}
    books.usage("2026-10-10T00:00:00Z", units=1, agent_id="007")
    second = books.close()
    assert [(line.item, line.amount) for line in second.lines] == [
        (f"units{number}", "0.01") for number in range(11)
    ]
    for name, bundle in books.bundles.items():
        assert not differences(bundle, books.issued(name))
