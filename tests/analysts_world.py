"""What docs/analytics.md answers from: two customers, three months, two of them invoiced."""

from typing import Any, Final

from tests.analysts import World, at, invoice, issue, line


def golden() -> World:
    """What docs/analytics.md answers from."""
    world = World()
    _catalog(world)
    _september(world)
    _october(world)
    _november(world)
    _huge(world)
    return world


def _catalog(world: World) -> None:
    def book(version: str, **rates: Any) -> None:
        models = [{"id": "gpt-5", "match": {"equals": "gpt-5"}, "spans": [{"rates": rates}]}]
        world.record(
            "price_book", "prices", version, providers=[{"id": "openai", "models": models}]
        )

    book("2026.08", input_tokens={"base": "1.25"}, output_tokens={"base": "10"})
    book(
        "2026.10",
        input_tokens={"base": "1", "tiers": [[200000, "2"]]},
        output_tokens={"base": "8"},
    )
    for customer in ("acme", "globex"):
        world.record(
            "price_override",
            f"{customer}-deal",
            "1",
            match={"equals": "gpt-5"},
            customer_id=customer,
            multiplier="0.9",
        )
    calls = {"id": "calls", "metric": "calls", "price": "0.5"}
    outcomes = {"id": "outcomes", "metric": "signals"}
    fees = [{"id": "base", "amount": "10"}]
    world.record("rate_card", "pro", "1", fees=fees, items=[calls, outcomes | {"price": "2"}])
    world.record(
        "rate_card",
        "pro",
        "2",
        fees=fees,
        items=[calls, outcomes | {"price": "3"}],
        effective_from=at("12-01"),
    )
    resolved = {"id": "resolved", "metric": "signals", "signal": "ticket_resolved", "price": "0.25"}
    by_agent = {"id": "by-agent", "metric": "calls", "group_by": "agent", "price": "0.1"}
    world.record("rate_card", "basic", "1", items=[resolved, by_agent], minimum="5")
    world.record("rate_plan", "default", "1", card="basic")


def _call(
    world: World, customer: str, occurred: str, cost: str, decided: str = "", **more: Any
) -> str:
    """A priced call of the support agent to gpt-5."""
    plain = {
        "agent_id": "support",
        "provider": "openai",
        "model": "gpt-5",
        "input_tokens": 1000,
        "output_tokens": 100,
        "cost": cost,
        "cost_basis": "priced",
        "price_version": "2026.08",
    }
    return world.entry("usage", customer, occurred, decided, **(plain | more))


def _signal(world: World, customer: str, occurred: str, name: str, agent: str, **more: Any) -> str:
    return world.entry(
        "signal",
        customer,
        occurred,
        topic="signals",
        signal_name=name,
        agent_id=agent,
        cost_tracing=True,
        **more,
    )


def _burn(grant: str, amount: str) -> dict[str, Any]:
    return {"burns": [{"grant_id": grant, "denomination": "usd", "amount": amount}]}


GRANT: Final = "l2"
"""The entry of the one grant: the third of the ledger."""


def _september(world: World) -> None:
    terms: dict[str, Any] = {"topic": "budgets", "zone": "UTC", "anchor_day": 1}
    world.entry("terms", "acme", "09-01", card="pro", **terms)
    world.entry("terms", "globex", "09-01", plan="default", **terms)
    granted = world.entry(
        "grant",
        "acme",
        "09-01",
        topic="budgets",
        denomination="usd",
        amount="100",
        priority=0,
        effective_at=at("09-01"),
        reason="prepaid",
    )
    assert granted == GRANT
    first = _call(world, "acme", "09-10T10:00", "2", **_burn(GRANT, "2"))
    second = _call(world, "acme", "09-11T10:00", "1", agent_id="sales", **_burn(GRANT, "1"))
    resolved = [
        _signal(world, "acme", when, "ticket_resolved", "support")
        for when in ("09-10T11:00", "09-10T12:00", "09-12T09:00")
    ]
    booked = _signal(world, "acme", "09-12T10:00", "call_booked", "sales")
    third = _call(world, "globex", "09-20T10:00", "3", provider="anthropic", model="claude-x")
    closed = _signal(world, "globex", "09-20T11:00", "ticket_resolved", "support")
    world.share("acme", first, resolved[0], "ticket_resolved", "1")
    world.share("acme", first, resolved[1], "ticket_resolved", "1")
    world.share("acme", second, booked, "call_booked", "1")
    world.share("globex", third, closed, "ticket_resolved", "3")
    pro, basic = {"card": "pro@1"}, {"card": "basic@1"}
    invoice(
        world,
        "acme",
        "acme-0001",
        9,
        [
            line(1, "10", line_kind="fee", item="base", **pro),
            line(2, "1", item="calls", metric="calls", quantity="2", **pro),
            line(3, "8", item="outcomes", metric="signals", quantity="4", **pro),
        ],
    )
    invoice(world, "globex", "globex-0001", 9, _globex_september(basic), "basic")
    # What comes after the close: a late call, and a signal that is taken back.
    late = _call(world, "acme", "09-30T23:30", "0.5", "10-05", **_burn(GRANT, "0.5"))
    world.share("acme", late, "", "", "0.5")
    world.entry(
        "void",
        "acme",
        "09-12T09:00",
        "10-06",
        topic="budgets",
        signal_name="ticket_resolved",
        agent_id="support",
        signal_entry=resolved[2],
        note="reopened",
    )


def _globex_september(basic: dict[str, Any], sign: str = "") -> list[dict[str, Any]]:
    resolved = {"item": "resolved", "metric": "signals"}
    by_agent = {"item": "by-agent", "metric": "calls", "group": "support"}
    return [
        line(1, f"{sign}0.25", **resolved, **basic),
        line(2, f"{sign}0.10", **by_agent, **basic),
        line(3, f"{sign}4.65", line_kind="minimum", **basic),
    ]


def _october(world: World) -> None:
    big = _call(world, "acme", "10-10T10:00", "80", price_version="2026.10", **_burn(GRANT, "80"))
    resolved = _signal(world, "acme", "10-10T11:00", "ticket_resolved", "support")
    world.share("acme", big, resolved, "ticket_resolved", "1.2")
    world.share("acme", big, "", "", "78.8")
    mystery: dict[str, Any] = {
        "provider": "homegrown",
        "model": "mystery-1",
        "cost_basis": "unpriced",
        "price_version": "",
        "flags": ["unpriced"],
    }
    _call(world, "acme", "10-11T10:00", "0", provisional="1.5", **mystery)
    known = _call(world, "acme", "10-12T10:00", "0", provisional="1.5", **mystery)
    _call(world, "globex", "10-15T10:00", "7.5", provider="mistral", model="large", currency="EUR")
    world.entry(
        "adjustment",
        "acme",
        "10-12T10:00",
        "10-20",
        topic="budgets",
        adjusted_entry=known,
        charged_at=at("10-12T10:00"),
        charged_generation=1,
        charged_sequence=int(known[1:]),
        agent_id="support",
        provider="homegrown",
        model="mystery-1",
        cost="0.4",
        cost_basis="adjusted",
        provisional="-1.5",
        was_unpriced=True,
        price_override="acme-deal@1",
        **_burn(GRANT, "0.4"),
    )
    world.entry("credit", "acme", "10-25", topic="budgets", amount="3", reason="outage")
    october = {"label": "2026-10", "from_us": at("10-01"), "to_us": at("11-01"), "card": "pro@1"}
    outcomes = {"item": "outcomes", "metric": "signals"}
    late = {"corrects": "acme-0001", "card": "pro@1"}
    invoice(
        world,
        "acme",
        "acme-0002",
        10,
        [
            line(1, "10", line_kind="fee", item="base", **october),
            line(2, "1.5", item="calls", metric="calls", quantity="3", **october),
            line(3, "2", **outcomes, **october),
            line(4, "0.5", item="calls", metric="calls", **late),
            line(5, "-2", quantity="-1", **outcomes, **late),
            line(6, "-3", line_kind="credit", **(october | {"card": ""})),
        ],
    )
    minimum = line(1, "5", line_kind="minimum", **(october | {"card": "basic@1"}))
    invoice(world, "globex", "globex-0002", 10, [minimum], "basic")


def _november(world: World) -> None:
    _call(world, "acme", "11-03T10:00", "1.25", price_version="2026.10", **_burn(GRANT, "1.25"))
    _signal(world, "acme", "11-03T12:10", "call_booked", "sales", appended_at=at("11-03T12:00"))
    asked = {"topic": "preflights", "denomination": "usd", "source": "agents"}
    for number, amount in enumerate(("5", "4")):
        world.entry(
            "decision",
            "acme",
            "11-04T10:00",
            amount=amount,
            approved=True,
            reservation_id=f"hold-{number}",
            expires_at=at("11-04T11:00"),
            agent_id="support",
            **asked,
        )
    world.entry(
        "extension",
        "acme",
        "11-04T10:30",
        topic="preflights",
        reservation_id="hold-0",
        expires_at=at("11-04T14:00"),
    )
    _call(
        world,
        "acme",
        "11-04T10:40",
        "2",
        price_version="2026.10",
        holds=[{"reservation_id": "hold-0", "amount": "2"}],
        **_burn(GRANT, "2"),
    )
    world.entry(
        "closing",
        "acme",
        "11-04T10:50",
        reservation_id="hold-1",
        amount="4",
        closed_as="released",
        released="4",
        **asked,
    )
    _taken_back(world)


def _taken_back(world: World) -> None:
    world.entry(
        "invoice_void",
        "globex",
        "11-05",
        topic="budgets",
        number="globex-0003",
        voids="globex-0001",
        note="wrong card",
    )
    issue(
        world,
        "globex",
        "11-05",
        "credit_note",
        _globex_september({"card": "basic@1"}, "-"),
        number="globex-0003",
        voids="globex-0001",
        label="2026-09",
        period_from=at("09-01"),
        period_to=at("10-01"),
    )
    for day in range(1, 9):
        _call(
            world,
            "globex",
            f"11-{day:02d}T10:00",
            "0.2" if day < 8 else "5",
            "11-08T12:00",
            price_version="2026.10",
        )
    world.outbound(
        "dead_letters",
        at("11-09"),
        code="conflict",
        reason="another body under this id",
        field="",
        topic="usage",
        source_offset=7,
        appended_at=at("11-09"),
        record_key="Z2xvYmV4",
        record_value="e30=",
    )


HUGE: Final = "9" * 26
"""The largest amount that a column takes."""


def _huge(world: World) -> None:
    """A customer in January whose sums have more digits than a Decimal(38)."""
    for day in ("01-10", "01-11"):
        _call(world, "huge", day, HUGE)
    january = {"label": "2026-01", "from_us": at("01-01"), "to_us": at("02-01")}
    lines = [line(number, HUGE, **january) for number in (1, 2)]
    invoice(world, "huge", "huge-0001", 1, lines)
