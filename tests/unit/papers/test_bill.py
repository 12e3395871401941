"""A bill that its receiver checks: Python and the file alone, and nothing planted goes unseen."""

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from streams.cli.invoice.bill import bill_files
from streams.domain.invoices.bundle import Bundle
from streams.domain.invoices.documents import digest
from streams.domain.invoices.verify import main
from streams.errors import FaultError, SetupError
from streams.papers.bundles import FIELDS, leaving
from streams.papers.parties import Parties, parties_of
from streams.papers.verifier import verifier_bytes
from tests.example_bill import BY_COST, CARD, used, whole
from tests.invoiced import Books, card, item
from tests.pages import page_of
from tests.papers import PARTIES


@pytest.fixture(scope="module")
def books() -> Books:
    return used(CARD)


@pytest.fixture(scope="module")
def files(books: Books) -> dict[str, bytes]:
    return bill_files(whole(books, "acme-0002"), "acme-0002", Parties())


def run(files: dict[str, bytes], directory: Path) -> subprocess.CompletedProcess[str]:
    """The verifier in a Python without site packages and an environment without anything."""
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return subprocess.run(
        [sys.executable, "-I", "-S", "verify.pyz", "bill.json"],
        cwd=directory,
        env={},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )


def test_a_bill_is_checked_with_python_and_the_file_alone(
    books: Books, files: dict[str, bytes], tmp_path: Path
) -> None:
    outcome = run(files, tmp_path)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    document = books.documents["acme-0002"]
    lines = [one for one in outcome.stdout.splitlines() if one.startswith("line")]
    assert len(lines) == len(document.lines)
    assert all("  ok  " in one for one in lines)
    assert f"digest     ok         {digest(document)}" in outcome.stdout
    assert "DIFFERENT" not in outcome.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files)


def test_the_digest_that_is_checked_stands_on_the_page_and_in_the_note(
    books: Books, files: dict[str, bytes]
) -> None:
    checked = digest(books.documents["acme-0002"])
    assert checked in page_of(files["bill.html"].decode()).text
    assert checked in files["README.txt"].decode()


def test_a_bill_has_corrections_credits_and_discounts_in_it(books: Books) -> None:
    kinds = {one.line_kind for one in books.documents["acme-0002"].lines}
    assert kinds == {"usage", "fee", "discount", "credit"}
    assert {one.corrects for one in books.documents["acme-0002"].lines} == {"", "acme-0001"}


Change = Callable[[dict[str, Any]], None]


def changes() -> Iterator[tuple[str, Change]]:
    """Everything that a bill is made of, changed by whoever sent it or lost on the way."""

    def set_in(*path: Any) -> Change:
        *outer, name, value = path

        def change(plain: dict[str, Any]) -> None:
            found: Any = plain
            for step in outer:
                found = found[step]
            assert found[name] != value
            found[name] = value

        return change

    yield "a count of an entry", set_in("entries", 5, "output_tokens", 123_456)
    yield "the time of an entry", set_in("entries", 5, "occurred_at", 1_796_000_000_000_000)
    yield "an entry is left out", lambda plain: plain["entries"].pop()
    yield "an entry twice", lambda plain: plain["entries"].append(plain["entries"][3])
    yield "an entry of somebody else", set_in("entries", 4, "customer_id", "other")
    yield "a late entry is left out", lambda plain: plain["entries"].pop(1)
    yield "the name of a signal", set_in("entries", -1, "signal_name", "unresolved")
    yield "a price of the card", set_in("cards", 0, "items", 0, "price", "0.02")
    yield "a fee", set_in("cards", 0, "fees", 0, "amount", "50")
    yield "a discount", set_in("cards", 0, "discounts", 0, "percent", "5")
    yield "a title of the card", set_in("cards", 0, "items", 0, "title", "Phone calls")
    yield "the card's version", set_in("cards", 0, "version", "2")
    yield "the cut", set_in("close", "cut_sequence", 5)
    yield "the previous cut", set_in("close", "after_sequence", 4)
    yield "the end of the period", set_in("close", "period_to", 1_793_000_000_000_000)
    yield "the zone", set_in("close", "zone", "Europe/Berlin")
    yield "the label", set_in("close", "label", "2026-11")
    yield "a credit", set_in("credits", 0, "amount", "3.51")
    yield "the reason of a credit", set_in("credits", 0, "reason", "None")
    yield "a credit is left out", lambda plain: plain["credits"].pop()
    yield "what was billed before", set_in("issues", 0, "lines", 0, "amount", "1")
    yield "an earlier invoice is left out", lambda plain: plain["issues"].pop()
    yield "an amount of a line", set_in("issued", "lines", 0, "amount", "0.29")
    yield "a quantity of a line", set_in("issued", "lines", 0, "quantity", "29")
    yield "a title of a line", set_in("issued", "lines", 0, "title", "Something else")
    yield "what a line corrects", set_in("issued", "lines", -2, "corrects", "acme-0009")
    yield "a line is left out", lambda plain: plain["issued"]["lines"].pop()
    yield "a line more", lambda plain: plain["issued"]["lines"].append(plain["issued"]["lines"][0])
    yield "a total", set_in("issued", "totals", 0, "amount", "1")
    yield "the digest", set_in("issued", "digest", "0" * 64)
    yield "the number", set_in("issued", "number", "acme-0003")
    yield "the customer", set_in("issued", "customer_id", "other")


CHANGES = dict(changes())


@pytest.mark.parametrize("what", CHANGES)
def test_every_planted_change_is_found(
    what: str,
    files: dict[str, bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain = json.loads(files["bill.json"])
    CHANGES[what](plain)
    path = tmp_path / "bill.json"
    path.write_text(json.dumps(plain))
    assert main([str(path)]) == 1
    assert "DIFFERENT" in capsys.readouterr().out


def test_the_verifier_of_a_changed_bill_says_what_differs(
    files: dict[str, bytes], tmp_path: Path
) -> None:
    plain = json.loads(files["bill.json"])
    plain["issued"]["lines"][0]["amount"] = "0.29"
    outcome = run(files | {"bill.json": json.dumps(plain).encode()}, tmp_path)
    assert outcome.returncode == 1
    assert "line    1  DIFFERENT" in outcome.stdout
    assert "amount: issued '0.29'" in outcome.stdout


@pytest.mark.parametrize(
    ("what", "row"),
    [
        ("an amount of a line", "line    1  DIFFERENT"),
        ("a line more", "line    9  DIFFERENT"),
        ("a total", "total      DIFFERENT"),
        ("the digest", "digest     DIFFERENT"),
    ],
)
def test_the_row_of_what_was_changed_is_marked_and_no_other(
    what: str,
    row: str,
    files: dict[str, bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain = json.loads(files["bill.json"])
    CHANGES[what](plain)
    path = tmp_path / "bill.json"
    path.write_text(json.dumps(plain))
    assert main([str(path)]) == 1
    marked = [
        one
        for one in capsys.readouterr().out.splitlines()
        if one.startswith(("line ", "total ", "digest ")) and "DIFFERENT" in one
    ]
    assert [one[: len(row)] for one in marked] == [row]


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b"[" * 100_000])
def test_what_is_no_bill_is_told(content: bytes, files: dict[str, bytes], tmp_path: Path) -> None:
    outcome = run(files | {"bill.json": content}, tmp_path)
    assert (outcome.returncode, outcome.stdout) == (2, "")
    assert "bill.json is not a bill" in outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_texts_of_a_bill_do_not_steer_the_terminal_of_who_checks_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    books = Books([card(items=[item(title="\x1b]0;gone\x07\u202e", price="1")])])
    books.usage("2026-10-01T12:00:00Z", units=1)
    books.close("2026-10")
    bill = bill_files(whole(books, "acme-0001"), "acme-0001", Parties())
    path = tmp_path / "bill.json"
    path.write_bytes(bill["bill.json"])
    assert main([str(path)]) == 0
    assert not {"\x1b", "\x07", "\u202e"} & set(capsys.readouterr().out)


# --- what leaves the house -----------------------------------------------------------------------


def test_the_same_bill_is_the_same_files(books: Books, files: dict[str, bytes]) -> None:
    assert bill_files(whole(books, "acme-0002"), "acme-0002", Parties()) == files


def test_nothing_of_later_periods_and_of_traces_leaves_the_house(
    books: Books, files: dict[str, bytes]
) -> None:
    plain = json.loads(files["bill.json"])
    assert {one["number"] for one in plain["issues"]} == {"acme-0001"}
    assert {name for entry in plain["entries"] for name in entry} <= FIELDS
    assert b"november" not in files["bill.json"]
    assert b"secret-trace" not in files["bill.json"]
    earlier = bill_files(whole(books, "acme-0001"), "acme-0001", Parties())
    assert b"acme-0002" not in earlier["bill.json"]
    assert b"Outage" not in earlier["bill.json"]


def test_names_and_addresses_are_on_the_page_alone(books: Books, files: dict[str, bytes]) -> None:
    known = bill_files(whole(books, "acme-0002"), "acme-0002", parties_of(PARTIES))
    assert b"Torstra" in known["bill.html"]
    assert {name for name in files if files[name] != known[name]} == {"bill.html"}


def test_what_calls_cost_can_stay_in_the_house(tmp_path: Path, books: Books) -> None:
    bill = bill_files(whole(books, "acme-0002"), "acme-0002", Parties(), with_costs=False)
    assert {one.get("cost", "0") for one in json.loads(bill["bill.json"])["entries"]} == {"0"}
    assert run(bill, tmp_path).returncode == 0


def test_costs_belong_to_a_bill_that_charges_by_cost() -> None:
    bundle = whole(used(BY_COST), "acme-0002")
    assert b'"cost":"0.125"' in bill_files(bundle, "acme-0002", Parties())["bill.json"]
    with pytest.raises(SetupError, match="charges by cost"):
        bill_files(bundle, "acme-0002", Parties(), with_costs=False)
    with pytest.raises(ValueError, match="charges by cost"):
        leaving(bundle, with_costs=False)


def test_a_bill_that_would_not_pass_its_check_is_not_written(books: Books) -> None:
    bundle = whole(books, "acme-0002")
    entries = deepcopy(bundle.entries)[:-2]
    with pytest.raises(FaultError, match="acme-0002 is not what its entries come to"):
        bill_files(Bundle(bundle.case, entries), "acme-0002", Parties())


def test_a_bill_that_is_not_issued_is_not_written(books: Books) -> None:
    with pytest.raises(SetupError, match="closed and not issued yet"):
        bill_files(whole(books, "acme-0002"), "acme-0099", Parties())


def test_a_credit_note_is_a_bill_too(tmp_path: Path) -> None:
    books = used(CARD)
    note = books.void("acme-0002", reason="Wrong rates")
    close = next(one for one in books.closes if one["number"] == "acme-0002")
    bundle = books.bundle(close, books.voids[-1])
    outcome = run(bill_files(bundle, note.number, Parties()), tmp_path)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "credit_note acme-0003" in outcome.stdout


# --- the verifier --------------------------------------------------------------------------------


def test_the_verifier_is_the_same_bytes_and_the_same_sources_every_time() -> None:
    first = verifier_bytes()
    assert first == verifier_bytes()
    archive = zipfile.ZipFile(io.BytesIO(first))
    names = archive.namelist()
    assert names == sorted(names)
    root = Path(__file__).resolve().parents[3]
    for name in names:
        if name != "__main__.py":
            assert archive.read(name) == (root / name).read_bytes()
    assert {"schemas/money.py", "streams/domain/invoices/verify.py"} <= set(names)
    assert {info.date_time[0] for info in archive.infolist()} == {1980}


def test_the_verifier_holds_all_that_its_modules_import(tmp_path: Path) -> None:
    # A module that is imported late, inside a function, would be missed by running it once.
    archive = zipfile.ZipFile(io.BytesIO(verifier_bytes()))
    ours = {
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in archive.namelist()
    }
    imported = set()
    for name in archive.namelist():
        for text in archive.read(name).decode().splitlines():
            words = text.split()
            if words[:1] in (["from"], ["import"]) and words[1].startswith(("streams", "schemas")):
                imported.add(words[1])
    assert imported
    assert imported <= ours
