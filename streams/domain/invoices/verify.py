"""Checks a bill: `python -m streams.domain.invoices.verify bill.json`.

In a bill that a customer has been sent: `python verify.pyz bill.json`.

Recomputes the document of a bundle from its entries and rate cards, and compares it with what was
issued, to the last byte. Needs Python and the file, nothing else.
"""

import io
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from streams.domain.invoices.bundle import Bundle, bundle_from, differences, recompute
from streams.domain.invoices.documents import Document, digest, line_from, plain_totals
from streams.domain.invoices.tallies import Entry

IDENTICAL, DIFFERENT, UNREADABLE = 0, 1, 2


def bill_plain(bundle: Bundle, issued: Entry) -> dict[str, Any]:
    """The JSON of a bill: the bundle, and the entry of kind `invoice_issue` that it explains."""
    return {**bundle.plain(), "issued": dict(issued)}


def bill_from(plain: Any) -> tuple[Bundle, Entry]:
    """Bundle and issue of a bill's JSON. Raises ValueError for anything else."""
    bundle = bundle_from(plain)
    if not isinstance(plain.get("issued"), Mapping):
        raise ValueError("issued: not an entry")
    return bundle, plain["issued"]


def report(bundle: Bundle, issued: Entry) -> tuple[list[str], bool]:
    """What was compared, line by line, and whether everything is the same."""
    case = bundle.case
    which = " ".join(str(issued.get(name)) for name in ("document", "number", "label"))
    counts = {
        "ledger entries": bundle.entries,
        "rate cards": case.cards,
        "earlier documents": case.issues,
        "lines": issued.get("lines", ()),
    }
    told = [
        f"{which}, customer {issued.get('customer_id')}",
        "compared: " + ", ".join(f"{len(found)} {name}" for name, found in counts.items()),
    ]
    found = differences(bundle, issued)
    with suppress(ValueError, KeyError, TypeError):
        told += _rows(recompute(bundle), issued)
    if found:
        told += [f"DIFFERENT in {len(found)} places:", *(f"  {one}" for one in found)]
    else:
        told.append(f"identical: sha256 {digest(recompute(bundle))}")
    return [_printable(line) for line in told], not found


def _rows(document: Document, issued: Entry) -> list[str]:
    """A row for each recomputed line and total, and the digest, each with whether it is as
    issued."""
    theirs, rows = list(issued.get("lines", ())), []
    for number, line in enumerate(document.lines, start=1):
        asked = line_from(theirs[number - 1]) if number <= len(theirs) else None
        about = " ".join(part for part in (line.title or line.item, line.group) if part)
        corrects = f", corrects {line.corrects}" if line.corrects else ""
        row = f"{line.amount} {line.currency}, {about}, quantity {line.quantity}{corrects}"
        rows.append(f"line {number:>4}  {_sign(asked == line)}  {row}")
    beyond = range(len(document.lines) + 1, len(theirs) + 1)
    rows += [f"line {number:>4}  {_sign(False)}" for number in beyond]
    sums = {one.get("currency"): one.get("amount") for one in issued.get("totals", ())}
    for total in plain_totals(document.lines):
        currency, amount = total["currency"], total["amount"]
        rows.append(f"total      {_sign(sums.get(currency) == amount)}  {amount} {currency}")
    computed = digest(document)
    rows.append(f"digest     {_sign(issued.get('digest') == computed)}  {computed}")
    return rows


def _sign(same: bool) -> str:
    return "ok       " if same else "DIFFERENT"


def _printable(text: str) -> str:
    """Texts of a bill do not steer the terminal that shows them."""
    return "".join(char if char.isprintable() else "?" for char in text)


def main(arguments: Sequence[str]) -> int:
    """Prints what was compared. 0: identical, 1: different, 2: not a bill."""
    if len(arguments) != 1:
        print("usage: verify FILE (a bill as JSON)", file=sys.stderr)
        return UNREADABLE
    try:
        bundle, issued = bill_from(json.loads(Path(arguments[0]).read_bytes()))
    except (OSError, ValueError, RecursionError) as error:
        print(_printable(f"{arguments[0]} is not a bill: {error}"), file=sys.stderr)
        return UNREADABLE
    lines, same = report(bundle, issued)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A console that lacks a letter of some title still shows the figures.
        sys.stdout.reconfigure(errors="replace")
    print("\n".join(lines))
    return IDENTICAL if same else DIFFERENT


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
