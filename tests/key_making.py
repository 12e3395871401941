"""Keys for tests: a source in memory, a clock that stands still, records with defaults."""

from dataclasses import dataclass, field
from typing import Any

from schemas.structs import ApiKey
from streams.gateway.keys import key_digest, key_text
from tests.builders import catalog_record

NOW_US = 1_800_000_000_000_000
SECRET = bytes(range(24))
KEY_ID = "00000000000000a1"
TEXT = key_text(KEY_ID, SECRET)


@dataclass
class StandingClock:
    """Wall and monotonic time that only a test moves."""

    at_us: int = NOW_US

    def now_us(self) -> int:
        return self.at_us

    def seconds(self) -> float:
        return self.at_us / 1_000_000

    def move(self, seconds: float) -> None:
        self.at_us += round(seconds * 1_000_000)


@dataclass
class MemoryKeys:
    """A `KeySource` whose keys a test sets."""

    keys: dict[str, ApiKey] = field(default_factory=dict)
    behind_seconds: float = 0.0

    def seconds_behind(self) -> float:
        return self.behind_seconds

    def put(self, *records: ApiKey) -> None:
        for record in records:
            self.keys[record.id] = record


def key_record(key_id: str = KEY_ID, secret: bytes = SECRET, **fields: Any) -> ApiKey:
    """A key's record: active, all customers, scope read, unless told otherwise."""
    given = {
        "id": key_id,
        "label": "a test",
        "digest": key_digest(key_id, secret).hex(),
        "scopes": ["read"],
        "created_at": NOW_US - 1,
    }
    found: ApiKey = catalog_record("api_key", **given | fields)
    return found
