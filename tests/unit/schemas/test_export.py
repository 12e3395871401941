"""schemas.export: docs/schemas says what the models say."""

import json
from pathlib import Path
from typing import Any

import pytest

from schemas import (
    answer,
    ask,
    attribution,
    budget,
    catalog,
    catalogue,
    deadletter,
    entry,
    invoice,
    owner,
    preflight,
    restoration,
    signal,
    transfer,
    unassigned,
    usage,
)
from schemas.envelope import Record
from schemas.export import EXPORTED, FAMILIES, export, main, schema_text

PUBLISHED = Path(__file__).parents[3] / "docs" / "schemas"


@pytest.mark.parametrize("name", EXPORTED)
def test_the_published_schema_is_current(name: str) -> None:
    published = (PUBLISHED / f"{name}.json").read_text(encoding="utf-8")
    assert published == schema_text(name), (
        "the models changed: run `python -m schemas.export docs/schemas`"
    )


def test_nothing_else_is_published() -> None:
    assert {path.stem for path in PUBLISHED.iterdir()} == EXPORTED.keys()


def test_every_record_that_is_written_belongs_to_one_family() -> None:
    modules = (
        answer,
        ask,
        attribution,
        budget,
        catalog,
        catalogue,
        deadletter,
        entry,
        invoice,
        owner,
        preflight,
        restoration,
        signal,
        transfer,
        unassigned,
        usage,
    )
    defined = {
        model
        for module in modules
        for model in vars(module).values()
        if isinstance(model, type)
        and issubclass(model, Record)
        and model.__module__ == module.__name__
    }
    bases = {base for model in defined for base in model.__mro__[1:]}
    exported = [model for models in FAMILIES.values() for model in models]
    assert len(exported) == len(set(exported))
    assert set(exported) == defined - bases


@pytest.mark.parametrize("name", FAMILIES)
def test_a_schema_refuses_unknown_fields_and_pins_the_version(name: str) -> None:
    schema = json.loads(schema_text(name))
    assert schema["$schema"].endswith("2020-12/schema")
    records = [schema] if "properties" in schema else _choices(schema)
    assert len(records) == len(FAMILIES[name])
    for record in records:
        assert record["additionalProperties"] is False
        assert "schema_version" in record["required"]
        version = record["properties"]["schema_version"]
        assert (version["minimum"], version["maximum"]) == (1, 1)


def _choices(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [schema["$defs"][choice["$ref"].rsplit("/", 1)[1]] for choice in schema["oneOf"]]


@pytest.mark.parametrize("name", [name for name, models in EXPORTED.items() if len(models) > 1])
def test_the_kinds_of_a_family_can_be_told_apart(name: str) -> None:
    choices = _choices(json.loads(schema_text(name)))
    kinds = [choice["properties"]["kind"]["const"] for choice in choices]
    assert len(set(kinds)) == len(choices)
    assert all("kind" in choice["required"] for choice in choices)


def test_exporting_writes_all_families_and_removes_what_is_none(tmp_path: Path) -> None:
    (tmp_path / "gone.json").write_text("{}")
    (tmp_path / "README.md").write_text("stays")
    written = export(tmp_path)
    assert {path.name for path in tmp_path.glob("*.json")} == {path.name for path in written}
    assert len(written) == len(EXPORTED)
    assert (tmp_path / "README.md").exists()


def test_the_command_wants_one_directory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "new")]) == 0
    assert capsys.readouterr().out.count(".json\n") == len(EXPORTED)
    assert (main([]), main(["a", "b"]), main(["--help"])) == (2, 2, 0)
    assert "DIRECTORY" in capsys.readouterr().err
