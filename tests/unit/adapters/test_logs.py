"""A line of the log is one line, whoever has a say in what it says."""

import json
import logging
import sys
from typing import Any, Final

import pytest

from streams.adapters.logs import FIELDS, MESSAGE_CHARS_MAX, JsonLines, TextLines

FORGED: Final = "a\n2026-01-01 00:00:00,000 INFO forged: paid\r\x1b[2K\u2028b\x85c"


def record(message: str, *values: object, **fields: Any) -> logging.LogRecord:
    made = logging.LogRecord("streams.x", logging.WARNING, "", 1, message, values, None)
    made.created = 1_767_225_600.25
    made.__dict__.update(fields)
    return made


def test_a_json_line_tells_when_how_bad_who_and_what() -> None:
    assert json.loads(JsonLines().format(record("%d of %s", 3, "usage"))) == {
        "time": "2026-01-01T00:00:00.250Z",
        "level": "warning",
        "logger": "streams.x",
        "message": "3 of usage",
    }


def test_a_json_line_has_the_fields_that_the_message_is_about_and_no_others() -> None:
    line = json.loads(JsonLines().format(record("x", request_id="r1", partition=7, secret="s")))
    assert line["request_id"] == "r1"
    assert line["partition"] == 7
    assert "secret" not in line
    assert set(FIELDS).isdisjoint({"time", "level", "logger", "message", "exception"})


@pytest.mark.parametrize("form", [JsonLines(), TextLines()], ids=["json", "text"])
def test_nobody_can_make_a_line_that_we_did_not_write(form: logging.Formatter) -> None:
    line = form.format(record("request %s", FORGED, request_id=FORGED))
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line


@pytest.mark.parametrize("form", [JsonLines(), TextLines()], ids=["json", "text"])
def test_what_an_exception_says_cannot_look_like_a_message(form: logging.Formatter) -> None:
    made = record("it failed")
    try:
        raise ValueError(FORGED)
    except ValueError:
        made.exc_info = sys.exc_info()
    first, *others = form.format(made).splitlines()
    assert "it failed" in first
    assert all(line.startswith("  ") for line in others)


def test_a_traceback_is_a_field_of_its_line() -> None:
    made = record("it failed")
    try:
        raise ValueError("why")
    except ValueError:
        made.exc_info = sys.exc_info()
    assert "ValueError: why" in json.loads(JsonLines().format(made))["exception"]


def test_a_message_is_cut_before_a_collector_drops_it() -> None:
    line = json.loads(JsonLines().format(record("%s", "x" * 100_000)))
    assert len(line["message"]) == MESSAGE_CHARS_MAX + 1
