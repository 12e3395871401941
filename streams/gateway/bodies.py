"""The body of a request: read under a deadline, decompressed under a limit, never deeper than
allowed.

Knows content encodings and JSON's brackets, and nothing of what a body means.
"""

import asyncio
import json
import re
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import cramjam

from streams.gateway.problems import ProblemError
from streams.gateway.routes import Headers

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

BODY_SECONDS: Final = 10.0
"""Within which a body arrives. 4 MiB take that long at 3.4 Mbit/s; who is slower sends fewer events
at once."""

JSON_DEPTH_MAX: Final = 32
"""Objects and arrays inside each other. No body that is accepted needs more than six; parsers grow
their stack with it."""

_GZIP_WINDOW: Final = 31
"""zlib's number for a gzip header, and nothing else, before 32 KiB of window."""

_ZLIB_WINDOW: Final = 15
"""The same for a zlib header, which is what HTTP calls deflate."""

_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[{]|[\]}]', re.DOTALL)


class ClientGoneError(Exception):
    """The client closed the connection before its request was whole."""


async def read_body(
    receive: Receive, headers: Headers, bytes_max: int, *, is_here: bool = False
) -> bytes:
    """The whole body, decompressed, of at most `bytes_max` bytes before and after. One of which
    the server knows that it `is_here` needs no deadline.

    Raises ProblemError (oversized, bad_encoding, unsupported_encoding, body_timeout) and
    ClientGoneError.
    """
    declared = headers.get("content-length", "0")
    if declared.isdecimal() and int(declared[:20]) > bytes_max:
        raise _oversized(bytes_max)
    if is_here:
        raw = await _read(receive, bytes_max)
    else:
        raw = await _read_in_time(receive, bytes_max)
    return _decompressed(raw, headers.get("content-encoding", "").strip().lower(), bytes_max)


async def _read_in_time(receive: Receive, bytes_max: int) -> bytes:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _read(receive, bytes_max)
    except TimeoutError:
        raise ProblemError(
            "body_timeout",
            f"the body did not arrive within {BODY_SECONDS:.0f} s",
            headers={"connection": "close"},
        ) from None


async def _read(receive: Receive, bytes_max: int) -> bytes:
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        whole: bytes = message.get("body", b"")
        if len(whole) > bytes_max:
            raise _oversized(bytes_max)
        return whole
    parts, size = [], 0
    while True:
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        part = message.get("body", b"")
        parts.append(part)
        size += len(part)
        if size > bytes_max:
            raise _oversized(bytes_max)
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()


def _oversized(bytes_max: int) -> ProblemError:
    # The rest of the body is not read: the connection cannot be used for another request.
    return ProblemError(
        "oversized",
        f"the body may have {bytes_max} bytes, decompressed",
        headers={"connection": "close"},
    )


def _decompressed(raw: bytes, encoding: str, bytes_max: int) -> bytes:
    if encoding in ("", "identity"):
        return raw
    if encoding == "gzip":
        return _inflated(raw, bytes_max, _GZIP_WINDOW, encoding)
    if encoding == "zstd":
        return _unpacked_zstd(raw, bytes_max)
    if encoding == "deflate":
        return _inflated(raw, bytes_max, _ZLIB_WINDOW, encoding)
    raise ProblemError(
        "unsupported_encoding",
        "content-encoding may be gzip, deflate or zstd",
        headers={"accept-encoding": "gzip, deflate, zstd"},
    )


def _inflated(raw: bytes, bytes_max: int, window: int, encoding: str) -> bytes:
    stream = zlib.decompressobj(window)
    try:
        content = stream.decompress(raw, bytes_max + 1)
    except zlib.error as error:
        raise ProblemError("bad_encoding", f"not {encoding}: {error}") from None
    if len(content) > bytes_max:
        raise _oversized(bytes_max)
    if not stream.eof or stream.unused_data:
        raise ProblemError("bad_encoding", f"not one whole {encoding} stream")
    return content


def _unpacked_zstd(raw: bytes, bytes_max: int) -> bytes:
    # A buffer of the allowed size, and one byte to tell a larger content from one that fits.
    buffer = bytearray(bytes_max + 1)
    try:
        size = cramjam.zstd.decompress_into(raw, buffer)
    except cramjam.DecompressionError as error:
        if "whole buffer" in str(error):
            raise _oversized(bytes_max) from None
        raise ProblemError("bad_encoding", f"not zstd: {error}") from None
    if size > bytes_max:
        raise _oversized(bytes_max)
    return bytes(memoryview(buffer)[:size])


def check_depth(body: bytes) -> None:
    """Raises ProblemError where brackets stand deeper than JSON_DEPTH_MAX."""
    if body.count(b"{") + body.count(b"[") <= JSON_DEPTH_MAX:
        return
    depth = 0
    for token in _TOKEN.finditer(body):
        first = token.group()[:1]
        if first in b"[{":
            depth += 1
            if depth > JSON_DEPTH_MAX:
                raise ProblemError("too_deep", f"JSON may be {JSON_DEPTH_MAX} levels deep")
        elif first in b"]}":
            depth -= 1


_scan: Final = json.JSONDecoder().raw_decode
_BLANK: Final = re.compile(r"[ \t\n\r]*")


def split_items(body: bytes, items_max: int) -> tuple[list[bytes], bool]:
    """The elements of a JSON array, each as its own bytes, and True; another value as the only
    element, and False.

    The elements are only known to be JSON; what they say is for their decoder. Raises ProblemError
    (empty, malformed, too_many_items).
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise ProblemError("malformed", f"not UTF-8: {error.reason}") from None
    at = _after_blank(text, 0)
    if at == len(text):
        raise ProblemError("empty", "there is no body")
    if text[at] != "[":
        return [body], False
    try:
        items = _array(text, at + 1, items_max)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "not a JSON array"
        raise ProblemError("malformed", f"not JSON: {reason}") from None
    if not items:
        raise ProblemError("empty", "an array without elements")
    return items, True


def _after_blank(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    return match.end() if match else at


def _array(text: str, at: int, items_max: int) -> list[bytes]:
    items: list[bytes] = []
    at = _after_blank(text, at)
    if text[at : at + 1] == "]":
        _check_end(text, at + 1)
        return items
    while True:
        if len(items) == items_max:
            raise ProblemError("too_many_items", f"one request may have {items_max} items")
        end = _scan(text, at)[1]
        items.append(text[at:end].encode())
        at = _after_blank(text, end)
        follows = text[at : at + 1]
        if follows == "]":
            _check_end(text, at + 1)
            return items
        if follows != ",":
            raise json.JSONDecodeError("expected ',' or ']'", "", at)
        at = _after_blank(text, at + 1)


def _check_end(text: str, at: int) -> None:
    if _after_blank(text, at) != len(text):
        raise json.JSONDecodeError("something follows the array", "", at)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_loads: Final = json.JSONDecoder(parse_constant=_refuse_constant).decode


def parse_object(body: bytes) -> dict[str, Any]:
    """A JSON object as plain values, for small bodies. Raises ProblemError (empty, malformed,
    too_deep)."""
    check_depth(body)
    if not body.strip():
        raise ProblemError("empty", "there is no body")
    try:
        parsed = _loads(body.decode())
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "not JSON in UTF-8"
        raise ProblemError("malformed", f"not JSON: {reason}") from None
    if not isinstance(parsed, dict):
        raise ProblemError("malformed", "not a JSON object")
    return parsed
