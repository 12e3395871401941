"""The owner's answers, made of what is decided or committed. Pure: nothing is looked up here."""

from collections.abc import Iterable
from typing import Final

from schemas.money import format_amount, parse_signed_amount
from schemas.rpc import (
    AccountAnswer,
    EntryTold,
    ErrorAnswer,
    Freshness,
    PreflightAnswer,
    RecordAnswer,
    ReleaseAnswer,
)
from schemas.structs import (
    ClosingEntry,
    ExtensionEntry,
    GrantEntry,
    LedgerEntry,
    Preflight,
    UsageEntry,
)
from streams.agents.watchers import Found
from streams.domain.budget import Account, balance_text, entry_tokens
from streams.domain.decisions import View
from streams.domain.tasks import Task

RETRY_AFTER_MS: Final = {
    "not_mine": 200,
    "not_ready": 200,
    "lagging": 1_000,
    "unknown_outcome": 500,
    "overloaded": 500,
}
"""How long to wait before asking again, by code: a hand-over takes some hundred milliseconds, a
backlog longer. Codes that are not here are final."""

MESSAGES: Final = {
    "not_mine": "this worker does not own the account's partition",
    "not_ready": "the account's partition has just moved here and is not ready yet",
    "lagging": "the account's partition is behind: what it knows is too old to decide on",
    "unknown_outcome": "whether this was decided is not known; ask again with the same key",
    "overloaded": "too many questions wait for this partition",
    "conflict": "this key has been used for another preflight",
    "too_many_holds": "the account has as many open holds as the rules allow",
    "task_ceiling_required": "the task has no ceiling yet; the first preflight has to name one",
    "task_unit_mismatch": "the task counts in another denomination",
    "invalid": "this cannot be asked of this account",
    "internal": "the decision failed by a fault of our own; nothing was written",
}


def error(code: str, message: str = "") -> ErrorAnswer:
    """The answer that says why there is none."""
    return ErrorAnswer(code, message or MESSAGES.get(code, code), RETRY_AFTER_MS.get(code, 0))


def preflight_answer(
    body: Preflight,
    reservation_id: str,
    view: View,
    fresh: Freshness,
    *,
    replayed: bool = False,
    hold_state: str = "open",
) -> PreflightAnswer:
    """A decision as its record says it. A refusal has no reservation and no hold."""
    ceiling, used = _task_figures(view) if body.account_kind == "task" else (None, None)
    return PreflightAnswer(
        approved=body.approved,
        reason=body.reason or "",
        reservation_id=reservation_id if body.approved else "",
        denomination=body.denomination.value,
        estimate=body.estimate,
        remaining=body.remaining,
        decided_at=body.decided_at,
        expires_at=body.expires_at,
        fresh=fresh,
        replayed=replayed,
        hold_state=hold_state if body.approved else "",
        ceiling=ceiling,
        used=used,
    )


def _task_figures(view: View) -> tuple[str | None, str | None]:
    """Ceiling and use of a task, None where it has no ceiling."""
    task = view.account if isinstance(view.account, Task) else Task("")
    denomination, ceiling = task.denomination, task.ceiling
    if not denomination:
        if view.opened is None:
            return None, None
        denomination, ceiling = view.opened
    used = {"unit": task.used_units, "token": task.used_tokens, "usd": task.used_pico_usd}
    return balance_text(denomination, ceiling), balance_text(denomination, used[denomination])


def unchanged(
    reservation_id: str,
    state: str,
    fresh: Freshness,
    expires_at: int = 0,
    *,
    committed: bool = True,
) -> ReleaseAnswer:
    """The answer to a release or an extension that changed nothing, or, not `committed`, of which
    nobody knows yet."""
    return ReleaseAnswer(reservation_id, state, False, "0", expires_at, fresh, committed)


def released(entry: ClosingEntry, fresh: Freshness) -> ReleaseAnswer:
    """The answer to the release that closed a hold."""
    return ReleaseAnswer(
        entry.reservation_id, entry.closed_as, True, entry.released, 0, fresh, True
    )


def extended(entry: ExtensionEntry, fresh: Freshness) -> ReleaseAnswer:
    """The answer to the extension that counts."""
    return ReleaseAnswer(entry.reservation_id, "open", True, "0", entry.expires_at, fresh, True)


def record_answer(found: Found, account: AccountAnswer, *, was_spent: bool) -> RecordAnswer:
    """What became of a record; `was_spent` says whether a budget had been spent before it."""
    fresh = account.fresh
    rejected = found.rejected
    if rejected is not None:
        return RecordAnswer(
            "refused",
            fresh,
            code=rejected.code.value,
            reason=rejected.reason,
            field=rejected.field,
            account=account,
        )
    told = entry_told(found.entries)
    if told is None:
        return RecordAnswer("duplicate", fresh, account=account)
    return RecordAnswer("accepted", fresh, told, account=account, was_exhausted=was_spent)


def entry_told(entries: Iterable[LedgerEntry]) -> EntryTold | None:
    """The entry of a record in short: the one with index 0; the others follow from it."""
    own: LedgerEntry | None = None
    created, closings = False, list[ClosingEntry]()
    for entry in entries:
        if isinstance(entry, ClosingEntry):
            closings.append(entry)
        elif getattr(entry, "entry_index", 0) == 0:
            own = entry
        elif isinstance(entry, GrantEntry):
            created = True
    if own is None:
        return None
    given_back, denomination = _given_back(closings)
    if not isinstance(own, UsageEntry):
        return EntryTold(
            own.entry_id,
            _kind(own),
            released=given_back,
            denomination=denomination,
            customer_created=created,
        )
    return EntryTold(
        own.entry_id,
        "usage",
        own.units,
        own.cost,
        own.currency,
        own.cost_basis,
        own.reservation_id,
        own.settlement,
        given_back,
        denomination,
        created,
    )


def _kind(entry: LedgerEntry) -> str:
    name = type(entry).__name__
    return name.removesuffix("Entry").lower()


def _given_back(closings: list[ClosingEntry]) -> tuple[str, str]:
    """What closed holds gave back together, in the denomination of the first."""
    if not closings:
        return "0", ""
    denomination = closings[0].denomination
    same = [one for one in closings if one.denomination == denomination]
    if denomination == "usd":
        total = format_amount(sum(parse_signed_amount(one.released) for one in same))
    else:
        total = str(sum(int(one.released) for one in same))
    return total, denomination.value


def was_exhausted(entries: Iterable[LedgerEntry], account: Account | Task | None) -> bool:
    """Whether a budget of the customer had been spent before a usage record: it used something of
    a denomination that the customer has been granted, and no grant covered any of it."""
    if not isinstance(account, Account):
        return False
    for entry in entries:
        if isinstance(entry, UsageEntry):
            usd = entry.cost if entry.currency == "USD" else "0"
            uses = {
                "unit": (entry.units > 0, entry.covered_units == 0),
                "token": (entry_tokens(entry) > 0, entry.covered_tokens == 0),
                "usd": (usd != "0" or entry.provisional != "0", entry.covered_usd == "0"),
            }
            return any(all(uses[one]) for one in account.budgeted)
    return False
