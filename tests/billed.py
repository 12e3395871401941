"""An installation whose periods can be closed, for tests of invoices on real servers.

Its customers are billed from yesterday's day of the month, so that two periods have ended, the
first of them not too long ago for events of its last hours.
"""

from calendar import monthrange
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from schemas import codec
from schemas.structs import InvoiceIssueEntry, replace
from schemas.topics import LEDGER, SIGNALS, USAGE
from streams.adapters.catalog import append_catalog, read_catalog
from streams.adapters.clickhouse import ClickHouse
from streams.adapters.clock import SystemClock
from streams.app.installation import default_rules
from streams.app.invoices.verifying import Choice, verify_invoices
from tests.builders import json_of
from tests.embedded_waiting import until
from tests.installation import Installation

if TYPE_CHECKING:
    pass

WAIT_SECONDS: Final = 90.0

NOW: Final = datetime.fromtimestamp(SystemClock().now_us() / 10**6, UTC)
YESTERDAY: Final = NOW.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
DAY: Final = YESTERDAY.day
TOKYO: Final = ZoneInfo("Asia/Tokyo")


def month_before(end: datetime) -> datetime:
    """The billing day of the month before, its last day where it has no such day."""
    year, month = (end.year, end.month - 1) if end.month > 1 else (end.year - 1, 12)
    return end.replace(year=year, month=month, day=min(DAY, monthrange(year, month)[1]))


SECOND_TO: Final = YESTERDAY
FIRST_TO: Final = month_before(SECOND_TO)
FIRST: Final = f"{month_before(FIRST_TO):%Y-%m}"
SECOND: Final = f"{FIRST_TO:%Y-%m}"
IN_FIRST: Final = FIRST_TO - timedelta(hours=1)
IN_SECOND: Final = SECOND_TO - timedelta(hours=1)

CARD: Final = """\
kind: rate_card
id: pro
title: Pro
fees:
  - {id: base, title: Base fee, amount: 10}
items:
  - {id: calls, title: Calls, metric: calls, price: 0.10}
  - {id: ai, title: AI cost, metric: cost, markup_percent: 20}
  - {id: meetings, title: Meetings booked, metric: signals, signal: meeting, price: 2.50}
"""


@dataclass
class Billed:
    """An installation whose periods can be closed as soon as they have ended."""

    installation: Installation
    clickhouse: ClickHouse
    segments: Path

    def call(self, customer: str, event_id: str, at: datetime, **more: Any) -> None:
        """A call at a time."""
        fields = {"occurred_at": text(at), "provider": "lab", "model": "small"} | more
        self.installation.produce(USAGE.name, [json_of(customer, event_id, fields)], key=customer)

    def signal(self, customer: str, event_id: str, at: datetime) -> None:
        """A meeting at a time."""
        fields = {"occurred_at": text(at), "name": "meeting"}
        self.installation.produce(SIGNALS.name, [json_of(customer, event_id, fields)], key=customer)

    def wait_rows(self, kind: str, count: int) -> None:
        """Returns when ClickHouse has so many rows of a kind."""
        sql = f"SELECT count() FROM ledger WHERE kind = '{kind}'"

        def there() -> int:
            return int(self.clickhouse.query(sql).rows[0][0])

        self.until(lambda: there() >= count, lambda: f"{count} rows of {kind}, but {there()}")

    def until(self, seen: Callable[[], bool], what: str | Callable[[], object]) -> None:
        """Returns when it is so."""
        until(seen, what, WAIT_SECONDS, 0.1)

    def issues(self) -> list[InvoiceIssueEntry]:
        """What was issued, by the log."""
        found = (codec.decode_entry(r.value) for part in self.installation.read(LEDGER.name)
                 for r in part)  # fmt: skip
        return [one for one in found if isinstance(one, InvoiceIssueEntry)]

    def differences(self) -> list[str]:
        """What a verification of everything finds."""
        return verify_invoices(
            self.installation.settings, Choice(wait_seconds=0), lambda _done, _total: None
        ).differences

    @contextmanager
    def spoilt(self, *statements: str) -> Iterator[None]:
        """Changes the table, and puts all of it back afterwards."""
        ch = self.clickhouse
        ch.execute("CREATE TABLE kept AS ledger")
        ch.execute("INSERT INTO kept SELECT * FROM ledger")
        try:
            for statement in statements:
                ch.execute(f"{statement} SETTINGS mutations_sync = 2")
            yield
        finally:
            ch.execute("TRUNCATE TABLE ledger SYNC")
            ch.execute("INSERT INTO ledger SELECT * FROM kept")
            ch.execute("DROP TABLE kept SYNC")


def text(at: datetime) -> str:
    """A time as producers write it."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


async def no_grace(installation: Installation) -> None:
    settings = installation.settings
    assert settings.kafka_bootstrap is not None
    view = await read_catalog(settings.kafka_bootstrap, settings.topic_prefix)
    rules = replace(default_rules(), version="no grace", invoice_grace_seconds=0)
    await append_catalog(settings.kafka_bootstrap, settings.topic_prefix, view, [rules])
