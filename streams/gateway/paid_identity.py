"""What makes a request of Paid's clients the same one when it comes again.

Their clients send a request up to three times. An item that brings an id is known by it; the others
by what names their request; a request that names itself by nothing is a new one each time, unless
this gateway answered the same bytes with an error that says "again". Content alone is never taken
for a repeat: two equal outcomes are two.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final
from weakref import WeakKeyDictionary

from schemas import codec
from schemas.limits import ID_BYTES_MAX
from streams.gateway.asking import Asking
from streams.gateway.routes import Request
from streams.gateway.services import Services

SOURCE: Final = "paid"
"""Of what brings an id of its own."""

REQUEST_SOURCE: Final = "paid-request"
"""Of what is known by its request: another source, so that no client's id can be taken for one."""

ITEM_IDS: Final = ("idempotencyKey", "idempotency_key", "eventId", "event_id", "id")
"""Fields of an item that name it; the first is Paid's own."""

INNER_IDS: Final = ("idempotencyKey", "idempotency_key")
"""The same inside its `data` or `metadata`, where an `id` may be that of anything."""

UNSETTLED_MAX: Final = 10_000
"""Requests that were answered "again" and remembered by their bytes: about 2 MB."""

_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\Z")


class Unsettled:
    """Requests without a name whose records may or may not stand, by the digest of their bytes."""

    def __init__(self) -> None:
        self._names: OrderedDict[bytes, str] = OrderedDict()

    def take(self, content: bytes) -> str | None:
        """The name under which these bytes were tried before, forgotten with that."""
        return self._names.pop(content, None)

    def keep(self, content: bytes, name: str) -> None:
        """Remembers a try; the oldest of too many are forgotten."""
        self._names[content] = name
        if len(self._names) > UNSETTLED_MAX:
            self._names.popitem(last=False)


_unsettled: Final[WeakKeyDictionary[Asking, Unsettled]] = WeakKeyDictionary()
"""Of each gateway of the process, found by the one thing that it alone has."""


@dataclass(frozen=True, slots=True)
class Named:
    """A request's name. `content` is set where it was made up and is to be remembered if the
    request fails."""

    name: str
    content: bytes | None
    _services: Services

    def failed(self) -> None:
        """The client is about to be told to try again: what it sends then is the same request."""
        if self.content is not None:
            _unsettled.setdefault(self._services.asking, Unsettled()).keep(self.content, self.name)


def named(services: Services, request: Request) -> Named:
    """The name of a request: its Idempotency-Key, else its traceparent and bytes, else a new one.

    With the traceparent the bytes count too: one span may well send two different requests.
    """
    key = request.headers.get("idempotency-key")
    if key:
        return Named(_digest("key", request.path, key), None, services)
    trace = request.headers.get("traceparent", "")
    if _TRACEPARENT.match(trace):
        return Named(_digest("trace", request.path, trace, request.body), None, services)
    content = blake2b(
        codec.encode([request.caller.key_id, request.path, request.body]), digest_size=16
    ).digest()
    name = _unsettled.setdefault(services.asking, Unsettled()).take(content)
    return Named(name or services.new_id(), content, services)


def identity(
    item: Mapping[str, Any], inner: Mapping[str, Any] | None, request: Named, index: int
) -> tuple[str, str]:
    """The source and event id of the item at `index` of a request."""
    for fields, names in ((item, ITEM_IDS), (inner or {}, INNER_IDS)):
        for name in names:
            given = fields.get(name)
            if type(given) is int or (isinstance(given, str) and given):
                return SOURCE, fitting(str(given))
    return REQUEST_SOURCE, f"{request.name}-{index}"


def fitting(text: str) -> str:
    """An id of the log for any text: the text itself where it is short enough, else its hash."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= ID_BYTES_MAX:
        return raw.decode()
    return f"long-{blake2b(raw, digest_size=24).hexdigest()}"


def _digest(*parts: str | bytes) -> str:
    return blake2b(codec.encode(parts), digest_size=16).hexdigest()
