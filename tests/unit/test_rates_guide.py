"""The guide of rate cards names every field, command and option, and what it shows is right."""

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from schemas.catalog import Metric
from schemas.rates import RATE_FILES
from streams.app.rate_files import read_rate_files
from streams.cli.rates import rates
from tests.guard.repository import ROOT
from tests.unit.test_guides_of_commands import options

GUIDE = (ROOT / "docs/rates.md").read_text("utf-8")


@pytest.mark.parametrize("name", sorted(rates.commands))
def test_the_guide_names_every_command_and_its_options(name: str) -> None:
    assert f"tollgate rates {name}" in GUIDE
    assert {flag for flag in options(rates.commands[name]) if flag not in GUIDE} <= {
        "--at",
        "--version",
        "--clickhouse-database",
    }


def fields(model: Any, found: set[str]) -> set[str]:
    """The names of all fields of a model and its parts."""
    if isinstance(model, type) and issubclass(model, BaseModel):
        for name, info in model.model_fields.items():
            found.add(name)
            fields(info.annotation, found)
    for part in get_args(model):
        fields(part, found)
    return found


def test_the_guide_names_every_field_and_metric() -> None:
    names = set[str]().union(*(fields(model, set()) for model in RATE_FILES.values()))
    assert {name for name in names - {"kind"} if f"`{name}`" not in GUIDE} == set()
    assert {name for name in get_args(Metric) if f"`{name}`" not in GUIDE} == set()


def test_the_card_in_the_guide_is_right(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    path = tmp_path / "guide.yaml"
    path.write_text(text, encoding="utf-8")
    found = read_rate_files([str(path)])
    assert not found.faults
    assert [one.model.id for one in found.documents] == ["pro", "team"]
    assert not any(one.doubts for one in found.documents)


def test_faults_in_the_guide_are_words_of_the_code() -> None:
    source = "".join(
        (ROOT / name).read_text("utf-8")
        for name in (
            "streams/app/rate_files.py",
            "streams/domain/rate_cards.py",
            "streams/adapters/marked_text.py",
        )
    )
    rows = re.findall(r"^\| (`.*?`) \|", GUIDE.split("## Faults")[1], re.MULTILINE)
    texts = [text for row in rows for text in re.findall(r"`(.*?)`", row)]
    assert len(texts) > 10
    assert [text for text in texts if text.removesuffix(" …") not in source] == []
