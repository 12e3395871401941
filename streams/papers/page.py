"""A document as an HTML page that prints as a bill: one file, no scripts, nothing to fetch.

Every text is escaped, and a content security policy in the page forbids what an error in that could
let in. The seller, the customer and the day of issue come from whoever renders; the rest is the
document.
"""

from html import escape
from typing import Final

from schemas.money import currency_digits
from streams.domain.invoices.documents import Document
from streams.papers.bill import (
    Bill,
    PaperLine,
    Section,
    bill_of,
    day,
    details,
    headings,
    money,
    notes,
    printable,
    quantity_text,
    span,
    zone_of,
)
from streams.papers.parties import Customer, Parties, Seller
from streams.papers.plain import Plain, digest_of, plain_of
from streams.papers.prices import Cards, price_text
from streams.papers.style import SIZE, STYLE

MINUS: Final = "\N{MINUS SIGN}"
"""What a negative amount has before it on paper: a hyphen is easily overlooked."""

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
"""What a browser may load or run for this page: its own style."""

CHECK: Final = "python verify.pyz bill.json"
"""The command that prints this digest from what `tollgate invoice bill` writes."""


def html_page(
    document: Document | Plain,
    parties: Parties | None = None,
    *,
    issued_at_us: int | None = None,
    cards: Cards | None = None,
) -> str:
    """The page of a document. `issued_at_us` is the day on it, in the customer's zone; `cards` give
    the prices of its lines, without them averages are shown."""
    plain = plain_of(document)
    bill, parties = bill_of(plain), parties or Parties()
    seller, customer = parties.seller, parties.customer(bill.customer_id)
    title = f"{bill.title} {printable(bill.number)}".rstrip()
    style = STYLE if seller.paper is None else SIZE % seller.paper + STYLE
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_text(title)}</title>",
        f"<style>\n{style}</style>",
        "</head>",
        "<body>",
        _header(bill, seller),
        "<main>",
        _parties(bill, seller, customer, issued_at_us),
        _table(bill, cards or {}),
        *_sections(bill, seller),
        "</main>",
        _footer(bill, digest_of(plain)),
        "</body>",
        "</html>",
    ]
    return "\n".join(parts) + "\n"


def _text(text: str) -> str:
    """A text as it stands in a page."""
    return escape(printable(text))


def _header(bill: Bill, seller: Seller) -> str:
    name = f"<p>{_text(seller.name)}</p>" if seller.name else ""
    number = f'<p class="number">{_text(bill.number)}</p>' if bill.number else ""
    return f"<header><div><h1>{_text(bill.title)}</h1>{number}</div>{name}</header>"


def _parties(bill: Bill, seller: Seller, customer: Customer, issued_at_us: int | None) -> str:
    sold_to = customer.name or bill.customer_id
    sides = [_side("To", sold_to, customer.address, customer.tax_id, customer.email)]
    if seller.name or seller.address:
        name = seller.name or ""
        sides.insert(0, _side("From", name, seller.address, seller.tax_id, seller.email))
    facts = "".join(
        f"<dt>{_text(term)}</dt><dd>{_text(told)}</dd>"
        for term, told in _facts(bill, seller, customer, issued_at_us)
    )
    sides.append(f"<section><h2>Details</h2><dl>{facts}</dl></section>")
    return f'<div class="parties">\n{chr(10).join(sides)}\n</div>'


def _side(title: str, name: str, address: list[str], tax_id: str | None, email: str | None) -> str:
    lines = [f"<strong>{_text(name)}</strong>"] if name else []
    lines += [_text(line) for line in address]
    if tax_id:
        lines.append(f"Tax number {_text(tax_id)}")
    if email:
        lines.append(_text(email))
    body = "<br>".join(lines)
    return f"<section><h2>{title}</h2><address>{body}</address></section>"


def _facts(
    bill: Bill, seller: Seller, customer: Customer, issued_at_us: int | None
) -> list[tuple[str, str]]:
    zone, zone_name = zone_of(bill.zone)
    found = [("Number", bill.number)] if bill.number else []
    if issued_at_us is not None:
        found.append(("Date", day(issued_at_us, zone)))
        if seller.due_days is not None and bill.document == "invoice":
            found.append(("Due", day(issued_at_us, zone, later=seller.due_days)))
    found.append(("Period", f"{span(bill.from_us, bill.to_us, zone)} ({zone_name})"))
    found.append(("Customer", bill.customer_id))
    if customer.reference:
        found.append(("Reference", customer.reference))
    if bill.voids:
        found.append(("Credits", f"invoice {bill.voids} in full"))
    if bill.reissues and bill.document != "credit_note":
        found.append(("Replaces", f"invoice {bill.reissues}"))
    return found


def _table(bill: Bill, cards: Cards) -> str:
    sections = bill.sections()
    if not sections:
        return "<p>Nothing is charged for this period.</p>"
    head = (
        '<thead><tr><th scope="col">#</th><th scope="col">Description</th>'
        '<th scope="col" class="figure">Quantity</th><th scope="col" class="price">Unit price</th>'
        '<th scope="col" class="figure">Amount</th></tr></thead>'
    )
    bodies = [
        _body(bill, section, heading, cards)
        for section, heading in zip(sections, headings(sections), strict=True)
    ]
    word = "Total credited" if bill.document == "credit_note" else "Total"
    totals = "\n".join(
        f'<tr><th scope="row" colspan="4" class="figure">{word} {_text(currency)}</th>'
        f'<td class="figure">{_money(pico, currency)}</td></tr>'
        for currency, pico in bill.totals
    )
    caption = f"<caption>{_text(bill.title)} by line</caption>"
    foot = f"<tfoot>\n{totals}\n</tfoot>" if totals else ""
    return "\n".join(["<table>", caption, head, *bodies, foot, "</table>"])


def _body(bill: Bill, section: Section, heading: str, cards: Cards) -> str:
    rows = [_row(bill, line, cards) for line in section.lines]
    if heading:
        cell = f'<th scope="rowgroup" colspan="5" class="section">{_text(heading)}</th>'
        rows.insert(0, f'<tr class="heading">{cell}</tr>')
    return "\n".join(["<tbody>", *rows, "</tbody>"])


def _row(bill: Bill, line: PaperLine, cards: Cards) -> str:
    about = "".join(f'<span class="about">{_text(one)}</span>' for one in details(bill, line))
    return (
        f'<tr id="line-{line.line}"><td class="line">{line.line}</td>'
        f'<td class="what">{_text(line.name)}{about}</td>'
        f'<td class="figure">{_text(quantity_text(line, minus=MINUS))}</td>'
        f'<td class="price">{_text(price_text(line, cards))}</td>'
        f'<td class="figure">{_money(line.amount, line.currency)}</td></tr>'
    )


def _money(pico: int, currency: str) -> str:
    return _text(f"{money(pico, currency_digits(currency), minus=MINUS)} {currency}")


def _sections(bill: Bill, seller: Seller) -> list[str]:
    found = []
    told = notes(bill)
    if seller.tax_note:
        told.append(seller.tax_note)
    if told:
        found.append(_section("Notes", told))
    lines = [*([seller.payment_terms] if seller.payment_terms else []), *seller.payment]
    if lines and bill.document == "invoice":
        found.append(_section("Payment", lines))
    return found


def _section(title: str, lines: list[str]) -> str:
    body = "".join(f"<p>{_text(line)}</p>" for line in lines)
    return f"<section><h2>{title}</h2>{body}</section>"


def _footer(bill: Bill, digest: str) -> str:
    if not bill.number:
        return "<footer><p>A draft: figures change until the period is closed.</p></footer>"
    by = [f"Rates {', '.join(bill.cards)}."] if bill.cards else []
    by += [f"Model prices {', '.join(bill.price_books)}."] if bill.price_books else []
    told = f"<p>{_text(' '.join(by))}</p>" if by else ""
    return (
        f"<footer>{told}<p>Every line follows from recorded entries. Digest (SHA-256) of this "
        f"{bill.title.lower()}: <code>{_text(digest)}</code></p>"
        f"<p>To check it, run <code>{escape(CHECK)}</code> on the files that came with it: it "
        "computes every line again and must end with the same digest.</p></footer>"
    )
