"""`GET /v1/customers/{id}/entries`: what a customer's ledger says, from the rows that have reached
ClickHouse."""

import logging
import re
from typing import Final

from streams.errors import TollgateError
from streams.gateway.messages import EntriesTold
from streams.gateway.ports import Scope
from streams.gateway.problems import ProblemError
from streams.gateway.replies import Response, json_response
from streams.gateway.routes import Described, Parameter, Request, Route
from streams.gateway.services import Services
from streams.gateway.validation import check_account

log = logging.getLogger(__name__)

ENTRIES_MAX: Final = 1_000
"""Entries of one page: some 400 KB."""

ENTRIES_DEFAULT: Final = 100
"""Entries of a page where the client does not say."""

_PLACE: Final = re.compile(r"([0-9]{1,9})-([0-9]{1,19})\Z")


async def get_entries(services: Services, request: Request) -> Response:
    """A page of entries, the newest first, and where the next one begins."""
    customer_id = check_account("customer_id", request.params["customer_id"])
    request.caller.require_customer(customer_id)
    before, rows_max = _before(request), _limit(request)
    if services.entries is None:
        raise ProblemError("unavailable", "this gateway reads no ClickHouse")
    try:
        found = await services.entries.entries(customer_id, before, rows_max)
    except TollgateError as error:
        # What happened there may name hosts and users; an operator finds it in the log.
        log.warning("request %s: entries cannot be read: %s", request.request_id, error.message)
        raise ProblemError("unavailable", "the entries cannot be read at the moment") from error
    more = len(found) == rows_max
    return json_response(
        200,
        {
            "customer_id": customer_id,
            "entries": found,
            "next": found[-1]["place"] if more else None,
        },
    )


def _before(request: Request) -> tuple[int, int] | None:
    text = request.query.get("before")
    if text is None:
        return None
    match = _PLACE.match(text)
    if match is None:
        raise ProblemError("bad_query", "before: the `next` of a page", field="before")
    return int(match[1]), int(match[2])


def _limit(request: Request) -> int:
    text = request.query.get("limit", str(ENTRIES_DEFAULT))
    if not re.fullmatch(r"[0-9]{1,4}", text, re.ASCII) or not 1 <= int(text) <= ENTRIES_MAX:
        raise ProblemError("bad_query", f"limit: 1 to {ENTRIES_MAX}", field="limit")
    return int(text)


ROUTES: Final = (
    Route(
        "GET",
        "/v1/customers/{customer_id}/entries",
        get_entries,
        Scope.READ,
        name="getEntries",
        summary="The entries of a customer's ledger, the newest first",
        answers={200: Described("A page", EntriesTold)},
        problems=("invalid_field", "bad_query", "customer_not_allowed", "unavailable"),
        parameters=(
            Parameter("before", "query", "`next` of the page before; the newest without it"),
            Parameter(
                "limit", "query", f"Entries of the page: {ENTRIES_DEFAULT}, 1 … {ENTRIES_MAX}"
            ),
        ),
    ),
)
