"""Tables against the state that was derived again: accounts, trace windows, invoices, progress and
claims.

A table is compared at the cycle that its own progress names, so that it may be behind the ledger
(a running installation, a standby) and still be right.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from schemas.structs import CycleEntry
from schemas.topics import CLAIMS_MARGIN_DAYS
from streams.audit.claims import DAY_US, KEPT_US
from streams.audit.differ import field_difference, shown
from streams.audit.report import PartitionReport
from streams.domain import billing
from streams.domain.appends import (
    account_records,
    all_unbound_rows,
    all_window_rows,
    billing_records,
    decode_account,
    decode_billing,
    decode_progress,
    decode_task,
    encode_progress,
    task_records,
)
from streams.domain.billing import is_billing_row
from streams.domain.decoding import RESERVED
from streams.domain.identity import pack_claim, unpack_claim
from streams.domain.reach import decode_event, decode_segment, decode_trace, decode_window
from streams.domain.state import PartitionState, Progress
from streams.domain.tasks import is_task_row, row_key
from streams.domain.unassigned import is_event_row, is_trace_row
from streams.domain.windows import is_window_row
from streams.ports import PROGRESS_KEY, TableImage

HELD_US: Final = KEPT_US - CLAIMS_MARGIN_DAYS * DAY_US
"""A claim younger than this must be in a table; older ones may have been dropped already."""

COUNTED_OVER_ALL: Final = ("last_sequence", "windows")
"""Fields of an account that depend on all customers: they count the entries of all, or close by the
time that all events tell."""


class StateCheck:
    """Compares each image when its cycle has been decided again."""

    def __init__(
        self, report: PartitionReport, images: Sequence[TableImage], customer: str | None
    ) -> None:
        self._report = report
        self._customer = customer
        self._pending: list[tuple[TableImage, Mapping[bytes, bytes], Progress]] = []
        self._claims: list[tuple[TableImage, int]] = []
        for image in images:
            accounts = image.accounts()
            progress = self._progress_of(image, accounts)
            if progress is not None:
                self._pending.append((image, accounts, progress))
            claims = image.claims() if customer is None else None
            if claims is not None and claims[0] is not None:
                self._claims.append((image, claims[0]))

    def _progress_of(self, image: TableImage, accounts: Mapping[bytes, bytes]) -> Progress | None:
        packed = accounts.get(PROGRESS_KEY)
        if packed is None:
            if accounts:
                self._report.differs(image.name, "progress", "missing, although there are accounts")
            else:
                self._report.notes.append(f"{image.name}: empty, nothing compared")
            return None
        try:
            return decode_progress(packed)
        except ValueError:
            self._report.differs(image.name, "progress", f"cannot be read: {shown(packed)}")
            return None

    def after(self, own: CycleEntry, state: PartitionState, segment_offset: int | None) -> None:
        """Call after each cycle, with the offset of its claims segment."""
        for entry in [e for e in self._pending if _at(e[2]) == (own.generation, own.cycle)]:
            self._pending.remove(entry)
            self._compare_accounts(entry[0], entry[1], state)
        if segment_offset is None:
            return
        for due in [e for e in self._claims if e[1] == segment_offset]:
            self._claims.remove(due)
            self._compare_claims(due[0], state)

    def finish(self, *, ended: bool) -> None:
        """After the last cycle; `ended` where it was the ledger's last."""
        for image, _, progress in self._pending:
            what = f"names cycle {progress.cycle} of generation {progress.generation}"
            if ended:
                self._report.differs(image.name, "progress", f"{what}, which the ledger lacks")
            else:
                self._report.notes.append(f"{image.name}: not compared, it {what}")
        for image, offset in self._claims if ended else ():
            what = f"says that claims segment {offset} was its last, which no cycle appended"
            self._report.differs(image.name, "claims", what)

    def _differs(self, image: TableImage, place: str, what: str) -> None:
        if image.settled:
            self._report.differs(image.name, place, what)
            return
        note = f"{image.name}: follows its changelog and differs, which it may in mid-cycle"
        if note not in self._report.notes:
            self._report.notes.append(note)

    def _compare_accounts(
        self, image: TableImage, found: Mapping[bytes, bytes], state: PartitionState
    ) -> None:
        accounts = list(state.accounts.values())
        if self._customer is not None:
            accounts = [a for a in accounts if a.customer_id == self._customer]
        due = {key: value for key, value in account_records(accounts) if key is not None}
        if self._customer is None:
            due |= {key: row for key, row in task_records(state.tasks.values()) if key is not None}
            rows = billing_records(state.billing.values())
            due |= {key: row for key, row in rows if key is not None}
            due |= all_window_rows(state.windows)
            due |= all_unbound_rows(state.unbound)
            due[PROGRESS_KEY] = encode_progress(state.progress)
        else:
            key = self._customer.encode()
            found = {key: found[key]} if key in found else {}
        for key in sorted(found.keys() | due.keys()):
            self._compare_row(image, key, found.get(key), due.get(key))
        windows = sum(map(is_window_row, due))
        billed = sum(map(is_billing_row, due))
        others = sum(key[:1] == RESERVED and not is_task_row(key) for key in due) - windows
        told = f"{len(due) - windows - others:,} accounts"
        if windows:
            told += f", {windows:,} trace windows"
        if billed:
            told += f", invoices of {billed:,} customers"
        cycle, digest = state.progress.cycle, table_digest(due.items())
        self._report.tables.append(f"{image.name}: cycle {cycle}, {told}, digest {digest}")

    def _compare_row(
        self, image: TableImage, key: bytes, found: bytes | None, due: bytes | None
    ) -> None:
        if found == due:
            return
        progress = key == PROGRESS_KEY
        place = "progress" if progress else _place(key)
        if found is None:
            self._differs(image, place, "missing")
        elif due is None:
            self._differs(image, place, "nothing in the log demands this row")
        else:
            decode = _decoder(key)
            ignored = () if self._customer is None else COUNTED_OVER_ALL
            what = field_difference(decode, found, due, ignored)
            if what:
                self._differs(image, place, what)

    def _compare_claims(self, image: TableImage, state: PartitionState) -> None:
        claims = state.claims
        held_from_us = state.progress.domain_time_us - HELD_US
        found = image.claims()
        assert found is not None
        seen: set[bytes] = set()
        for key, packed in found[1]:
            claim = claims.get(key)
            if claim is not None and pack_claim(claim) == packed:
                seen.add(key)
                continue
            try:
                theirs = unpack_claim(packed)
            except ValueError:
                theirs = None
            if claim is None and theirs is not None and theirs.appended_at_us < held_from_us:
                continue
            seen.add(key)
            what = "nobody claimed it" if claim is None else f"is {theirs}, due is {claim}"
            self._differs(image, f"claim {key.hex()}", what)
        for key, claim in claims.items():
            if key not in seen and claim.appended_at_us >= held_from_us:
                self._differs(image, f"claim {key.hex()}", "missing")
        self._report.tables.append(
            f"{image.name}: claims of cycle {state.progress.cycle}, {len(seen):,} claims"
        )


def _decoder(key: bytes) -> Callable[[bytes], Any]:
    if key == PROGRESS_KEY:
        return decode_progress
    if is_task_row(key):
        return decode_task
    if is_billing_row(key):
        return decode_billing
    if is_window_row(key):
        return decode_window
    if is_trace_row(key):
        return decode_trace
    if is_event_row(key):
        return decode_event
    return decode_segment if key[:1] == RESERVED else decode_account


def _place(key: bytes) -> str:
    if is_task_row(key):
        return f"task {shown(key[len(row_key('')) :].decode(errors='replace'))}"
    if is_billing_row(key):
        customer = key[len(billing.row_key("")) :].decode(errors="replace")
        return f"invoices of {shown(customer)}"
    if key[:1] == RESERVED:
        return f"row {shown(key.decode(errors='replace'))}"
    return f"customer {shown(key.decode(errors='replace'))}"


def table_digest(rows: Iterable[tuple[bytes, bytes]]) -> str:
    """A hex digest of a table: a function of its rows, not of their order."""
    digest = hashlib.blake2b(digest_size=16)
    for key, value in sorted(rows):
        digest.update(b"%d:%d:" % (len(key), len(value)) + key + value)
    return digest.hexdigest()


def _at(progress: Progress) -> tuple[int, int]:
    return progress.generation, progress.cycle
