"""Asking owners: the partition of an account, tries within one deadline, and the two steps of a
preflight that names a task.

Used by every protocol. Knows the asks of `schemas.rpc` and nothing of HTTP but the problem codes
that an answer without a decision becomes.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import schemas.rpc as rpc
from schemas.partitioner import partition_of
from streams.errors import TransientError
from streams.gateway.ports import Appended, Directory, Inbound, Owners
from streams.gateway.problems import CODES, ProblemError

TRY_AGAIN: Final = frozenset({"not_mine", "not_ready", "unknown_outcome"})
"""Answers after which the same ask, within the same deadline, may find an owner that decides. Every
ask is safe to repeat: a preflight has a key, the others say what shall be. `lagging` and
`overloaded` are passed on at once, since asking again only adds to them."""

PAUSE_SECONDS_FIRST: Final = 0.01
PAUSE_SECONDS_MAX: Final = 0.2
"""Between two tries: doubled from the first to the longest. A partition that moves on purpose is
away for about a second."""

TRY_SECONDS_MIN: Final = 0.005
"""With less time left than a hop takes, another try could only end without an answer."""

COMMIT_MARGIN_SECONDS: Final = 0.05
"""How much earlier than ourselves an owner stops waiting for a commit, so that its `undecided`
arrives while somebody listens."""

UNDO_SECONDS_MAX: Final = 1.0
"""How long a refusal waits until the task's hold is given back. After that it is answered, and the
release goes on behind it."""

TASK_TRIES_MAX: Final = 8
"""Holds of a task that one idempotency key may have had, each given back or expired before the
next. More tries than that belong to a client that never looks at its answers."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided: `answer` is what counts, the task's where the task refused, else the
    customer's. `task` is the task's own answer where one was asked."""

    answer: rpc.PreflightAnswer
    task: rpc.PreflightAnswer | None = None

    @property
    def refused_by_task(self) -> bool:
        """Whether the customer was not asked any more."""
        return self.answer is self.task


@dataclass(frozen=True, slots=True)
class Recorded:
    """A record that stands in the log, and what became of it. `answer` None: no owner could say
    so in time; it will be decided all the same."""

    appended: Appended
    answer: rpc.RecordAnswer | None

    @property
    def decided(self) -> rpc.RecordAnswer | None:
        """The answer, where its cycle has committed."""
        answer = self.answer
        return None if answer is None or answer.status == "undecided" else answer


def problem_of(error: rpc.ErrorAnswer) -> ProblemError:
    """The problem that an owner's ErrorAnswer becomes."""
    code = "invalid_field" if error.code == "invalid" else error.code
    if code not in CODES:
        code = "internal"
    return ProblemError(code, error.message, retry_after_seconds=error.retry_after_ms / 1000)


class Asking:
    """Asks owners and appends records for the protocols.

    `now` is a monotonic clock in seconds; `sleep` waits. Both are given so that tests need not.
    """

    def __init__(
        self,
        owners: Owners,
        inbound: Inbound,
        directory: Directory,
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._owners = owners
        self._inbound = inbound
        self._directory = directory
        self._now = now
        self._sleep = sleep
        self._undoing: set[asyncio.Task[rpc.Answer]] = set()

    def partition(self, account_id: str) -> int:
        """The partition where an account lives, customer or task (K1, P8)."""
        return partition_of(account_id.encode(), self._directory.partitions)

    async def ask(self, ask: rpc.Ask, seconds: float) -> rpc.Answer:
        """The answer of the account's owner; the last ErrorAnswer where the time ran out.

        An `unknown_outcome` on the way is remembered: it is the answer if no later try is decided,
        since what it left behind may stand.
        """
        deadline = self._now() + seconds
        partition = self.partition(ask.account_id)
        pause, unknown = PAUSE_SECONDS_FIRST, None
        while True:
            left = max(deadline - self._now(), TRY_SECONDS_MIN)
            answer = await self._owners.ask(partition, _within(ask, left), left)
            if not isinstance(answer, rpc.ErrorAnswer):
                return answer
            if answer.code == "unknown_outcome":
                unknown = answer
            left = deadline - self._now()
            if answer.code not in TRY_AGAIN or left <= pause + TRY_SECONDS_MIN:
                transient = CODES[answer.code].status == 503 if answer.code in CODES else False
                return unknown if unknown is not None and transient else answer
            await self._sleep(pause)
            pause = min(2 * pause, PAUSE_SECONDS_MAX)

    async def preflight(self, ask: rpc.PreflightAsk, seconds: float) -> Decision:
        """Asks the customer, and before it the task where one is named (P8).

        `ask` is that of the customer, with `task_ref` and `task_ceiling` where there is a task. The
        task holds first; where the customer then refuses, or certainly did not decide, the task's
        hold is given back. Raises ProblemError where nothing was decided.
        """
        deadline = self._now() + seconds
        if ask.task_ref is None:
            return Decision(_decided(await self.ask(ask, seconds)))
        task = await self._hold_of_task(ask, ask.task_ref, deadline)
        if not task.approved:
            return Decision(task, task)
        answer = await self.ask(_for_customer(ask, task), deadline - self._now())
        if isinstance(answer, rpc.PreflightAnswer):
            # An old decision stands with the task's hold of its own time, not with a new one.
            superfluous = answer.replayed and not task.replayed
            if not answer.approved or superfluous:
                await self._undo(task, ask.task_ref, deadline)
            return Decision(answer, task)
        if not (isinstance(answer, rpc.ErrorAnswer) and answer.code == "unknown_outcome"):
            # With an unknown outcome the customer's hold may stand, and a repeat with the same key
            # will be told so: then the task's has to stand as well.
            await self._undo(task, ask.task_ref, deadline)
        return Decision(_decided(answer), task)

    async def _hold_of_task(
        self, ask: rpc.PreflightAsk, task_ref: str, deadline: float
    ) -> rpc.PreflightAnswer:
        """The task's decision for this key: one that holds still, or a refusal.

        A key whose earlier try was undone has a decision whose hold is no more; the next try of the
        same key is asked under a key of its own, which follows from the first.
        """
        for number in range(TASK_TRIES_MAX):
            task_ask = rpc.PreflightAsk(
                account_kind="task",
                account_id=task_ref,
                source=ask.source,
                idempotency_key=_key_of_try(ask.idempotency_key, number),
                denomination=ask.denomination,
                estimate=ask.estimate,
                agent_id=ask.agent_id,
                task_ref=task_ref,
                ceiling=ask.ceiling,
                task_ceiling=ask.task_ceiling,
                ttl_ms=ask.ttl_ms,
            )
            answer = _decided(await self.ask(task_ask, deadline - self._now()))
            undone = answer.replayed and answer.hold_state in ("released", "expired")
            if not (answer.approved and undone):
                return answer
        raise ProblemError(
            "conflict",
            f"{TASK_TRIES_MAX} holds of the task were given back under this idempotency key; "
            "ask again under a new one",
        )

    async def _undo(self, task: rpc.PreflightAnswer, task_ref: str, deadline: float) -> None:
        """Gives the task's hold back and waits a moment for it. Where that fails, the hold expires
        by itself."""
        if task.hold_state != "open":
            return
        ask = rpc.ReleaseAsk(
            account_kind="task", account_id=task_ref, reservation_id=task.reservation_id
        )
        undoing = asyncio.ensure_future(self.ask(ask, UNDO_SECONDS_MAX))
        self._undoing.add(undoing)
        undoing.add_done_callback(self._undoing.discard)
        left = min(UNDO_SECONDS_MAX, max(deadline - self._now(), TRY_SECONDS_MIN))
        await asyncio.wait({undoing}, timeout=left)

    async def append(self, topic: str, records: list[tuple[bytes, bytes]]) -> list[Appended | None]:
        """Where each record stands, None where that is not known.

        Raises ProblemError where nothing was tried.
        """
        try:
            results = await self._inbound.append(topic, records)
        except TransientError as error:
            raise ProblemError("log_unavailable", error.message) from error
        return [result if isinstance(result, Appended) else None for result in results]

    async def record(
        self,
        topic: str,
        account_id: str,
        value: bytes,
        seconds: float,
        account_kind: rpc.AccountKind = "customer",
    ) -> Recorded:
        """Appends one record, keyed by its account, and waits for its committed entry (R1).

        Raises ProblemError `log_unavailable` where the append is not acknowledged: whether it is
        there is not known, and the same record with the same id counts once.
        """
        deadline = self._now() + seconds
        [appended] = await self.append(topic, [(account_id.encode(), value)])
        if appended is None:
            raise ProblemError(
                "log_unavailable",
                "the log did not acknowledge the record; send it again with the same id",
            )
        ask = rpc.AwaitAsk(
            account_kind=account_kind,
            account_id=account_id,
            topic=topic,
            offset=appended.offset,
            timeout_ms=0,
        )
        answer = await self.ask(ask, deadline - self._now())
        return Recorded(appended, answer if isinstance(answer, rpc.RecordAnswer) else None)

    async def close(self) -> None:
        """Waits for releases that are still on their way."""
        if self._undoing:
            await asyncio.wait(self._undoing, timeout=UNDO_SECONDS_MAX)


def _decided(answer: rpc.Answer) -> rpc.PreflightAnswer:
    if isinstance(answer, rpc.PreflightAnswer):
        return answer
    if isinstance(answer, rpc.ErrorAnswer):
        raise problem_of(answer)
    raise ProblemError("internal", "an owner gave an answer of another kind than was asked for")


def _within(ask: rpc.Ask, seconds: float) -> rpc.Ask:
    """The ask with its own deadline inside ours."""
    if not isinstance(ask, rpc.AwaitAsk):
        return ask
    return rpc.AwaitAsk(
        account_kind=ask.account_kind,
        account_id=ask.account_id,
        topic=ask.topic,
        offset=ask.offset,
        timeout_ms=max(int((seconds - COMMIT_MARGIN_SECONDS) * 1000), 0),
    )


def _for_customer(ask: rpc.PreflightAsk, task: rpc.PreflightAnswer) -> rpc.PreflightAsk:
    """The customer's part: the ceiling of the task is the task's affair."""
    return rpc.PreflightAsk(
        account_kind=ask.account_kind,
        account_id=ask.account_id,
        source=ask.source,
        idempotency_key=ask.idempotency_key,
        denomination=ask.denomination,
        estimate=ask.estimate,
        agent_id=ask.agent_id,
        task_ref=ask.task_ref,
        ceiling=ask.ceiling,
        task_reservation_id=task.reservation_id,
        ttl_ms=ask.ttl_ms,
    )


def _key_of_try(key: str, number: int) -> str:
    """The idempotency key of a task's n-th try: the client's own, then one made from it."""
    if not number:
        return key
    return f"try-{number}-{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}"
