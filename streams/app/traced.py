"""A gateway whose requests make spans: the request, and below it each append and each ask of an
owner. Around the application and its ports, so that neither knows of traces."""

from collections.abc import Sequence
from typing import Any

from schemas.rpc import Answer, Ask
from streams.adapters.spans import Spans
from streams.errors import TransientError
from streams.gateway.app import NO_ROUTE, ROUTE_NAME, Gateway
from streams.gateway.ports import Appended, Inbound, Owners


class TracedGateway:
    """An ASGI application around the gateway's."""

    def __init__(self, gateway: Gateway, spans: Spans) -> None:
        self._gateway = gateway
        self._spans = spans

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One connection of the server."""
        if scope["type"] != "http":
            await self._gateway(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): text.decode("latin-1") for name, text in scope["headers"]
        }
        with self._spans.request(headers) as found:

            async def watched(message: Any) -> None:
                if message["type"] == "http.response.start":
                    found["http.response.status_code"] = message["status"]
                await send(message)

            await self._gateway(scope, receive, watched)
            route = scope.get(ROUTE_NAME, NO_ROUTE)
            found |= {"name": route, "http.route": route, "http.request.method": scope["method"]}


class TracedOwners:
    """`streams.gateway.ports.Owners` with a span for each ask."""

    def __init__(self, owners: Owners, spans: Spans) -> None:
        self._owners = owners
        self._spans = spans

    async def ask(self, partition: int, ask: Ask, timeout_seconds: float) -> Answer:
        """See `ports.Owners`."""
        kind = type(ask).__name__.removesuffix("Ask").lower()
        with self._spans.step(f"ask {kind}", {"tollgate.partition": partition}):
            return await self._owners.ask(partition, ask, timeout_seconds)


class TracedInbound:
    """`streams.gateway.ports.Inbound` with a span for each append."""

    def __init__(self, inbound: Inbound, spans: Spans) -> None:
        self._inbound = inbound
        self._spans = spans

    async def append(
        self, topic: str, records: Sequence[tuple[bytes, bytes]]
    ) -> list[Appended | TransientError]:
        """See `ports.Inbound`."""
        attributes: dict[str, str | int] = {
            "messaging.destination.name": topic,
            "tollgate.records": len(records),
        }
        with self._spans.step(f"append {topic}", attributes):
            return await self._inbound.append(topic, records)
