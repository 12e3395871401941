"""One partition of `asks`: each is asked of its owner and answered on `answers`.

    1. take what has arrived, as far as the window has room          log.take
    2. read each; what is no ask is answered with the reason          asks.read_ask
    3. wait until the customer's ask before it is decided             _serve
    4. ask the owner, again and again until it decides or it is late  _decided
    5. append the answer until it is acknowledged                     _append
    6. the position moves past what is answered without a gap         log.done

A process that dies anywhere leaves a position before everything unanswered. Its heir asks again
under the same keys: what was decided is answered again, and nothing is held twice.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from schemas import codec
from schemas.errors import RejectCode, RejectError
from schemas.structs import AnsweredChange, AnsweredPreflight, AnswerRecord
from schemas.times import MICROSECONDS
from schemas.topics import ANSWERS, ASKS
from streams.domain.facts import SourceRecord, internal
from streams.errors import TransientError
from streams.gateway.asking import Asking
from streams.gateway.asks import (
    TOO_LATE,
    OpenAsk,
    answer_key,
    decide,
    read_ask,
    told_problem,
    told_refusal,
)
from streams.gateway.problems import ProblemError
from streams.metrics import (
    GATEWAY_ASKS,
    GATEWAY_ASKS_AGAIN,
    GATEWAY_ASKS_OPEN,
    GATEWAY_PROBLEMS,
    Metrics,
)

log = logging.getLogger(__name__)

WINDOW_RECORDS: Final = 512
"""Asks of one partition that are open at once, those that wait for their turn included. What one of
them waits for keeps the others going until so many stand behind it; 512 of 2 KiB are a megabyte."""

TAKEN_MAX: Final = 64
"""Records that are read in one go: at 20 µs each little more than a millisecond, in which no HTTP
request is answered."""

ASKED_AT_ONCE: Final = 64
"""Customers of one partition that are asked about at once. An owner decides up to 256 asks in one
group; more than this from one gateway would only wait there."""

PAUSE_SECONDS_FIRST: Final = 0.05
PAUSE_SECONDS_MAX: Final = 1.0
"""Between two tries at what cannot be decided or appended now: doubled from the first to the
longest. One try looks for an owner for seconds itself."""

NONE: Final = "none"
"""The kind, in metrics, of a record that is no ask."""


class AskLog(Protocol):
    """One partition of `asks`, as this process was given it."""

    @property
    def partition(self) -> int:
        """Its number."""
        ...

    async def asks(self, records_max: int) -> Sequence[SourceRecord]:
        """The next records in their order; none where nothing comes for a second. Raises
        TransientError where the broker is in trouble."""
        ...

    def done(self, offset: int) -> None:
        """Everything before this offset is answered: whoever has the partition next begins
        there."""
        ...


@dataclass(frozen=True, slots=True)
class LaneSetting:
    """What all partitions have in common. `now_us` is the wall clock; `sleep` waits."""

    asking: Asking
    partitions: int
    metrics: Metrics
    now_us: Callable[[], int]
    decision_seconds: float
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class AskLane:
    """One partition. `run` until cancelled, which may happen at any await."""

    def __init__(self, setting: LaneSetting, source: AskLog) -> None:
        self._setting = setting
        self._source = source
        self._open: deque[int] = deque()
        self._answered: set[int] = set()
        self._room = asyncio.Event()
        self._slots = asyncio.Semaphore(ASKED_AT_ONCE)
        self._last: dict[str, asyncio.Event] = {}
        """Of each customer: whether the ask that was read last is decided."""

    async def run(self) -> None:
        """Answers what comes. Raises nothing but a fault of our own."""
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    for record in await self._take():
                        self._begin(record, group)
        finally:
            self._setting.metrics.add(GATEWAY_ASKS_OPEN, by=-len(self._open))

    async def _take(self) -> Sequence[SourceRecord]:
        """Waits for room, then for records."""
        while len(self._open) >= WINDOW_RECORDS:
            self._room.clear()
            await self._room.wait()
        try:
            return await self._source.asks(min(TAKEN_MAX, WINDOW_RECORDS - len(self._open)))
        except TransientError as error:
            log.warning("asks, partition %d: %s", self._source.partition, error.message)
            await self._setting.sleep(PAUSE_SECONDS_MAX)
            return ()

    def _begin(self, record: SourceRecord, group: asyncio.TaskGroup) -> None:
        partition, offset = self._source.partition, record.offset
        self._open.append(offset)
        self._setting.metrics.add(GATEWAY_ASKS_OPEN)
        try:
            ask = read_ask(record, partition, self._setting.partitions)
        except Exception as fault:  # noqa: BLE001 - one record's fault is not its neighbours' (K2)
            if not isinstance(fault, RejectError):
                fault = RejectError(RejectCode.INTERNAL, _own_fault(partition, offset, fault))
            told = told_refusal(partition, offset, fault, self._setting.now_us())
            self._count(NONE, "problem", told.code)
            group.create_task(self._tell(offset, answer_key(record.key), told))
            return
        before, decided = self._last.get(ask.customer_id), asyncio.Event()
        self._last[ask.customer_id] = decided
        group.create_task(self._serve(ask, before, decided))

    async def _serve(
        self, ask: OpenAsk, before: asyncio.Event | None, decided: asyncio.Event
    ) -> None:
        if before is not None:
            await before.wait()
        told = await self._decided(ask)
        decided.set()
        if self._last[ask.customer_id] is decided:
            del self._last[ask.customer_id]
        await self._tell(ask.offset, ask.key, told)

    async def _decided(self, ask: OpenAsk) -> AnswerRecord:
        """The answer, whatever it is; asked again as long as nobody can decide and it is wanted."""
        setting, pause, unknown = self._setting, PAUSE_SECONDS_FIRST, False
        kind = ask.asked.kind
        while True:
            try:
                async with self._slots:
                    left = (ask.due_us - setting.now_us()) / MICROSECONDS
                    if left <= 0:
                        return self._late(ask, unknown)
                    seconds = min(left, setting.decision_seconds)
                    told = await decide(setting.asking, ask, seconds, setting.now_us)
                    self._count(kind, _outcome(told))
                    return told
            except ProblemError as problem:
                if problem.status != 503:
                    return self._problem(ask, problem.code, problem.detail)
                unknown = unknown or problem.code == "unknown_outcome"
                setting.metrics.add(GATEWAY_ASKS_AGAIN, problem.code)
            except Exception as fault:  # noqa: BLE001 - one ask's fault is not its neighbours' (K2)
                reason = _own_fault(ask.partition, ask.offset, fault)
                return self._problem(ask, "internal", reason)
            await setting.sleep(pause)
            pause = min(2 * pause, PAUSE_SECONDS_MAX)

    def _late(self, ask: OpenAsk, unknown: bool) -> AnswerRecord:
        if unknown:
            detail = "it was asked, and whether it was decided is not known; ask with the same key"
            return self._problem(ask, "unknown_outcome", detail)
        return self._problem(ask, TOO_LATE, "nobody could decide it while it was waited for")

    def _problem(self, ask: OpenAsk, code: str, detail: str) -> AnswerRecord:
        self._count(ask.asked.kind, "problem", code)
        return told_problem(ask, code, detail, self._setting.now_us())

    def _count(self, kind: str, outcome: str, code: str = "") -> None:
        self._setting.metrics.add(GATEWAY_ASKS, kind, outcome)
        if code:
            self._setting.metrics.add(GATEWAY_PROBLEMS, code)

    async def _tell(self, offset: int, key: bytes, told: AnswerRecord) -> None:
        await self._append(key, codec.encode(told))
        self._answered.add(offset)
        self._advance()

    async def _append(self, key: bytes, value: bytes) -> None:
        pause = PAUSE_SECONDS_FIRST
        while True:
            try:
                [appended] = await self._setting.asking.append(ANSWERS.name, [(key, value)])
                if appended is not None:
                    return
            except ProblemError as problem:
                log.warning("answers: %s", problem.code)
            await self._setting.sleep(pause)
            pause = min(2 * pause, PAUSE_SECONDS_MAX)

    def _advance(self) -> None:
        """Moves the position over what is answered, up to the first that is not."""
        passed = -1
        while self._open and self._open[0] in self._answered:
            passed = self._open.popleft()
            self._answered.remove(passed)
            self._setting.metrics.add(GATEWAY_ASKS_OPEN, by=-1)
        if passed >= 0:
            self._source.done(passed + 1)
            self._room.set()


def _own_fault(partition: int, offset: int, fault: Exception) -> str:
    """What is told of a fault of our own, which is logged as well: its kind and place, never its
    text, which may quote what was sent. Nobody replays an ask, so that advice is left out."""
    found = internal(SourceRecord(ASKS.name, offset, 0, None, None), fault)
    reason = found.reason.partition(";")[0]
    log.error("asks, partition %d, offset %d: %s", partition, offset, reason)
    return reason


def _outcome(told: Any) -> str:
    if isinstance(told, AnsweredPreflight):
        return "approved" if told.approved else "refused"
    assert isinstance(told, AnsweredChange), "a problem is no outcome of an owner"
    return "changed" if told.changed else "unchanged"
