"""The hop and the topic `owners` together: wherever a partition is announced, there it is asked."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from schemas.rpc import AccountAnswer, Answer, Ask, ErrorAnswer, Freshness, LookupAsk
from streams.adapters.hop import HopServer, RemoteOwners
from streams.adapters.owners import OwnerAnnouncer, OwnerDirectory
from streams.embedded.endpoints import Endpoints
from tests.installation import Installation

HAND_OVERS = 12
SECONDS = 30.0
"""A deadline, not an expectation."""

ASK = LookupAsk("customer", "c")
SECRET = b"a secret of this test"


class OwningDesk:
    """Answers for one partition while it is the owner; the lease in its answers tells which."""

    def __init__(self) -> None:
        self.lease: int | None = None

    async def ask(self, partition: int, ask: Ask, timeout_seconds: float) -> Answer:
        if self.lease is None:
            return ErrorAnswer("not_mine", "another one has it")
        fresh = Freshness(1, partition, 1, 0, 0, 0, 0, 0, self.lease)
        return AccountAnswer(ask.account_kind, ask.account_id, True, [], [], fresh)


def lease_of(answer: Answer) -> int | str:
    return answer.code if isinstance(answer, ErrorAnswer) else answer.fresh.lease


async def hand_over(bootstrap: str, prefix: str) -> None:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(SECONDS))
        desks = [OwningDesk(), OwningDesk()]
        addresses = []
        for desk in desks:
            server = HopServer("127.0.0.1:0", desk, secret=SECRET)
            addresses.append(await server.start())
            stack.push_async_callback(server.stop)
        announcer = OwnerAnnouncer(bootstrap, prefix)
        await announcer.start()
        stack.push_async_callback(announcer.stop)
        gateways = []
        for _ in range(2):
            directory = OwnerDirectory(bootstrap, prefix)
            await directory.start()
            stack.push_async_callback(directory.stop)
            owners = RemoteOwners(directory, secret=SECRET)
            stack.push_async_callback(owners.close)
            gateways.append(owners)

        for gateway in gateways:
            assert lease_of(await gateway.ask(1, ASK, 1.0)) == "not_ready"
        for lease in range(1, HAND_OVERS + 1):
            old, new = desks[lease % 2 - 1], desks[lease % 2]
            old.lease, new.lease = None, lease
            await announcer.announce(
                1,
                generation=1,
                address=addresses[lease % 2],
                lease=lease,
                nonce=f"{lease:016x}",
                since=lease,
            )
            # The first ask after a hand-over still goes to the old owner, and is answered by the
            # new one all the same.
            for gateway in gateways:
                answers = await asyncio.gather(*(gateway.ask(1, ASK, 5.0) for _ in range(20)))
                assert {lease_of(answer) for answer in answers} == {lease}


def test_after_a_hand_over_every_ask_of_every_gateway_reaches_the_new_owner(
    endpoints: Endpoints, topic_prefix: str, tmp_path: Path
) -> None:
    Installation.create(endpoints, topic_prefix, tmp_path)
    asyncio.run(hand_over(endpoints.kafka_bootstrap, topic_prefix))
