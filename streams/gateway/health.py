"""`/healthz`, `/readyz`, `/metrics`, `/openapi.json`: the gateway about itself."""

from collections.abc import Callable
from typing import Final

from streams.gateway.ports import Scope
from streams.gateway.problems import ProblemError
from streams.gateway.replies import Response, json_response
from streams.gateway.routes import Described, Request, Route
from streams.gateway.services import Services

METRICS_TEXT: Final = b"text/plain; version=0.0.4; charset=utf-8"


async def get_health(_services: Services, _request: Request) -> Response:
    """Says that the process answers."""
    return json_response(200, {"status": "ok"})


async def get_readiness(services: Services, _request: Request) -> Response:
    """Says whether requests can be served: the catalog is read and the log can be reached."""
    missing = services.not_ready()
    if missing:
        raise ProblemError("unavailable", missing)
    return json_response(200, {"status": "ready"})


async def get_metrics(services: Services, _request: Request) -> Response:
    """The metrics as text."""
    return Response(200, services.metrics.text().encode(), METRICS_TEXT)


def health_routes(describe: Callable[[], bytes]) -> list[Route]:
    """The routes of this module; `describe` makes `/openapi.json`."""

    async def get_description(_services: Services, _request: Request) -> Response:
        return Response(200, describe())

    return [
        Route(
            "GET",
            "/healthz",
            get_health,
            None,
            name="getHealth",
            summary="Whether the process answers",
            group="operation",
            answers={200: Described("It does")},
        ),
        Route(
            "GET",
            "/readyz",
            get_readiness,
            None,
            name="getReadiness",
            summary="Whether requests can be served",
            group="operation",
            answers={200: Described("They can")},
            problems=("unavailable",),
        ),
        Route(
            "GET",
            "/metrics",
            get_metrics,
            Scope.READ,
            name="getMetrics",
            summary="Metrics in the Prometheus text format",
            group="operation",
            answers={200: Described("The metrics", media_type="text/plain")},
        ),
        Route(
            "GET",
            "/openapi.json",
            get_description,
            None,
            name="getDescription",
            summary="This description",
            group="operation",
            answers={200: Described("OpenAPI 3.1")},
        ),
    ]
