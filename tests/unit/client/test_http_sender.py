"""Events over HTTP: what each answer means, and that no answer loses or blocks an event."""

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from schemas.client import HttpSender, Later, Outcome, Refused, Spooled
from schemas.client.http_sender import ANSWER_BYTES_MAX, SETUP_SECONDS
from tests.client_fakes import FakeGateway, accept, answer, drop, lose, record, refuse

KEY = "agb_a-secret-key"


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with FakeGateway() as running:
        yield running


@pytest.fixture
async def sender(gateway: FakeGateway) -> Any:
    made = HttpSender(gateway.url, KEY)
    yield made
    await made.close()


def spooled(*event_ids: str, topic: str = "usage", **more: Any) -> list[Spooled]:
    made = [record(event_id, **more) for event_id in event_ids]
    return [Spooled(n, topic, one.key, one.value) for n, one in enumerate(made, start=1)]


def kinds(outcomes: Sequence[Outcome]) -> list[str]:
    return ["sent" if one is None else type(one).__name__.lower() for one in outcomes]


async def test_a_batch_is_one_request_with_the_key(
    gateway: FakeGateway, sender: HttpSender
) -> None:
    assert await sender.send(spooled("a", "b")) == [None, None]
    [asked] = gateway.asked
    assert (asked.path, asked.kind) == ("/v1/events", "usage")
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.headers["content-type"] == "application/json"
    assert asked.body == b"[%s,%s]" % (record("a").value, record("b").value)


async def test_a_large_batch_is_compressed_and_a_small_one_is_not(
    gateway: FakeGateway, sender: HttpSender
) -> None:
    await sender.send(spooled("a"))
    await sender.send(spooled(*(f"e{n}" for n in range(500))))
    small, large = gateway.asked
    assert "content-encoding" not in small.headers
    assert large.headers["content-encoding"] == "gzip"
    assert int(large.headers["content-length"]) < len(large.body) // 5
    assert len(large.events) == 500


async def test_one_connection_is_kept(gateway: FakeGateway, sender: HttpSender) -> None:
    for n in range(3):
        await sender.send(spooled(f"e{n}"))
    assert len({asked.connection for asked in gateway.asked}) == 1


async def test_a_connection_that_was_closed_meanwhile_is_made_anew(
    gateway: FakeGateway, sender: HttpSender
) -> None:
    assert await sender.send(spooled("a")) == [None]
    gateway.hang_up()
    assert await sender.send(spooled("b")) == [None]
    assert len({asked.connection for asked in gateway.asked}) == 2


async def test_usage_and_signals_go_their_own_ways(
    gateway: FakeGateway, sender: HttpSender
) -> None:
    mixed = [spooled("u")[0], spooled("s", topic="signals")[0], spooled("x", topic="other")[0]]
    mixed = [Spooled(n, one.topic, one.key, one.value) for n, one in enumerate(mixed)]
    outcomes = await sender.send(mixed)
    assert kinds(outcomes) == ["sent", "sent", "refused"]
    assert {asked.kind for asked in gateway.asked} == {"usage", "signal"}


async def test_a_path_before_the_gateways_own_is_kept(gateway: FakeGateway) -> None:
    sender = HttpSender(gateway.url + "/billing/")
    await sender.send(spooled("a"))
    await sender.close()
    [asked] = gateway.asked
    assert asked.path == "/billing/v1/events"
    assert "authorization" not in asked.headers


async def test_items_are_told_apart(gateway: FakeGateway, sender: HttpSender) -> None:
    gateway.plans.append(refuse("b", code="customer_not_allowed"))
    outcomes = await sender.send(spooled("a", "b", "c"))
    assert outcomes == [
        None,
        Refused("customer_not_allowed", "because of customer_not_allowed", "units"),
        None,
    ]


async def test_a_batch_of_which_all_was_refused_is_a_problem_with_items(
    gateway: FakeGateway, sender: HttpSender
) -> None:
    gateway.plans.append(refuse("a", "b", status=422))
    assert kinds(await sender.send(spooled("a", "b"))) == ["refused", "refused"]


async def test_what_is_unavailable_or_not_told_about_is_sent_again(
    gateway: FakeGateway, sender: HttpSender
) -> None:
    items: list[Any] = [
        {"index": 0, "status": "accepted"},
        {"index": 1, "status": "unavailable", "detail": "the log did not acknowledge"},
        {"index": 3, "status": "something new"},
        {"index": 99, "status": "accepted"},
        {"index": True, "status": "accepted"},
        {"status": "accepted"},
        "accepted",
    ]
    gateway.plans.append(answer(207, {"items": items}))
    outcomes = await sender.send(spooled("a", "b", "c", "d"))
    assert kinds(outcomes) == ["sent", "later", "later", "later"]
    assert outcomes[1] == Later("the log did not acknowledge")


@pytest.mark.parametrize(
    ("status", "headers", "least", "most"),
    [
        (429, {"retry_after": "7"}, 7, 7),
        (503, {"retry_after": "3"}, 3, 3),
        (503, {}, 0, 0),
        (503, {"retry_after": "Fri, 15 Jan 2027 08:00:30 GMT"}, 30, 30),
        (503, {"retry_after": "Fri, 15 Jan 2027 07:00:00 GMT"}, 0, 0),
        (503, {"retry_after": "soon"}, 0, 0),
        (408, {}, 0, 0),
        (500, {}, 0, 0),
        # Setup: a person has to mend it, so there is no hurry.
        (401, {}, SETUP_SECONDS, SETUP_SECONDS),
        (403, {}, SETUP_SECONDS, SETUP_SECONDS),
        (404, {}, SETUP_SECONDS, SETUP_SECONDS),
        (415, {}, SETUP_SECONDS, SETUP_SECONDS),
        (410, {}, SETUP_SECONDS, SETUP_SECONDS),
        (301, {"location": "https://example.org/"}, SETUP_SECONDS, SETUP_SECONDS),
    ],
)
async def test_an_answer_about_no_event_keeps_them_all(
    gateway: FakeGateway, status: int, headers: dict[str, str], least: float, most: float
) -> None:
    sender = HttpSender(gateway.url, KEY, now_us=lambda: 1_800_000_000_000_000)
    gateway.plans.append(answer(status, {"code": "why", "detail": "because"}, **headers))
    outcomes = await sender.send(spooled("a", "b"))
    await sender.close()
    for outcome in outcomes:
        assert isinstance(outcome, Later)
        assert least <= outcome.after_seconds <= most
        assert str(status) in outcome.reason
        assert "why: because" in outcome.reason
        assert KEY not in outcome.reason


@pytest.mark.parametrize(
    "body", [b"<html>Log in here</html>", b"[]", b'{"items": 7}', b"", b"[" * 100_000]
)
async def test_an_answer_of_somebody_else_is_no_acceptance(
    gateway: FakeGateway, sender: HttpSender, body: bytes
) -> None:
    for status in (200, 202):
        gateway.plans.append(answer(status, body))
        assert kinds(await sender.send(spooled("a"))) == ["later"]


async def test_an_endless_answer_is_no_acceptance(gateway: FakeGateway, sender: HttpSender) -> None:
    gateway.plans.append(answer(202, b" " * (ANSWER_BYTES_MAX + 9)))
    assert kinds(await sender.send(spooled("a"))) == ["later"]
    assert kinds(await sender.send(spooled("a"))) == ["sent"]


@pytest.mark.parametrize("status", [400, 413])
async def test_the_event_that_spoils_a_batch_is_found_and_the_others_are_sent(
    gateway: FakeGateway, sender: HttpSender, status: int
) -> None:
    def spoiled(running: FakeGateway, asked: Any) -> Any:
        if b"poison" in asked.body:
            return answer(status, {"code": "malformed", "detail": "not JSON"})(running, asked)
        return accept(running, asked)

    gateway.otherwise = spoiled
    outcomes = await sender.send(spooled("a", "b", "poison", "d", "e", "f", "g"))
    assert kinds(outcomes) == ["sent", "sent", "refused", "sent", "sent", "sent", "sent"]
    assert isinstance(outcomes[2], Refused)
    assert outcomes[2].code == "malformed"
    assert len(gateway.log) == 6


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b"<html>no</html>"),
        (413, b"<html>no</html>"),
        (422, {"error": "no"}),
        (400, {"code": "bad_encoding"}),
    ],
)
async def test_what_a_proxy_says_or_does_to_a_body_refuses_no_event(
    gateway: FakeGateway, sender: HttpSender, status: int, body: Any
) -> None:
    gateway.otherwise = answer(status, body)
    outcomes = await sender.send(spooled("a", "b"))
    assert kinds(outcomes) == ["later", "later"]
    # Only one that finds a body too large may find a smaller one small enough.
    assert len(gateway.asked) == (3 if status == 413 else 1)


@pytest.mark.parametrize("plan", [lose, drop])
async def test_without_an_answer_nobody_knows_so_it_is_sent_again_as_it_was(
    gateway: FakeGateway, sender: HttpSender, plan: Any
) -> None:
    gateway.plans.append(plan)
    assert kinds(await sender.send(spooled("a", "b"))) == ["later", "later"]
    assert kinds(await sender.send(spooled("a", "b"))) == ["sent", "sent"]
    assert gateway.asked[0].body == gateway.asked[1].body
    assert len(gateway.log) == 2


async def test_a_gateway_that_is_away_is_told_as_what_it_is() -> None:
    with FakeGateway() as gone:
        url = gone.url
    sender = HttpSender(url, KEY)
    [outcome] = await sender.send(spooled("a"))
    assert outcome == Later("no answer from the gateway: ConnectionRefusedError")


async def test_a_gateway_that_does_not_answer_is_given_up_on(gateway: FakeGateway) -> None:
    released = threading.Event()

    def hang(running: FakeGateway, asked: Any) -> Any:
        released.wait(60)
        return drop(running, asked)

    gateway.plans.append(hang)
    sender = HttpSender(gateway.url, timeout_seconds=0.05)
    [outcome] = await sender.send(spooled("a"))
    released.set()
    await sender.close()
    assert outcome == Later("no answer from the gateway: TimeoutError")
    assert len(gateway.asked) == 1


@pytest.mark.parametrize(
    "url",
    ["", "gateway:8480", "ftp://gateway", "http://", "http://u:p@gateway", "http://gateway/?a=1"],
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="the address of the gateway"):
        HttpSender(url)


@pytest.mark.parametrize("key", ["agb_secret\r\nhost: elsewhere", "agb_sécret"])
def test_a_key_that_is_none_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(ValueError, match="one line of ASCII") as caught:
        HttpSender("http://127.0.0.1:1", key)
    assert "agb" not in str(caught.value)


def test_the_key_is_not_shown() -> None:
    assert KEY not in repr(HttpSender("http://127.0.0.1:1", KEY))
