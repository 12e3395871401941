"""The native API: all of its routes."""

from typing import Final

from streams.gateway import accounts, events, preflights, statement
from streams.gateway.routes import Route

ROUTES: Final[tuple[Route, ...]] = (
    *preflights.ROUTES,
    *events.ROUTES,
    *accounts.ROUTES,
    *statement.ROUTES,
)
