"""The claims that an audit remembers: as long as they can hold."""

from streams.audit.claims import KEPT_US, ClaimWindow
from streams.domain.identity import Claim
from tests.builders import DAY_US, NOON_US

HASH = b"h" * 16


def test_claims_are_dropped_when_they_cannot_hold_any_more() -> None:
    window = ClaimWindow()
    for key, at_us in ((b"old", NOON_US), (b"anew", NOON_US)):
        window.claims[key] = Claim(HASH, at_us, 0)
    window.add([b"old", b"anew"], NOON_US)
    window.claims[b"young"] = Claim(HASH, NOON_US + DAY_US, 1)
    window.add([b"young"], NOON_US + DAY_US)
    later = NOON_US + KEPT_US + DAY_US // 2
    window.claims[b"anew"] = Claim(HASH, later, 2)
    window.add([b"anew"], later)
    assert sorted(window.claims) == [b"anew", b"young"]
    assert window.claims[b"anew"].offset == 2
