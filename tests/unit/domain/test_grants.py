"""streams.domain.grants: which grant burns first, and how far."""

import random

import pytest

from schemas.budget import Denomination
from streams.domain.grants import (
    OpenGrant,
    burn_order,
    insert_grant,
    open_at,
    plan_burn,
    unexpired,
)

NOW = 1_000


def granted(
    grant_id: str,
    remaining: int = 10,
    priority: int = 100,
    effective: int = 0,
    expires: int | None = None,
    denomination: str = "unit",
) -> OpenGrant:
    return OpenGrant(grant_id, denomination, remaining, priority, effective, expires)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        # In the order of precedence: each pair differs in one point and agrees in all before it.
        (granted("z", priority=0, expires=None), granted("a", priority=1, expires=1)),
        (granted("z", expires=5_000, effective=9), granted("a", expires=6_000, effective=1)),
        (granted("z", expires=5_000, effective=9), granted("a", expires=None, effective=1)),
        (granted("z", effective=1), granted("a", effective=2)),
        (granted("a"), granted("b")),
    ],
)
def test_grants_burn_by_priority_then_expiry_then_beginning_then_id(
    first: OpenGrant, second: OpenGrant
) -> None:
    assert burn_order(first) < burn_order(second)


def test_the_order_never_depends_on_arrival() -> None:
    every = [
        granted(f"{p}{x}{e}", priority=p, expires=x, effective=e)
        for p in (0, 1)
        for x in (2_000, 3_000, None)
        for e in (0, 5)
    ]
    expected = sorted(every, key=burn_order)
    for seed in range(20):
        arrived = list(every)
        random.Random(seed).shuffle(arrived)
        grants: list[OpenGrant] = []
        for one in arrived:
            insert_grant(grants, one)
        assert grants == expected


def burnt(grants: list[OpenGrant], amount: int, now: int = NOW) -> list[tuple[str, int]]:
    return [(g.grant_id, part) for g, part in plan_burn(grants, Denomination.UNIT, amount, now)]


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (0, []),
        (1, [("a", 1)]),
        (10, [("a", 10)]),
        (11, [("a", 10), ("b", 1)]),
        (25, [("a", 10), ("b", 10), ("c", 5)]),
        (30, [("a", 10), ("b", 10), ("c", 10)]),
        (31, [("a", 10), ("b", 10), ("c", 10)]),  # one beyond
    ],
)
def test_an_amount_burns_grant_after_grant_and_no_more_than_there_is(
    amount: int, expected: list[tuple[str, int]]
) -> None:
    assert burnt([granted("a"), granted("b"), granted("c")], amount) == expected


def test_planning_a_burn_changes_nothing() -> None:
    grants = [granted("a"), granted("b")]
    burnt(grants, 15)
    assert [g.remaining for g in grants] == [10, 10]


def test_only_grants_of_the_denomination_burn() -> None:
    grants = [granted("t", denomination="token"), granted("d", denomination="usd"), granted("u")]
    assert burnt(grants, 5) == [("u", 5)]


@pytest.mark.parametrize(
    ("effective", "expires", "is_open"),
    [
        (NOW, None, True),  # from its first moment on
        (NOW + 1, None, False),
        (0, NOW, False),  # over at its expiry
        (0, NOW + 1, True),
    ],
)
def test_a_grant_is_open_from_its_beginning_until_just_before_its_expiry(
    effective: int, expires: int | None, is_open: bool
) -> None:
    grant = granted("a", effective=effective, expires=expires)
    assert open_at(grant, NOW) is is_open
    assert bool(burnt([grant], 1)) is is_open


def test_a_grant_that_has_not_begun_is_not_over() -> None:
    later, over = granted("a", effective=NOW + 1), granted("b", expires=NOW)
    assert unexpired([later, over], NOW) == [later]
