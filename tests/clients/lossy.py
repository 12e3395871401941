"""A way to a gateway on which answers get lost: the request arrives, the client is told 503."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import requests

Send = Callable[[dict[str, Any]], Awaitable[None]]

SECONDS: Final = 30

PASSED_ON: Final = frozenset(
    {b"authorization", b"content-type", b"content-encoding", b"idempotency-key", b"traceparent"}
)


class Lossy:
    """An ASGI application in front of a URL. The next `losing` answers are lost; `arrived` lists
    method and path of what came."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.losing = 0
        self.arrived: list[tuple[str, str]] = []

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {n.decode(): v.decode() for n, v in scope["headers"] if n in PASSED_ON}
        self.arrived.append((scope["method"], scope["path"]))
        answer = await asyncio.to_thread(
            requests.request,
            scope["method"],
            self.url + scope["raw_path"].decode(),
            params=scope["query_string"].decode(),
            data=body,
            headers=headers,
            timeout=SECONDS,
        )
        status, content = answer.status_code, answer.content
        if self.losing:
            self.losing -= 1
            status, content = 503, b'{"error": "lost"}'
        kind = answer.headers.get("content-type", "application/json").encode()
        await send(
            {"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]}
        )
        await send({"type": "http.response.body", "body": content})
