"""What an operator tells the books is read as a worker will read it, before it is appended."""

from typing import Any

import pytest

from schemas import codec
from schemas.partitioner import partition_of
from schemas.structs import Grant, Limit
from streams.app.administration import SOURCE, Planned, plan
from streams.errors import SetupError

PARTITIONS = 8

GRANT: dict[str, Any] = {"denomination": "usd", "amount": "12.50"}


def planned(kind: Any = "grant", customer: str = "acme", **fields: Any) -> Planned:
    return plan(kind, customer, GRANT | fields, "grant-1", PARTITIONS)


def test_a_grant_is_the_record_that_was_meant_on_the_customers_partition() -> None:
    found = planned(priority=3, resets="month", reason=None)
    body = codec.decode_budget(found.value)
    assert isinstance(body, Grant)
    assert (body.customer_id, body.source, body.event_id) == ("acme", SOURCE, "grant-1")
    assert (body.amount, body.priority, body.resets, body.reason) == ("12.50", 3, "month", None)
    assert found.key == b"acme"
    assert found.told.partition == partition_of(b"acme", PARTITIONS)


def test_a_limit_of_an_agent_and_its_lifting_are_told_apart_by_the_amount() -> None:
    given = codec.decode_budget(planned("limit", agent_id="a1", resets="day").value)
    assert isinstance(given, Limit)
    assert (given.agent_id, given.amount, given.resets) == ("a1", "12.50", "day")
    lifted = codec.decode_budget(planned("limit", agent_id="a1", amount=None).value)
    assert isinstance(lifted, Limit)
    assert lifted.amount is None


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"amount": "much"}, "amount"),
        ({"amount": "-1"}, "amount"),
        ({"amount": "0.0000000000001"}, "amount"),
        ({"amount": "1.5", "denomination": "unit"}, "amount"),
        ({"denomination": "euro"}, "denomination"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"colour": "red"}, "colour"),
        ({"customer": ""}, "customer_id"),
        ({"customer": "c" * 129}, "customer_id"),
        ({"customer": "\x00task"}, "NUL"),
        ({"customer": "\udce9"}, "Unicode"),
        ({"reason": "\udce9"}, "Unicode"),
    ],
)
def test_what_no_worker_would_accept_is_refused_by_name(wrong: Any, named: str) -> None:
    with pytest.raises(SetupError, match=named) as refused:
        planned(**wrong)
    assert "nothing was appended" in refused.value.action
