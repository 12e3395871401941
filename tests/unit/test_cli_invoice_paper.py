"""The forms of an invoice on the command line: one at a time, whole files, faults named."""

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from streams.cli.invoice.paper import Form, paper_options, read_parties, write_paper
from streams.domain.invoices.documents import document_bytes
from streams.errors import SetupError
from tests.pages import page_of
from tests.papers import CARDS, ISSUED, PARTIES, rich_document


@click.command()
@paper_options
def show(form: Form) -> None:
    """Prints the rich document."""
    write_paper(rich_document(), form, issued_at_us=ISSUED, cards=CARDS)


def run(*words: str) -> Result:
    return CliRunner().invoke(show, words)


def test_every_form_goes_to_stdout_and_to_a_file_with_the_same_bytes(tmp_path: Path) -> None:
    for option in ((), ("--json",), ("--csv",), ("--html",)):
        told = run(*option)
        assert told.exit_code == 0, told.output
        path = tmp_path / "paper"
        assert run(*option, "--to", str(path)).stdout == ""
        assert path.read_bytes() == told.stdout_bytes
        assert [one.name for one in tmp_path.iterdir()] == ["paper"]


def test_the_forms_are_what_they_say() -> None:
    assert run().stdout.startswith("Invoice acme-0002\n")
    assert run("--json").stdout_bytes == document_bytes(rich_document()) + b"\n"
    assert run("--csv").stdout_bytes.startswith(b"number,document,customer_id,")
    assert page_of(run("--html").stdout).faults == []


def test_two_forms_at_once_are_refused() -> None:
    told = run("--json", "--html")
    assert told.exit_code == 2
    assert "--json and --html: one form at a time" in told.stderr


def test_names_and_addresses_are_for_the_page(tmp_path: Path) -> None:
    path = tmp_path / "parties.json"
    path.write_text(json.dumps(PARTIES))
    assert "Torstraße 1" in run("--html", "--parties", str(path)).stdout
    told = run("--csv", "--parties", str(path))
    assert (told.exit_code, "stand on the page" in told.stderr) == (2, True)


def test_a_file_of_names_is_yaml_or_json(tmp_path: Path) -> None:
    for name, text in (
        ("a.yaml", "seller: {name: Example}\ncustomers: {acme: {name: Acme}}\n"),
        ("a.json", '{"seller": {"name": "Example"}, "customers": {"acme": {"name": "Acme"}}}'),
    ):
        path = tmp_path / name
        path.write_text(text)
        found = read_parties(path)
        assert (found.seller.name, found.customer("acme").name) == ("Example", "Acme")
        assert found.customer("nobody").name is None


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.yaml", "seller: {name: 7}\n", "seller.name: Input should be a valid string"),
        ("a.yaml", "seller: [\n", "does not say who bills whom"),
        ("a.yaml", "", "the file: "),
        ("a.json", "{", "does not say who bills whom"),
        ("a.yaml", "sellers: {}\n", "sellers: Extra inputs are not permitted"),
        ("a.yaml", "seller: {paper: A5}\n", "seller.paper: Input should be 'A4' or 'Letter'"),
    ],
)
def test_what_is_wrong_in_a_file_of_names_is_told(
    name: str, text: str, says: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(SetupError) as caught:
        read_parties(path)
    assert says in caught.value.message
    assert "docs/bill.md" in caught.value.action


def test_a_file_of_names_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot be read: No such file"):
        read_parties(tmp_path / "parties.yaml")
