"""Stand-ins of AI providers: the shapes that the recordings show, whole and streamed."""

import itertools
import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

Send = Callable[[dict[str, Any]], Awaitable[None]]

CHAT_USAGE: Final = {
    "prompt_tokens": 1200,
    "completion_tokens": 345,
    "total_tokens": 1545,
    "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 64, "audio_tokens": 0},
}
CHAT_TOKENS: Final = 1_545
ANTHROPIC_USAGE: Final = {
    "input_tokens": 410,
    "output_tokens": 222,
    "cache_creation_input_tokens": 1500,
    "cache_read_input_tokens": 3000,
    "cache_creation": {"ephemeral_5m_input_tokens": 1500, "ephemeral_1h_input_tokens": 0},
    "service_tier": "standard",
}
ANTHROPIC_TOKENS: Final = 5_132


class Providers:
    """Both providers. `fixed_id` makes every response carry the same id, as some servers do. A
    model whose name begins with `priced-` answers under it, the others under a real one's."""

    def __init__(self) -> None:
        self.url = ""
        self.fixed_id = ""
        self.calls = 0
        self._asked = ""
        self._numbers = itertools.count(1)

    def _model(self, real: str) -> str:
        return self._asked if self._asked.startswith("priced-") else real

    def _id(self, prefix: str) -> str:
        return self.fixed_id or f"{prefix}_{next(self._numbers)}"

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.calls += 1
        await self.answer(scope["path"], json.loads(body), send)

    async def answer(self, path: str, asked: Any, send: Send) -> None:
        """Answers one call, whose body was JSON."""
        self._asked, streamed = str(asked["model"]), asked.get("stream", False)
        if asked["model"] == "boom":
            await send_json(send, 400, {"error": {"message": "bad model", "type": "invalid"}})
        elif path.endswith("/chat/completions"):
            missing = asked["model"] == "silent"
            if streamed:
                told = asked.get("stream_options", {}).get("include_usage", False)
                await _send_events(send, self._chat_chunks(usage=told and not missing))
            else:
                await send_json(send, 200, self._chat(missing=missing))
        elif path.endswith("/responses"):
            await send_json(send, 200, self._response())
        elif path.endswith("/embeddings"):
            await send_json(send, 200, self._embeddings())
        elif streamed:
            await _send_events(send, self._message_events(), named=True)
        else:
            await send_json(send, 200, self._message())

    def _chat(self, *, missing: bool) -> dict[str, Any]:
        choice = {"index": 0, "finish_reason": "stop", "logprobs": None}
        choice["message"] = {"role": "assistant", "content": "Hello", "refusal": None}
        answer = {
            "id": self._id("chatcmpl"),
            "object": "chat.completion",
            "created": 1763650000,
            "model": self._model("gpt-4o-mini-2024-07-18"),
            "service_tier": "default",
            "choices": [choice],
        }
        return answer if missing else answer | {"usage": CHAT_USAGE}

    def _chat_chunks(self, *, usage: bool) -> Iterable[dict[str, Any]]:
        head = {
            "id": self._id("chatcmpl"),
            "object": "chat.completion.chunk",
            "created": 1763650000,
            "model": self._model("gpt-4o-mini-2024-07-18"),
        }
        for word in ("Hel", "lo"):
            delta = {"index": 0, "delta": {"content": word}, "finish_reason": None}
            yield head | {"choices": [delta]}
        if usage:
            yield head | {"choices": [], "usage": CHAT_USAGE}

    def _response(self) -> dict[str, Any]:
        text = {"type": "output_text", "text": "Hello", "annotations": []}
        message = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant"}
        return {
            "id": self._id("resp"),
            "object": "response",
            "created_at": 1763650000,
            "status": "completed",
            "model": self._model("gpt-5-mini-2025-08-07"),
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "output": [message | {"content": [text]}],
            "usage": {
                "input_tokens": 900,
                "input_tokens_details": {"cached_tokens": 256},
                "output_tokens": 210,
                "output_tokens_details": {"reasoning_tokens": 128},
                "total_tokens": 1110,
            },
        }

    def _embeddings(self) -> dict[str, Any]:
        return {
            "object": "list",
            "model": self._model("text-embedding-3-small"),
            "data": [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}],
            "usage": {"prompt_tokens": 8, "total_tokens": 8},
        }

    def _message(self) -> dict[str, Any]:
        return {
            "id": self._id("msg"),
            "type": "message",
            "role": "assistant",
            "model": self._model("claude-sonnet-4-5-20250929"),
            "content": [{"type": "text", "text": "Hello"}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": ANTHROPIC_USAGE,
        }

    def _message_events(self) -> Iterable[dict[str, Any]]:
        opening = self._message() | {"content": [], "stop_reason": None}
        yield {
            "type": "message_start",
            "message": opening | {"usage": ANTHROPIC_USAGE | {"output_tokens": 1}},
        }
        block = {"type": "text", "text": ""}
        yield {"type": "content_block_start", "index": 0, "content_block": block}
        delta = {"type": "text_delta", "text": "Hello"}
        yield {"type": "content_block_delta", "index": 0, "delta": delta}
        yield {"type": "content_block_stop", "index": 0}
        yield {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 222},
        }
        yield {"type": "message_stop"}


async def send_json(send: Send, status: int, value: object) -> None:
    """A whole answer in JSON."""
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(value).encode()})


async def _send_events(send: Send, events: Iterable[dict[str, Any]], named: bool = False) -> None:
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for event in events:
        name = f"event: {event['type']}\n" if named else ""
        part = f"{name}data: {json.dumps(event)}\n\n".encode()
        await send({"type": "http.response.body", "body": part, "more_body": True})
    last = b"" if named else b"data: [DONE]\n\n"
    await send({"type": "http.response.body", "body": last})
