"""`tollgate bench invoices`: drafts, margins and a closing over a year of rows, and the same by a
table that deduplicates at query time.

What is measured is what the commands run, but for the two facts of a close that go to Kafka: terms,
earlier closes and sums out of ClickHouse, then the very code that recomputes invoices. Before a
figure is told, both tables must have said the same.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from statistics import median
from typing import Final

from schemas.envelope import SCHEMA_VERSION
from schemas.structs import CardDiscount, CardFee, CardItem, CardTiers, Generation, RateCard, Rules
from schemas.structs import TierStep as Step
from streams.app.invoices.documents import Made
from streams.app.invoices.drafts import draft_batch
from streams.app.invoices.facts import Books
from streams.app.invoices.session import Session
from streams.bench.invoice_ground import InvoiceGround, Say, open_invoice_ground
from streams.bench.invoice_rows import CARD, CLOSED, PARTITIONS, LedgerPlan, periods
from streams.bench.report import Report, Target, at_most, machine
from streams.domain.rate_cards import RateShelf
from streams.errors import FaultError, SetupError, TransientError
from streams.invoicing.billing import in_batches
from streams.ports import Warehouse
from streams.settings import Settings

ROWS: Final = 100_000_000
CUSTOMERS: Final = 10_000
ROUNDS: Final = 5
CLOSING_ROUNDS: Final = 3

MEASURE_SECONDS_MAX: Final = 60
"""After so long no further round of a figure begins."""

DRAFT_MS: Final = at_most(100)
MARGIN_MS: Final = at_most(1_000)
CLOSING_MS: Final = at_most(60_000)

ROWS_A_MONTH_MIN: Final = 4
"""Rows of a month for each customer: two are its invoice."""

MARGIN_SQL: Final = "SELECT * FROM margin_of_period(label = {label:String})"


@dataclass(frozen=True, slots=True)
class InvoiceOptions:
    """What `bench invoices` was asked for."""

    rows: int = ROWS
    customers: int = CUSTOMERS
    rounds: int = ROUNDS
    final: bool = True
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds of each round, and a digest of what came out."""

    seconds: Sequence[float]
    outcome: str

    @property
    def median_ms(self) -> float:
        """The middle round."""
        return median(self.seconds) * 1e3


def run_invoices(settings: Settings, options: InvoiceOptions, say: Say) -> Report:
    """The figures. Raises SetupError, and FaultError where the tables disagree."""
    plan = LedgerPlan(options.rows, options.customers)
    if plan.billed == 0 or plan.rows_a_month < plan.billed * ROWS_A_MONTH_MIN:
        raise SetupError(
            f"{options.rows:,} rows are too few for {options.customers:,} customers",
            action=f"Give at least {PARTITIONS} customers, and 50 rows for each.",
        )
    with open_invoice_ground(settings, plan, say, final=options.final, keep=options.keep) as ground:
        report = Report(machine())
        report.add("rows", plan.total, "rows")
        report.add("customers", plan.billed, "customers")
        report.add("rows made", plan.total / ground.insert_seconds, "rows/s")
        report.add("ledger on disk", ground.bytes_on_disk() / plan.total, "bytes/row")
        _draft(report, ground, options, say)
        _margin(report, ground, options, say)
        _closing(report, ground, options, say)
        return report


def _draft(report: Report, ground: InvoiceGround, options: InvoiceOptions, say: Say) -> None:
    """One customer's draft again and again, and those of customers nobody has looked at, whose
    rows the disk has to bring."""
    ids = ground.plan.customer_ids()
    chosen = [ids[len(ids) * number // options.rounds] for number in range(options.rounds)]

    def again(warehouse: Warehouse) -> Measured:
        session = _session(ground, warehouse)
        _drafts(session, ids[-1:])
        return _measure([partial(_drafts, session, ids[-1:])] * options.rounds)

    def first(warehouse: Warehouse) -> Measured:
        session = _session(ground, warehouse)
        return _measure([partial(_drafts, session, [one]) for one in chosen])

    say("draft of one customer-month")
    _beside(report, ground, "first draft of a customer-month", first, None, say)
    _beside(report, ground, "draft of a customer-month", again, DRAFT_MS, say)


def _margin(report: Report, ground: InvoiceGround, options: InvoiceOptions, say: Say) -> None:
    label = str(periods()[CLOSED // 2])

    def margin(warehouse: Warehouse) -> Measured:
        def ask() -> str:
            rows = warehouse.query(MARGIN_SQL, {"label": label}).rows
            if len({row[0] for row in rows}) != ground.plan.billed:
                raise FaultError("customers are missing", action="This is a defect: report it.")
            return _digest(sorted(map(str, rows)))

        ask()
        return _measure([ask] * options.rounds)

    say("margin by customer for a month")
    _beside(report, ground, "margin by customer, a month", margin, MARGIN_MS, say)


def _closing(report: Report, ground: InvoiceGround, options: InvoiceOptions, say: Say) -> None:
    customers = ground.plan.customer_ids()

    def close(warehouse: Warehouse) -> Measured:
        session = _session(ground, warehouse)

        def all_of_them() -> str:
            return _digest([_drafts(session, batch) for batch in in_batches(customers)])

        return _measure([all_of_them] * min(options.rounds, CLOSING_ROUNDS))

    say(f"the documents of {len(customers):,} customers")
    _beside(report, ground, f"closing of {len(customers):,} customers", close, CLOSING_MS, say)


def _beside(
    report: Report,
    ground: InvoiceGround,
    name: str,
    measure: Callable[[Warehouse], Measured],
    target: Target | None,
    say: Say,
) -> None:
    """Measures with the exact rows and then with FINAL."""
    exact = measure(ground.exact)
    report.add(name, exact.median_ms, "ms", target)
    if ground.final is None:
        return
    try:
        final = measure(ground.final)
    except TransientError as error:
        say(f"{name} with FINAL: {error}")
        return
    if final.outcome != exact.outcome:
        raise FaultError(
            f"{name}: the ledger and the table that deduplicates say different things",
            action="This is a defect of the benchmark or of the queries: report it.",
        )
    report.add(f"{name}, with FINAL", final.median_ms, "ms")
    report.add(f"{name}, FINAL takes", final.median_ms / exact.median_ms, "times as long")


def _measure(rounds: Sequence[Callable[[], str]]) -> Measured:
    """Round after round, the last ones left out where they would take too long."""
    seconds: list[float] = []
    outcomes: list[str] = []
    for one in rounds:
        if sum(seconds) > MEASURE_SECONDS_MAX:
            break
        began = time.perf_counter()
        outcomes.append(one())
        seconds.append(time.perf_counter() - began)
    return Measured(seconds, _digest(sorted(set(outcomes))))


def _drafts(session: Session, customers: Sequence[str]) -> str:
    """The documents of some customers' next period, as facts would carry them."""
    made: list[Made] = draft_batch(session, customers, None, session.shelf)
    if len(made) != len(customers):
        raise FaultError("documents are missing", action="This is a defect: report it.")
    return _digest([one.fields() for one in made])


def _digest(value: object) -> str:
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _session(ground: InvoiceGround, warehouse: Warehouse) -> Session:
    generation = Generation(
        schema_version=SCHEMA_VERSION,
        id="bench",
        version="1",
        generation=1,
        partitions=PARTITIONS,
    )
    shelf = RateShelf()
    shelf.fold(0, generation)
    shelf.fold(1, Rules(schema_version=SCHEMA_VERSION, id="bench", version="1", default_plan=[]))
    shelf.fold(2, _card())
    return Session(Books(ground.settings, warehouse, generation), shelf, 0, periods()[-1].to_us)


def _card() -> RateCard:
    """A fee, tiers, an allowance, lines by model and by signal, a markup, a discount, a minimum."""
    steps = [Step(up_to=500, price="0.02"), Step(up_to=None, price="0.01")]
    return RateCard(
        schema_version=SCHEMA_VERSION,
        id=CARD,
        version="1",
        title="Standard",
        fees=[CardFee(id="base", title="Base fee", amount="20")],
        items=[
            CardItem(id="calls", metric="calls", tiers=CardTiers(mode="graduated", steps=steps)),
            CardItem(id="tokens", metric="tokens", group_by="model", price="0.5", per=1_000_000),
            CardItem(id="outcomes", metric="signals", group_by="signal", price="1.5", included=5),
            CardItem(id="cost", metric="cost", markup_percent="20"),
        ],
        discounts=[CardDiscount(id="loyal", percent="5", items=["calls", "outcomes"])],
        minimum="50",
    )
