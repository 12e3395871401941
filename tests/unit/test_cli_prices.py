"""Options and texts of `tollgate prices` and `tollgate rerate`, without any server."""

import json
from typing import Any

import click
import pytest

from streams.app.prices import Change, Listed, Shown
from streams.app.rerating import Correction, Rerating
from streams.cli import main
from streams.cli.price_texts import (
    change_dict,
    named_dict,
    override_dict,
    parse_match,
    parse_pairs,
    parse_quantities,
    parse_rates,
    print_changes,
    print_models,
    print_overrides,
    print_shown,
)
from streams.cli.rerate import as_dict, by_model, show
from streams.domain.overrides import make_ready
from streams.domain.prices import NamedRates, QuantityRate, TieredRate
from streams.domain.rating import Rating
from tests.builders import NOON_US, catalog_record
from tests.unit.app.test_rerating import rated

PICO = 10**12
NAMED = NamedRates(
    {"input": TieredRate(5 * PICO // 2, ((200_000, 5 * PICO),)), "input_audio": TieredRate(PICO)},
    {"web_searches": QuantityRate(10 * PICO, 1000)},
)


def test_rates_are_read_with_their_tiers() -> None:
    assert parse_rates(["input=2.5,200000:5,400000:6", "output=1"]) == {
        "input": {"base": "2.5", "tiers": [[200_000, "5"], [400_000, "6"]]},
        "output": {"base": "1"},
    }
    assert parse_quantities(["web_searches=10/1000", "images=0.04"]) == {
        "web_searches": {"price": "10", "per": 1000},
        "images": {"price": "0.04", "per": 1},
    }
    assert parse_pairs("--when", ["processing=batch"]) == {"processing": "batch"}
    assert parse_match("starts_with=gpt=4") == {"starts_with": "gpt=4"}


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_rates, ["input"]),
        (parse_rates, ["input=1,x:2"]),
        (parse_rates, ["input=1,5"]),
        (parse_quantities, ["a=1/many"]),
        (parse_match, "sounds=x"),
        (parse_match, "equals"),
    ],
)
def test_what_is_no_price_is_refused(parse: Any, text: Any) -> None:
    with pytest.raises(click.BadParameter):
        parse(text)


def test_an_override_without_a_model_is_a_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["prices", "override", "x", "--multiplier", "2"]) == 2
    assert main.run(["prices", "override", "x", "--model=a", "--match=equals=a"]) == 2
    assert "--model NAME or --match" in capsys.readouterr().err


def test_prices_are_printed_exactly(capsys: pytest.CaptureFixture[str]) -> None:
    print_models([Listed("lab/small", NAMED, 2)])
    out = capsys.readouterr().out
    assert "lab/small" in out
    assert "2.5+" in out
    assert "input_audio, web_searches, 2 variants" in out
    record = catalog_record(
        "price_override",
        match={"starts_with": "sm"},
        multiplier="0.8",
        when={"processing": "batch"},
        effective_from=NOON_US,
    )
    print_overrides([make_ready(record)])
    out = capsys.readouterr().out
    assert "× 0.8" in out
    assert "starts_with sm when processing=batch" in out
    assert "2026-01-15T12:00:00.000000Z" in out
    assert override_dict(record)["effective_from"] == "2026-01-15T12:00:00.000000Z"
    print_shown(Shown("b@1", "lab/small", NAMED, make_ready(record), (({"a": "b"}, NAMED),)))
    out = capsys.readouterr().out
    assert "200,000" in out
    assert "when a=b: input 2.5+" in out
    assert named_dict(NAMED)["usd_per_million_tokens"]["input"] == {
        "base": "2.5",
        "tiers": [[200_000, "5"]],
    }


def test_differences_are_printed_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    changes = [
        Change("lab/a", "added"),
        Change("lab/b", "changed", "input", PICO, None),
        Change("lab/c", "other"),
    ]
    print_changes(changes)
    lines = capsys.readouterr().out.splitlines()
    assert [line[:1] for line in lines[2:]] == ["+", "~", "~"]
    assert "other times, tiers or conditions" in lines[-1]
    assert change_dict(changes[1]) == {
        "model": "lab/b",
        "change": "changed",
        "what": "input",
        "before": "1",
        "after": None,
    }


def test_a_run_is_summed_by_model(capsys: pytest.CaptureFixture[str]) -> None:
    rating = Rating(3 * PICO, "USD", "priced")
    corrections = [
        Correction(rated(), rating, 0),
        Correction(rated(), rating, 0),
        Correction(rated("a"), rating, 0),
    ]
    found = Rerating("b@1", corrections, [rated()], 4)
    assert by_model(corrections) == [
        ("lab", "small", 2, 30 * PICO, 6 * PICO),
        ("lab", "a", 1, 15 * PICO, 3 * PICO),
    ]
    said = as_dict(found, 0)
    assert json.dumps(said)
    assert (said["looked_at"], said["rise"], said["appended"]) == (8, "-36", 0)
    show(found, 0, does_apply=False)
    printed = capsys.readouterr()
    assert "3 entries to correct by -36 USD" in printed.out
    assert "--apply" in printed.err
