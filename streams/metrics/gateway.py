"""What a gateway measures: requests, problems, appends, asks of the log."""

from typing import Final

from streams.metrics.registry import Metric

GATEWAY_REQUESTS: Final = Metric(
    "tollgate_gateway_requests_total",
    "counter",
    "Requests answered, by route and HTTP status.",
    ("route", "status"),
)
GATEWAY_SECONDS: Final = Metric(
    "tollgate_gateway_request_seconds",
    "histogram",
    "From the request's headers to its answer, by route.",
    ("route",),
)
GATEWAY_PROBLEMS: Final = Metric(
    "tollgate_gateway_problems_total",
    "counter",
    "Requests and single events that were not accepted, by problem code.",
    ("code",),
)
GATEWAY_IN_FLIGHT: Final = Metric(
    "tollgate_gateway_requests_in_flight", "gauge", "Requests that are being answered."
)
GATEWAY_APPENDED: Final = Metric(
    "tollgate_gateway_records_appended_total",
    "counter",
    "Records that the log acknowledged, by topic.",
    ("topic",),
)
GATEWAY_ASKS: Final = Metric(
    "tollgate_gateway_asks_total",
    "counter",
    "Asks of the log answered, by kind and outcome.",
    ("kind", "outcome"),
)
GATEWAY_ASKS_AGAIN: Final = Metric(
    "tollgate_gateway_asks_again_total",
    "counter",
    "Tries at asks of the log that nobody could decide, by problem code.",
    ("code",),
)
GATEWAY_ASKS_OPEN: Final = Metric(
    "tollgate_gateway_asks_open", "gauge", "Asks of the log that were read and are not answered."
)

GATEWAY_CATALOG_BEHIND: Final = Metric(
    "tollgate_gateway_catalog_behind_seconds",
    "gauge",
    "Since the gateway last heard from the broker about keys, prices and rules.",
)
GATEWAY_CERTIFICATE_ENDS: Final = Metric(
    "tollgate_gateway_certificate_expires_seconds",
    "gauge",
    "When the certificate that the gateway has read ends, in Unix time.",
)

GATEWAY: Final = (
    GATEWAY_REQUESTS,
    GATEWAY_SECONDS,
    GATEWAY_PROBLEMS,
    GATEWAY_IN_FLIGHT,
    GATEWAY_APPENDED,
    GATEWAY_ASKS,
    GATEWAY_ASKS_AGAIN,
    GATEWAY_ASKS_OPEN,
    GATEWAY_CATALOG_BEHIND,
    GATEWAY_CERTIFICATE_ENDS,
)
"""All of them, in the order in which they are shown."""
