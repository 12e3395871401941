"""streams.adapters.hop: every ask gets one answer, under its deadline, whatever happens at its
other end."""

import asyncio
import logging

import pytest
import uvloop

from schemas.rpc import Answer, Ask, ErrorAnswer, ReleaseAsk
from streams.adapters import links
from streams.adapters.frames import ASK_BYTES_MAX, HopLimits
from streams.adapters.hop import HopServer
from streams.errors import SetupError
from tests.unit.adapters.hop_desks import (
    SECONDS,
    SECRET,
    FakeBook,
    FakeDesk,
    asking,
    code_of,
    dead_address,
    lookup,
    owner,
    preflight,
    serving,
    told,
)


@pytest.mark.parametrize("secret", [None, SECRET])
async def test_an_ask_crosses_with_partition_and_time_and_its_answer_comes_back(
    secret: bytes | None,
) -> None:
    desk = FakeDesk()
    async with (
        serving(desk, secret=secret) as (_, address),
        asking(FakeBook(address), secret=secret) as owners,
    ):
        assert await owners.ask(0, preflight("customer-ü"), SECONDS) == told(
            preflight("customer-ü")
        )
    (partition, ask, seconds), *_ = desk.asked
    assert (partition, ask) == (0, preflight("customer-ü"))
    assert SECONDS - 1 < seconds < SECONDS


def test_the_hop_runs_on_the_loop_that_gateways_and_workers_run_on() -> None:
    async def ask_twice() -> None:
        async with (
            serving(FakeDesk(), secret=SECRET) as (server, address),
            asking(FakeBook(address), secret=SECRET) as owners,
        ):
            assert await owners.ask(0, lookup(), SECONDS) == told(lookup())
            next(iter(server.connections)).break_off("as a crash does")
            assert await owners.ask(0, preflight(), SECONDS) == told(preflight())

    uvloop.run(ask_twice())


async def test_answers_that_overtake_each_other_reach_their_own_asks() -> None:
    gates = [asyncio.Event() for _ in range(50)]

    async def late(_partition: int, ask: Ask, _seconds: float) -> Answer:
        await gates[int(ask.account_id)].wait()
        return told(ask)

    async with serving(FakeDesk(late)) as (server, address), asking(FakeBook(address)) as owners:
        asks = [asyncio.create_task(owners.ask(0, lookup(str(n)), SECONDS)) for n in range(50)]
        for n in reversed(range(50)):
            gates[n].set()
            assert await asks[n] == told(lookup(str(n)))
        assert len(server.connections) == 1


async def test_an_ask_that_is_not_answered_in_time_says_that_nobody_knows() -> None:
    async def never(_partition: int, _ask: Ask, _seconds: float) -> Answer:
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(FakeDesk(never)) as (_, address), asking(FakeBook(address)) as owners:
        answers = [await owners.ask(0, ask, 0.1) for ask in (preflight(), lookup())]
        link = await owners._links.to(address)
        assert link.asks_under_way == 0
    assert [code_of(answer) for answer in answers] == ["unknown_outcome", "overloaded"]


async def test_an_ask_that_is_cancelled_leaves_nothing_behind() -> None:
    begun = asyncio.Event()
    go_on = asyncio.Event()

    async def slow(_partition: int, ask: Ask, _seconds: float) -> Answer:
        if ask.account_id == "slow":
            begun.set()
            await go_on.wait()
        return told(ask)

    async with serving(FakeDesk(slow)) as (server, address), asking(FakeBook(address)) as owners:
        task = asyncio.create_task(owners.ask(0, lookup("slow"), SECONDS))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        link = await owners._links.to(address)
        assert link.asks_under_way == 0
        go_on.set()
        # The answer that nobody waits for any more takes nobody else's place.
        assert await owners.ask(0, lookup("next"), SECONDS) == told(lookup("next"))
        assert not server._under_way


async def test_a_moved_partition_is_asked_at_its_new_owner_once() -> None:
    async def gone(_partition: int, _ask: Ask, _seconds: float) -> Answer:
        return ErrorAnswer("not_mine", "it moved")

    old, new = FakeDesk(gone), FakeDesk()
    async with serving(old) as (_, first), serving(new) as (_, second):
        book = FakeBook(first)
        book.news[0] = owner(second, lease=2)
        async with asking(book) as owners:
            assert await owners.ask(0, lookup(), SECONDS) == told(lookup())
    assert (len(old.asked), len(new.asked), book.refreshed) == (1, 1, 1)


async def test_a_partition_that_moved_without_news_is_answered_not_mine() -> None:
    async def gone(_partition: int, _ask: Ask, _seconds: float) -> Answer:
        return ErrorAnswer("not_mine", "it moved")

    desk = FakeDesk(gone)
    async with serving(desk) as (_, address), asking(FakeBook(address)) as owners:
        assert code_of(await owners.ask(0, lookup(), SECONDS)) == "not_mine"
    assert len(desk.asked) == 1


async def test_an_owner_that_is_gone_is_looked_up_anew() -> None:
    desk = FakeDesk()
    async with serving(desk) as (_, address):
        book = FakeBook(await dead_address())
        book.news[0] = owner(address, lease=2)
        async with asking(book) as owners:
            assert await owners.ask(0, lookup(), SECONDS) == told(lookup())


async def test_an_owner_that_cannot_be_reached_is_an_answer_and_no_exception() -> None:
    async with asking(FakeBook(await dead_address())) as owners:
        for _ in range(3):
            answer = await owners.ask(0, preflight(), SECONDS)
            assert code_of(answer) == "not_mine"
            assert isinstance(answer, ErrorAnswer)
            assert answer.retry_after_ms > 0


async def test_an_address_that_is_none_is_an_answer_and_no_exception() -> None:
    async with asking(FakeBook("nonsense")) as owners:
        assert code_of(await owners.ask(0, lookup(), SECONDS)) == "not_mine"


async def test_a_partition_that_nobody_took_is_not_ready() -> None:
    book = FakeBook()
    async with asking(book) as owners:
        assert code_of(await owners.ask(0, lookup(), SECONDS)) == "not_ready"
    assert book.refreshed == 1


async def test_a_directory_that_does_not_answer_does_not_outlast_the_deadline() -> None:
    class Silent(FakeBook):
        async def refresh(self) -> None:
            await asyncio.Event().wait()

    async with asking(Silent()) as owners:
        async with asyncio.timeout(SECONDS):
            assert code_of(await owners.ask(0, lookup(), 0.05)) == "not_ready"


async def test_a_lost_connection_is_opened_again_and_the_ask_repeated() -> None:
    seen: list[str] = []

    async def breaking(_partition: int, ask: Ask, _seconds: float) -> Answer:
        seen.append(ask.account_id)
        if len(seen) == 1:
            next(iter(server.connections)).break_off("as a crash does")
        return told(ask)

    async with (
        serving(FakeDesk(breaking)) as (server, address),
        asking(FakeBook(address)) as owners,
    ):
        assert await owners.ask(0, preflight(), SECONDS) == told(preflight())
    assert seen == ["c", "c"]


async def test_an_unknown_outcome_stays_unknown_unless_the_second_owner_decides() -> None:
    async def breaking(_partition: int, _ask: Ask, _seconds: float) -> Answer:
        if len(desk.asked) == 1:
            next(iter(server.connections)).break_off("as a crash does")
        return ErrorAnswer("not_ready", "it has just begun")

    desk = FakeDesk(breaking)
    async with serving(desk) as (server, address), asking(FakeBook(address)) as owners:
        assert code_of(await owners.ask(0, preflight(), SECONDS)) == "unknown_outcome"
    assert len(desk.asked) == 2


async def test_partitions_of_this_process_are_asked_without_a_hop() -> None:
    here, there = FakeDesk(), FakeDesk()
    async with serving(there) as (server, address):
        book = FakeBook("127.0.0.1:9")
        async with asking(book, local=("127.0.0.1:9", here)) as owners:
            await owners.ask(0, lookup(), SECONDS)
            await owners.ask(5, lookup(), SECONDS)  # announced by nobody yet
            book.known[0] = owner(address, lease=2)
            await owners.ask(0, lookup(), SECONDS)
            assert (len(here.asked), len(there.asked), len(server.connections)) == (2, 1, 1)


async def test_more_asks_than_a_connection_takes_are_overloaded_at_once() -> None:
    go_on = asyncio.Event()

    async def slow(_partition: int, ask: Ask, _seconds: float) -> Answer:
        await go_on.wait()
        return told(ask)

    few, many = HopLimits(frames_in_flight=4), HopLimits()
    for at_owner, at_gateway in ((few, many), (many, few)):
        go_on.clear()
        async with (
            serving(FakeDesk(slow), limits=at_owner) as (_, address),
            asking(FakeBook(address), limits=at_gateway) as owners,
        ):
            asks = [asyncio.create_task(owners.ask(0, lookup(), SECONDS)) for _ in range(5)]
            done, waiting = await asyncio.wait(asks, return_when=asyncio.FIRST_COMPLETED)
            assert [code_of(task.result()) for task in done] == ["overloaded"]
            assert len(waiting) == 4
            go_on.set()
            assert {code_of(answer) for answer in await asyncio.gather(*waiting)} == {""}


async def test_a_fault_of_the_desk_is_an_unknown_outcome_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def faulty(_partition: int, _ask: Ask, _seconds: float) -> Answer:
        raise RuntimeError("planted")

    with caplog.at_level(logging.ERROR):
        async with serving(FakeDesk(faulty)) as (_, address), asking(FakeBook(address)) as owners:
            assert code_of(await owners.ask(0, lookup(), SECONDS)) == "unknown_outcome"
    assert "planted" in caplog.text


async def test_an_ask_too_large_for_a_frame_is_invalid() -> None:
    async with serving(FakeDesk()) as (_, address), asking(FakeBook(address)) as owners:
        answer = await owners.ask(0, lookup("x" * ASK_BYTES_MAX), SECONDS)
        assert code_of(answer) == "invalid"
        assert await owners.ask(0, lookup(), SECONDS) == told(lookup())


@pytest.mark.parametrize(("owner_has", "gateway_has"), [(SECRET, None), (None, SECRET)])
async def test_ends_that_do_not_share_the_secret_ask_nothing(
    owner_has: bytes | None, gateway_has: bytes | None
) -> None:
    desk = FakeDesk()
    async with (
        serving(desk, secret=owner_has) as (_, address),
        asking(FakeBook(address), secret=gateway_has) as owners,
    ):
        answer = await owners.ask(0, preflight(), SECONDS)
    assert isinstance(answer, ErrorAnswer)
    assert "secret" in answer.message
    assert not desk.asked


async def test_an_owner_listens_beyond_loopback_only_with_a_secret() -> None:
    for address in ("192.0.2.1:0", "[2001:db8::1]:0", "example.org:1"):
        with pytest.raises(SetupError, match="without a secret"):
            HopServer(address, FakeDesk())
        HopServer(address, FakeDesk(), secret=SECRET)
    for address in ("127.0.0.1:0", "localhost:0", "[::1]:0", "127.9.9.9:0"):
        HopServer(address, FakeDesk())


@pytest.mark.parametrize("address", ["0.0.0.0:1", "[::]:1"])
async def test_an_address_that_leads_to_nobody_is_not_announced(address: str) -> None:
    with pytest.raises(SetupError, match="leads nobody"):
        HopServer(address, FakeDesk(), secret=SECRET)


async def test_a_busy_port_is_named_in_the_error() -> None:
    async with serving(FakeDesk()) as (_, address):
        with pytest.raises(SetupError, match=address.replace(".", r"\.")):
            await HopServer(address, FakeDesk()).start()


async def test_an_owner_that_fell_silent_is_asked_on_a_new_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(links, "SILENCE_SECONDS_MAX", 0.02)

    async def first_never(_partition: int, ask: Ask, _seconds: float) -> Answer:
        if len(desk.asked) == 1:
            await asyncio.Event().wait()
        return told(ask)

    desk = FakeDesk(first_never)
    async with serving(desk) as (_, address), asking(FakeBook(address)) as owners:
        await owners.ask(0, ReleaseAsk("customer", "c", "1-0-0"), 0.1)
        before = owners._links._open[address]
        assert not before.is_open
        assert await owners.ask(0, lookup(), SECONDS) == told(lookup())
        assert owners._links._open[address] is not before
