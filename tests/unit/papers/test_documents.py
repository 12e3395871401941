"""The documents about bills and the hand-over say what happens: their blocks run."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from streams.cli.invoice.bill import bill_files
from streams.domain.invoices.documents import credit_note, digest
from streams.papers.handover import Issued, handover
from streams.papers.page import html_page
from streams.papers.parties import Parties, parties_of
from tests.example_bill import CARD, used, whole
from tests.pages import page_of
from tests.papers import ISSUED, OCTOBER, SEPTEMBER, line, rich_document

DOCS: Final = Path(__file__).resolve().parents[3] / "docs"


def blocks(name: str, language: str) -> list[str]:
    text = (DOCS / name).read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def sessions(name: str) -> list[tuple[str, str]]:
    """Commands and what they print, as the document tells: a block begins with `$`, and what
    follows a command until the next one is its output."""
    found = []
    for block in blocks(name, "console"):
        if block.startswith("$ "):
            for part in block.removeprefix("$ ").split("\n$ "):
                command, _, output = part.partition("\n")
                found.append((command, output.strip("\n")))
    return found


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a customer has been sent."""
    directory = tmp_path_factory.mktemp("bill")
    files = bill_files(whole(used(CARD), "acme-0002"), "acme-0002", Parties())
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return directory


def test_the_commands_for_the_customer_print_what_the_document_says(
    sent: Path, tmp_path: Path
) -> None:
    (tmp_path / "python").symlink_to(sys.executable)
    told = sessions("bill.md")
    assert len(told) == 5
    for command, output in told:
        outcome = subprocess.run(
            ["bash", "-c", command],
            cwd=sent,
            env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )
        assert (outcome.stdout.strip("\n"), outcome.stderr) == (output, ""), command


def test_every_file_that_is_sent_is_explained(sent: Path) -> None:
    text = (DOCS / "bill.md").read_text("utf-8")
    for path in sent.iterdir():
        assert f"| `{path.name}` |" in text or path.name == "changed.json"


def test_the_file_of_names_in_the_document_is_one() -> None:
    (text,) = blocks("bill.md", "yaml")
    parties = parties_of(yaml.safe_load(text))
    assert parties.seller.model_fields_set == set(type(parties.seller).model_fields)
    shown = page_of(html_page(rich_document(), parties, issued_at_us=ISSUED)).text
    for told in ("Torstraße 1", "Acme Ltd", "Due 16 November 2026", "PO 4711", "Reverse charge"):
        assert told in shown


# --- the hand-over -------------------------------------------------------------------------------


def issued() -> Issued:
    lines = (
        line(line=1, cents=3_322, quantity=3_322),
        line(
            line=2,
            cents=-512,
            quantity=-512,
            corrects="acme-0001",
            label="2026-09",
            from_us=SEPTEMBER,
            to_us=OCTOBER,
        ),
    )
    document = rich_document(lines=lines)
    return Issued(document.plain(), digest(document), ISSUED)


def test_the_object_in_the_document_is_what_an_export_writes() -> None:
    (text,) = blocks("handover.md", "json")
    (made,) = handover(issued())
    made["metadata"]["tollgate_digest"] = "DIGEST"
    assert json.loads(text) == made


class Processor:
    """What the document says of Stripe: a key that was seen returns the first answer, and with
    other parameters it is refused. Breaks off at a call if it is told to."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[str, Mapping[str, str], str]] = {}
        self.calls_left = 1_000

    def post(self, path: str, form: Mapping[str, str], key: str) -> str:
        if self.calls_left == 0:
            raise TimeoutError("no answer")
        self.calls_left -= 1
        assert len(key) <= 255
        assert all(type(value) is str for value in form.values())
        if key in self.answers:
            known = self.answers[key]
            assert known[:2] == (path, dict(form)), "the same key with other parameters"
            return known[2]
        made = f"{path.rsplit('/', 1)[1]}_{len(self.answers)}"
        self.answers[key] = (path, dict(form), made)
        return made

    def total(self, invoice: str) -> int:
        items = [form for path, form, _ in self.answers.values() if path == "/v1/invoiceitems"]
        return sum(int(form["amount"]) for form in items if form["invoice"] == invoice)


def program() -> Any:
    """`hand_over` of the document."""
    (source,) = blocks("handover.md", "python")
    names: dict[str, Any] = {}
    exec(compile(source, "docs/handover.md", "exec"), names)
    return names["hand_over"]


def all_objects() -> list[dict[str, Any]]:
    invoice = rich_document()
    note = credit_note(invoice, {"number": "acme-0003", "note": ""})
    return [
        one
        for document in (invoice, note)
        for one in handover(Issued(document.plain(), digest(document), ISSUED))
    ]


@pytest.mark.parametrize("calls", range(0, 24, 3))
def test_a_hand_over_that_breaks_off_is_finished_by_the_next_and_charges_once(calls: int) -> None:
    hand_over, processor = program(), Processor()
    customers = {"acme": "cus_1"}
    processor.calls_left = calls
    with pytest.raises(TimeoutError):
        [hand_over(one, customers, processor.post) for one in all_objects()]
    processor.calls_left = 1_000
    for one in all_objects():
        invoice = hand_over(one, customers, processor.post)
        assert processor.total(invoice) == one["amount"]
    drafts = [path for path, _, _ in processor.answers.values() if path == "/v1/invoices"]
    assert len(drafts) == len(all_objects())


def test_amounts_and_metadata_reach_the_processor_as_they_were_exported() -> None:
    hand_over, processor = program(), Processor()
    (one,) = handover(issued())
    hand_over(one, {"acme": "cus_1"}, processor.post)
    (_, draft, _), (_, first, _), (_, second, _) = processor.answers.values()
    assert draft["metadata[tollgate_digest]"] == issued().digest
    assert [first["amount"], second["amount"]] == ["3322", "-512"]
    assert second["metadata[tollgate_corrects]"] == "acme-0001"
    assert first["period[end]"] == "1792015199"
