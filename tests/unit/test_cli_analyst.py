"""`tollgate analyst`: who may read what, without a server."""

import json
from pathlib import Path

import pytest

from streams.cli import main


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOLLGATE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_an_analyst_is_added_listed_and_removed(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add = ["analyst", "add", "joe", "--customer", "acme", "--customer", "globex"]
    assert main.run(add) == 0
    out, err = capsys.readouterr()
    assert len(out.strip()) == 32
    assert "next start" in err
    assert main.run(["analyst", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"name": "joe", "customers": ["acme", "globex"]}
    assert main.run(["analyst", "list"]) == 0
    assert capsys.readouterr().out == "joe: acme, globex\n"
    assert main.run(["analyst", "remove", "joe"]) == 0
    assert json.loads((home / "analysts.json").read_text("utf-8")) == []


def test_statements_name_the_database_of_the_settings(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not home.exists()
    monkeypatch.setenv("TOLLGATE_CLICKHOUSE_DATABASE", "books")
    assert main.run(["analyst", "sql"]) == 0
    out = capsys.readouterr().out
    assert "GRANT SELECT ON books.* TO analyst;\n" in out
    assert "ROW POLICY" not in out
    assert main.run(["analyst", "sql", "joe", "--customer", "acme"]) == 0
    out = capsys.readouterr().out
    assert "ON books.ledger FOR SELECT USING customer_id IN ('acme') AS RESTRICTIVE TO joe;" in out
    assert "books.*" not in out


@pytest.mark.parametrize(
    "words",
    [
        ["add", "admin", "--customer", "acme"],
        ["sql", "no good"],
        ["sql", "joe", *(word for n in range(101) for word in ("--customer", f"c{n}"))],
        ["remove", "nobody"],
    ],
)
def test_what_cannot_be_is_refused_and_stores_nothing(
    home: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert main.run(["analyst", *words]) == 2
    assert "to do:" in capsys.readouterr().err
    assert not home.exists()
