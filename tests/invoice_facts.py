"""A customer who is invoiced, in memory: bodies about terms and invoices, and a partition that
decides them.

    books = Invoiced()
    (entry,) = books.tell(close(MONTHS[0]))      a cycle of its own, a month after it ended
    books.refused(issue("acme-0002"))            the code of the refusal
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from schemas import codec
from schemas.errors import RejectCode
from schemas.structs import InboundFact, LedgerEntry
from schemas.times import parse_time_us
from streams.domain.billing import Billing
from streams.domain.context import Context
from streams.domain.facts import Rejected
from streams.domain.folding import CycleResult
from streams.domain.state import PartitionState
from tests.builders import DAY_US, context, cycle, fact, json_of, state

MONTHS: Final = tuple(
    parse_time_us(f"{year}-{month:02d}-01T00:00:00Z")
    for year in (2026, 2027)
    for month in range(1, 13)
)
"""When the months of two years begin."""

DIGEST: Final = "0123456789abcdef" * 4


def told(kind: str, event_id: str, customer: str = "acme", **fields: Any) -> Any:
    """A body about terms or invoices, through its bytes."""
    return codec.decode_budget(json_of(customer, event_id, {"kind": kind} | fields))


def retold(body: Any, **fields: Any) -> Any:
    """The same body with other fields."""
    return codec.decode_budget(codec.encode(codec.to_plain(body) | fields))


def terms(event_id: str = "t1", **fields: Any) -> Any:
    """Terms under the card `pro`."""
    made: dict[str, Any] = {"card": "pro"}
    return told("terms", event_id, **(made | fields))


def credit(event_id: str = "c1", amount: str = "5", **fields: Any) -> Any:
    """A credit of five dollars."""
    return told("credit", event_id, amount=amount, **fields)


def close(month: int = 0, *, event_id: str = "", **fields: Any) -> Any:
    """The close of a month of 2026, counted from 0, under one version of the card `pro`."""
    begin, end = MONTHS[month], MONTHS[month + 1]
    made: dict[str, Any] = {
        "label": f"2026-{month + 1:02d}",
        "zone": "UTC",
        "period_from": begin,
        "period_to": end,
        "segments": [{"card": "pro", "version": "1", "from_us": begin, "to_us": end}],
    }
    reissued = fields.get("reissues")
    default = f"reissue:{reissued}:1" if reissued else f"close:{begin}:{end}"
    return told("invoice_close", event_id or default, **(made | fields))


def line(number: int = 1, amount: str = "12.50", currency: str = "USD", **fields: Any) -> Any:
    """A line for calls in January."""
    made = {
        "line": number,
        "line_kind": "usage",
        "label": "2026-01",
        "item": "calls",
        "from_us": MONTHS[0],
        "to_us": MONTHS[1],
        "amount": amount,
        "currency": currency,
    }
    return made | fields


def issue(number: str = "acme-0001", *amounts: str, document: str = "invoice", **more: Any) -> Any:
    """The issue of a document with a line for each amount in dollars."""
    lines = [line(place, amount) for place, amount in enumerate(amounts or ("12.50",), 1)]
    fields = {"lines": lines, "totals": totals_of(lines), "digest": DIGEST} | more
    return told("invoice_issue", f"issue:{number}", number=number, document=document, **fields)


def note_of(number: str, *amounts: str) -> Any:
    """The issue of the credit note that takes these amounts back."""
    return issue(number, *(f"-{amount}" for amount in amounts), document="credit_note")


def total(currency: str, amount: str) -> dict[str, str]:
    """A total of an issue."""
    return {"currency": currency, "amount": amount}


def totals_of(lines: Iterable[Any]) -> list[dict[str, str]]:
    """One total for each currency, in whole cents."""
    sums: dict[str, int] = {}
    for one in lines:
        whole, _, rest = one["amount"].lstrip("-").partition(".")
        cents = int(whole) * 100 + int(rest.ljust(2, "0") or 0)
        sign = -1 if one["amount"].startswith("-") else 1
        sums[one["currency"]] = sums.get(one["currency"], 0) + sign * cents
    return [
        {
            "currency": currency,
            "amount": f"{'-' * (cents < 0)}{abs(cents) // 100}.{abs(cents) % 100:02d}",
        }
        for currency, cents in sums.items()
    ]


def void_invoice(number: str = "acme-0001", *, reissue: bool = False, **fields: Any) -> Any:
    """An invoice taken back."""
    return told("invoice_void", f"void:{number}", number=number, reissue=reissue, **fields)


@dataclass
class Invoiced:
    """A partition. Time stands a year after the first month, so that everything is due."""

    context: Context = field(default_factory=context)
    state: PartitionState = field(default_factory=state)
    now_us: int = MONTHS[23] + 2 * DAY_US
    entries: list[LedgerEntry] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    offsets: dict[str, int] = field(default_factory=dict)

    def facts_of(self, *bodies: InboundFact) -> list[Any]:
        """These bodies as they come next in their topics."""
        facts = []
        for body in bodies:
            made = fact(body, 0, self.now_us)
            topic = made.record.topic
            made.record.offset = self.offsets.get(topic, 0)
            self.offsets[topic] = made.record.offset + 1
            facts.append(fact(body, made.record.offset, self.now_us))
        return facts

    def cycle(self, *bodies: InboundFact) -> CycleResult:
        """One cycle of these bodies."""
        facts = self.facts_of(*bodies)
        result = cycle(self.state, *facts, context=self.context, at_us=self.now_us)
        self.entries += result.entries
        self.rejected += result.rejected
        return result

    def tell(self, *bodies: InboundFact) -> list[Any]:
        """The entries of one cycle of these bodies, without its own; none of them is refused."""
        result = self.cycle(*bodies)
        assert not result.rejected, result.rejected
        return list(result.entries[1:])

    def refused(self, body: InboundFact) -> RejectCode:
        """The code by which a body is refused."""
        before = codec.encode(self.state.billing.get("acme"))
        (rejected,) = self.cycle(body).rejected
        assert codec.encode(self.state.billing.get("acme")) == before
        return rejected.code

    def billing(self, customer: str = "acme") -> Billing:
        """The row of a customer."""
        return self.state.billing[customer]

    def rules(self, **changes: Any) -> None:
        """Decides by other rules from here on."""
        self.context = replace(self.context, **changes)
