"""Requests that were not served are told, and nobody fills a disk with them."""

import logging

import pytest

from streams.gateway.refused import LINES_PER_SECOND, RefusedLog
from tests.gateway_fakes import World


async def test_a_refused_request_is_told_under_its_id(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="streams.gateway.refused")
    world = World()
    answer = await world.call("GET", "/v1/no-such/secret-path", headers={"X-Request-Id": "r-17"})
    assert answer.status == 404
    (line,) = caplog.records
    told = line.__dict__
    assert (told["request_id"], told["route"], told["status"], told["code"]) == (
        "r-17",
        "none",
        404,
        "not_found",
    )
    assert "secret-path" not in line.getMessage()


async def test_a_request_that_is_served_makes_no_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="streams.gateway.refused")
    assert (await World().call("GET", "/healthz")).status == 200
    assert not caplog.records


@pytest.mark.parametrize("given", ["a b", "a\nb", "x" * 65, "ü", '"', ""])
async def test_an_id_that_could_forge_a_line_is_replaced(
    given: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="streams.gateway.refused")
    answer = await World().call("GET", "/nowhere", headers={"X-Request-Id": given})
    (line,) = caplog.records
    assert line.__dict__["request_id"] == answer.headers["x-request-id"] != given


def test_a_flood_gets_a_few_lines_and_then_a_count(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="streams.gateway.refused")
    told = RefusedLog()
    for number in range(1_000):
        told.tell(f"r{number}", "none", 404, "not_found", 0.001, 100.0)
    assert len(caplog.records) == LINES_PER_SECOND
    told.tell("last", "none", 503, "unavailable", 0.001, 101.0)
    *_, count, last = caplog.records
    assert f"{1_000 - LINES_PER_SECOND} more requests" in count.getMessage()
    assert last.levelno == logging.WARNING
