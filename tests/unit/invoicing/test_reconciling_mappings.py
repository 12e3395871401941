"""Mappings: their faults, those that are shipped, and what the guide shows of them."""

import json
import re
import subprocess
import sys
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from streams.app.reconciling import Names, find_mapping
from streams.domain.prices import EMPTY_BOOK
from streams.errors import SetupError
from streams.invoicing.reconciling.exports import Export, Key, read_export
from streams.invoicing.reconciling.mapping import ALL_MODELS, Mapping, read_mapping

UTC = ZoneInfo("UTC")
FIRST = date(2026, 10, 1)
PLAIN: dict[str, Any] = {
    "format": "tollgate-reconcile/1",
    "providers": ["openai"],
    "day": {"column": "day"},
    "model": {"column": "model"},
    "amount": {"column": "cost"},
    "currency": {"value": "USD"},
}


def read(text: str, into: Mapping) -> Export:
    return read_export(text.splitlines(True), into, str, UTC)


# --- mappings ------------------------------------------------------------------------------------


def test_a_mapping_that_is_wrong_names_every_fault(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(
        json.dumps(
            PLAIN
            | {
                "zone": "Mars/Olympus",
                "tolerance": "-1",
                "day": {"column": "day", "format": "american"},
                "model": {"column": "model", "pattern": "(.*)"},
                "currency": {},
                "colour": "red",
            }
        )
    )
    with pytest.raises(SetupError) as refused:
        read_mapping(path)
    for fault in ("zone:", "tolerance:", "day:", "model.pattern:", "currency:", "colour:"):
        assert fault in refused.value.message


def test_an_amount_of_a_mapping_never_is_a_float(tmp_path: Path) -> None:
    for name, text in (
        ("a.json", json.dumps(PLAIN)[:-1] + ', "tolerance": 0.1}'),
        ("a.yaml", json.dumps(PLAIN)[:-1] + ', "tolerance": 0.1}'),
    ):
        (tmp_path / name).write_text(text)
        assert read_mapping(tmp_path / name).tolerance == "0.1"


@pytest.mark.parametrize("text", ["", "- a", "{", "a: [", "x" * 200_000, "\x00"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(SetupError, match="cannot be used"):
        read_mapping(path)


def test_an_unknown_mapping_names_those_that_are_shipped() -> None:
    with pytest.raises(SetupError, match=r"anthropic-console, .*openai-costs"):
        find_mapping("nonesuch")


# --- what is shipped -----------------------------------------------------------------------------

OPENAI = """\
start_time,end_time,start_time_iso,end_time_iso,amount_value,amount_currency,line_item,project_id
1790812800,1790899200,,,0.0000045000000000000000000000,usd,"gpt-4o-mini-2024-07-18, input",p
1790812800,1790899200,,,0E-6176,usd,"gpt-4o-mini-2024-07-18, cached input",p
1790812800,1790899200,,,0.0000342,usd,"gpt-4o-mini-2024-07-18, output",p
1790812800,1790899200,,,0.5,usd,"gpt-audio-mini-2025-12-15 audio, input",p
1790812800,1790899200,,,0.25,usd,web search tool calls,p
1790812800,1790899200,,,0.125,usd,"evals | gpt-4o-mini-2024-07-18, input",p
1790899200,1790985600,,,,,,
"""


def test_line_items_of_openai_become_models_and_token_classes() -> None:
    found = read_export(OPENAI.splitlines(True), find_mapping("openai-costs"), str, UTC)
    assert not found.bad
    assert found.skipped == 1
    assert {key.model: cell.cost for key, cell in found.cells.items()} == {
        "gpt-4o-mini-2024-07-18": Fraction("0.0000387"),
        "gpt-audio-mini-2025-12-15": Fraction("0.5"),
        "web search tool calls": Fraction("0.25"),
        "evals | gpt-4o-mini-2024-07-18, input": Fraction("0.125"),
    }
    cell = found.cells[Key(FIRST, "gpt-4o-mini-2024-07-18", "USD")]
    assert cell.classes == {
        "input": Fraction("0.0000045"),
        "cache_read": 0,
        "output": Fraction("0.0000342"),
    }


def test_an_export_of_openai_by_day_alone_has_one_model() -> None:
    found = read_export(OPENAI.splitlines(True), find_mapping("openai-costs-daily"), str, UTC)
    assert list(found.cells) == [Key(FIRST, ALL_MODELS, "USD")]


def test_display_names_of_anthropic_become_names_of_models() -> None:
    found = read(
        "usage_date_utc,model,workspace,token_type,cost_usd,list_price_usd\n"
        "2026-10-01,Claude Haiku 4.5,Default,input_no_cache,0.05,0.05\n"
        "2026-10-01,Claude Haiku 4.5,Default,input_cache_read,0.10,1.00\n"
        "2026-10-01,,Default,,0.20,0.20\n",
        find_mapping("anthropic-console"),
    )
    assert {key.model for key in found.cells} == {"claude-haiku-4-5", "(no model)"}
    cell = found.cells[Key(FIRST, "claude-haiku-4-5", "USD")]
    assert cell.classes == {"input": Fraction("0.05"), "cache_read": Fraction("0.1")}


def test_amounts_of_anthropics_report_are_cents() -> None:
    found = read(
        "starting_at,currency,amount,model,token_type\n"
        "2026-10-01T00:00:00Z,USD,123.45,claude-opus-4-6,output_tokens\n",
        find_mapping("anthropic-cost-report"),
    )
    assert found.cells[Key(FIRST, "claude-opus-4-6", "USD")].cost == Fraction("1.2345")


def test_every_shipped_mapping_says_where_its_columns_come_from() -> None:
    shelf = Path(__file__).parents[3] / "deploy/reconcile"
    for path in shelf.glob("*.yaml"):
        assert read_mapping(path).providers
        if path.stem != "example":
            assert "Sources" in path.read_text() or "https://" in path.read_text()


def test_without_a_book_names_stay_as_they_are() -> None:
    names = Names(Mapping.model_validate(PLAIN), EMPTY_BOOK)
    assert names.exported("gpt-9") == "gpt-9"
    assert names.booked("OpenAI", "gpt-9") == "gpt-9"
    assert names.booked("other", "gpt-9") is None


# --- what docs/reconciliation.md shows ------------------------------------------------------------

PAGES = {
    "anthropic-cost-report": {
        "data": [
            {
                "starting_at": "2026-10-01T00:00:00Z",
                "ending_at": "2026-10-02T00:00:00Z",
                "results": [
                    {
                        "amount": "123.78912",
                        "context_window": "0-200k",
                        "cost_type": "tokens",
                        "currency": "USD",
                        "description": "Claude Sonnet 4 Usage - Input Tokens",
                        "model": "claude-opus-4-6",
                        "service_tier": "standard",
                        "token_type": "uncached_input_tokens",
                        "workspace_id": None,
                    },
                    {
                        "amount": "1",
                        "context_window": None,
                        "cost_type": "web_search",
                        "currency": "USD",
                        "description": "Web Search Usage",
                        "model": None,
                        "service_tier": None,
                        "token_type": None,
                        "workspace_id": None,
                    },
                ],
            }
        ],
        "has_more": False,
        "next_page": None,
    },
    "openai-costs": {
        "object": "page",
        "data": [
            {
                "object": "bucket",
                "start_time": 1790812800,
                "end_time": 1790899200,
                "results": [
                    {
                        "object": "organization.costs.result",
                        "amount": {"value": 0.06, "currency": "usd"},
                        "line_item": "gpt-4o-2024-08-06, input",
                        "project_id": None,
                    }
                ],
            },
            {"object": "bucket", "start_time": 1790899200, "end_time": 1790985600, "results": []},
        ],
        "has_more": False,
        "next_page": None,
    },
}
DUE = {
    "anthropic-cost-report": {
        "claude-opus-4-6": Fraction("1.2378912"),
        "(no model)": Fraction("0.01"),
    },
    "openai-costs": {"gpt-4o-2024-08-06": Fraction("0.06")},
}


@pytest.mark.parametrize(("number", "name"), list(enumerate(PAGES)))
def test_the_scripts_of_the_guide_make_what_the_mappings_read(
    tmp_path: Path, number: int, name: str
) -> None:
    guide = (Path(__file__).parents[3] / "docs/reconciliation.md").read_text()
    script = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)[number]
    (tmp_path / "pages.jsonl").write_text(json.dumps(PAGES[name]) + "\n")
    made = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    found = read_export(made.stdout.splitlines(True), find_mapping(name), str, UTC)
    assert not found.bad
    assert {key.model: cell.cost for key, cell in found.cells.items()} == DUE[name]
