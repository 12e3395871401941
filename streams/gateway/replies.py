"""What is sent back, as bytes: made from Structs, models or plain values by the one encoder."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from schemas import codec

JSON = b"application/json"


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, ready to be sent. Content length and request id are added by the application."""

    status: int
    body: bytes = b""
    media_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


def json_response(
    status: int, value: Any, headers: Mapping[str, str] | None = None, media_type: bytes = JSON
) -> Response:
    """A JSON answer. `value` holds Structs, dicts, lists, texts, integers, booleans and None; never
    a float."""
    return Response(
        status,
        codec.encode(value),
        media_type,
        tuple((name.encode(), text.encode()) for name, text in (headers or {}).items()),
    )
