"""What an installation hands out of its invoices, for tests on real servers."""

import json
import subprocess
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.whole import Command

CHECK_SECONDS = 90.0

GLOBEX = {"0001": 1_130, "0002": 1_000, "0003": -1_130, "0004": 1_150, "0005": -1_000}
"""What the customer's documents come to in cents, by their count."""


def check_papers(tollgate: Command, digests: Mapping[str, str], directory: Path) -> None:
    """Bills of an invoice, a credit note and a reissue are checked, bills that would tell too much
    or nothing are refused, and a voided invoice that is handed over comes to nothing."""
    for number in ("acme-0002", "globex-0003", "globex-0004"):
        check_bill(tollgate, number, digests[number], directory / number)
    bill = ("invoice", "bill", "--to", str(directory))
    code, _, err = tollgate(*bill, "acme-0001", "--no-costs")
    assert (code, "charges by cost" in err) == (2, True)
    assert tollgate(*bill, "acme-0077")[0] == 2
    amounts = {f"globex-{count}": amount for count, amount in GLOBEX.items()}
    assert handed_over(tollgate, "globex") == amounts


def check_bill(tollgate: Command, number: str, digest: str, directory: Path) -> None:
    """Writes the bill of a number out of the log and checks it as its receiver does, in a Python
    without packages: it comes to the digest that was issued, which stands on the page as well."""
    code, out, err = tollgate("invoice", "bill", number, "--to", str(directory))
    assert code == 0, err
    assert all(Path(path).exists() for path in out.splitlines())
    check = subprocess.run(
        [sys.executable, "-I", "-S", "verify.pyz", "bill.json"],
        cwd=directory,
        env={},
        capture_output=True,
        encoding="utf-8",
        timeout=CHECK_SECONDS,
    )
    assert check.returncode == 0, check.stdout + check.stderr
    assert f"identical: sha256 {digest}" in check.stdout
    assert sha256((directory / "document.json").read_bytes()).hexdigest() == digest
    page = (directory / "bill.html").read_text("utf-8")
    assert digest in page
    assert tollgate("invoice", "show", number, "--html")[1] == page


def handed_over(tollgate: Command, customer: str) -> dict[str, Any]:
    """Amounts of a customer's documents by number, as an export hands them over, twice the
    same."""
    export = ("invoice", "export", "--to", "-", "--customer", customer)
    code, out, err = tollgate(*export)
    assert code == 0, err
    assert tollgate(*export)[1] == out
    return {one["number"]: one["amount"] for one in map(json.loads, out.splitlines())}
