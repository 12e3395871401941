"""The topic `owners`: announced by whoever takes a partition, followed by whoever asks.

Routing and no more (`schemas.owner`). A record that cannot be read is passed over with a warning:
it must not keep gateways from asking the owners of other partitions.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas import codec
from schemas.client.kafka_access import Bootstrap, client_options
from schemas.envelope import SCHEMA_VERSION
from schemas.structs import Owner
from schemas.topics import OWNERS
from streams.adapters.followed import RETRY_SECONDS, STOP_SECONDS_MAX, FollowedTopic
from streams.errors import TransientError

log = logging.getLogger(__name__)

ANNOUNCE_SECONDS_MAX: Final = 5.0
"""How long an announcement may take. The owner answers meanwhile; only nobody finds it."""

LEASES_SECONDS: Final = 0.02
"""Between two looks for leases that nobody has heard of: what it adds to a hand-over."""


class HeldLease(Protocol):
    """A lease as its owner has it."""

    @property
    def offset(self) -> int:
        """Of its record on `preflights`."""
        ...

    @property
    def nonce(self) -> str:
        """In that record."""
        ...


class OwnerAnnouncer:
    """Appends to `owners` for the partitions that this process takes."""

    def __init__(self, bootstrap: Bootstrap, prefix: str) -> None:
        """Nothing is connected yet."""
        self._bootstrap = bootstrap
        self._topic = OWNERS.full_name(prefix)
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connects. Raises TransientError."""
        self._producer = AIOKafkaProducer(
            **client_options(self._bootstrap), enable_idempotence=True, acks="all"
        )
        try:
            await self._producer.start()
        except KafkaError as error:
            await self.stop()
            raise _unannounced("the broker does not answer", error) from error

    async def stop(self) -> None:
        """Disconnects."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with contextlib.suppress(TimeoutError, KafkaError):
                await asyncio.wait_for(producer.stop(), STOP_SECONDS_MAX)

    async def announce(
        self,
        partition: int,
        *,
        generation: int,
        address: str,
        lease: int,
        nonce: str,
        since: int,
    ) -> None:
        """Says that this process answers for a partition at `address` since `since` (microseconds),
        under this lease. Returns once all replicas have it; raises TransientError, after which it
        may be said again."""
        if self._producer is None:
            raise _unannounced("the announcer is not running")
        record = Owner(
            schema_version=SCHEMA_VERSION,
            partition=partition,
            generation=generation,
            address=address,
            lease=lease,
            nonce=nonce,
            since=since,
        )
        try:
            async with asyncio.timeout(ANNOUNCE_SECONDS_MAX):
                await self._producer.send_and_wait(
                    self._topic,
                    key=codec.owner_key(partition),
                    value=codec.encode(record),
                    partition=0,
                )
        except (KafkaError, TimeoutError) as error:
            raise _unannounced(f"partition {partition}", error) from error

    async def announce_leases(
        self,
        leases: Callable[[], Mapping[int, HeldLease]],
        *,
        generation: Callable[[], int],
        address: str,
        now_us: Callable[[], int],
    ) -> None:
        """Announces every lease of this process once it is there, until it is cancelled.

        `leases` gives those that are ready to answer, by partition. What the broker does not take
        is said again; the owner answers meanwhile whoever finds it.
        """
        said: dict[int, tuple[int, str]] = {}
        while True:
            held = leases()
            said = {partition: lease for partition, lease in said.items() if partition in held}
            new = {p: lease for p, lease in held.items() if said.get(p) != _named(lease)}
            answers = await asyncio.gather(
                *(
                    self.announce(
                        partition,
                        generation=generation(),
                        address=address,
                        lease=lease.offset,
                        nonce=lease.nonce,
                        since=now_us(),
                    )
                    for partition, lease in new.items()
                ),
                return_exceptions=True,
            )
            for (partition, lease), answer in zip(new.items(), answers, strict=True):
                if answer is None:
                    said[partition] = _named(lease)
                elif isinstance(answer, TransientError):
                    log.warning("partition %d: %s", partition, answer.message)
                else:
                    raise answer
            await asyncio.sleep(LEASES_SECONDS)


def _named(lease: HeldLease) -> tuple[int, str]:
    return lease.offset, lease.nonce


def _unannounced(what: str, error: BaseException | None = None) -> TransientError:
    why = "" if error is None else f": {type(error).__name__}"
    return TransientError(
        f"the owner could not be announced: {what}{why}",
        action="Gateways find no owner until it is: check that the broker runs, then announce "
        "again.",
    )


class OwnerDirectory(FollowedTopic):
    """Who answers for which partition."""

    def __init__(self, bootstrap: Bootstrap, prefix: str) -> None:
        """Nothing is read yet."""
        super().__init__(bootstrap, OWNERS.full_name(prefix), "the owners")
        self._owners: dict[int, Owner] = {}
        self._refreshing: asyncio.Task[None] | None = None

    def owner_of(self, partition: int) -> Owner | None:
        """The owner with the latest lease announced, None where none has been."""
        return self._owners.get(partition)

    @property
    def owners(self) -> dict[int, Owner]:
        """All of them by partition."""
        return dict(self._owners)

    def fold(self, value: bytes | None) -> None:
        """Takes a record of the topic. Of two for a partition the later generation holds, then the
        larger lease, then the one that comes later."""
        try:
            owner = codec.decode_owner(value or b"")
        except ValueError:
            log.warning("a record of %s is none and was passed over", self._place.topic)
            return
        known = self._owners.get(owner.partition)
        if known is None or (known.generation, known.lease) <= (owner.generation, owner.lease):
            self._owners[owner.partition] = owner

    def _take(self, record: Any) -> None:
        self.fold(record.value)

    async def stop(self) -> None:
        """Stops following. What is known stays known."""
        refreshing, self._refreshing = self._refreshing, None
        if refreshing is not None:
            refreshing.cancel()
            await asyncio.gather(refreshing, return_exceptions=True)
        await super().stop()

    async def refresh(self) -> None:
        """Returns when everything announced before this call has been heard; as long as the broker
        does not answer it does not return."""
        # A question that was asked before this call may miss what was announced since.
        while (asked := self._refreshing) is not None and not asked.done():
            await asyncio.wait([asked])
            if self._refreshing is not asked:
                break
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._catch_up())
        await asyncio.shield(self._refreshing)

    async def _catch_up(self) -> None:
        while True:
            try:
                end = await self._end()
            except KafkaError:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                await self._reached(end)
                return
