"""When an owner lets time pass: where something waits for it, and nothing else happens."""

import asyncio

import pytest

from schemas.structs import Tick
from streams.errors import TransientError
from tests.builders import SECOND_US, usage
from tests.nameless import binding, nameless_usage
from tests.owned import OwnedPartition, bodies, other_customers, settled


async def test_a_trace_closes_where_nothing_else_happens(owned: OwnedPartition) -> None:
    await owned.cycle(usage(event_id="call", trace_id="t1", cost="1"))
    await owned.desk.sweep()
    await settled()
    assert owned.inbox == [], "nobody has waited yet"
    owned.clock.time_us += 600 * SECOND_US
    for _ in range(2):
        await owned.desk.sweep()
        await settled()
    assert [type(body) for body in bodies(owned)[1:]] == [Tick], "one, however often"
    outcome = await owned.cycle()
    assert outcome.entry.attributions == 1
    owned.clock.time_us += 600 * SECOND_US
    await owned.desk.sweep()
    await settled()
    assert owned.inbox == [], "nothing waits for time any more"


async def test_no_time_passes_while_usage_waits_to_be_folded(owned: OwnedPartition) -> None:
    await owned.cycle(usage(event_id="call", trace_id="t1", cost="1"))
    owned.clock.time_us += 600 * SECOND_US
    owned.append(usage(event_id="later", trace_id="t1", cost="1"))
    await owned.desk.sweep()
    await settled()
    assert not any(isinstance(body, Tick) for body in bodies(owned))


async def test_waiting_ends_where_nothing_else_happens(owned: OwnedPartition) -> None:
    (trace,) = other_customers(1)
    owned.append_nameless(nameless_usage(trace))
    assert (await owned.cycle()).entry.waiting == 1
    owned.clock.time_us += 86_399 * SECOND_US
    await owned.desk.sweep()
    await settled()
    assert owned.inbox == [], "its time is not over"
    owned.clock.time_us += SECOND_US
    for _ in range(2):
        await owned.desk.sweep()
        await settled()
    assert [type(body) for body in bodies(owned)[1:]] == [Tick], "one, however often"
    outcome = await owned.cycle()
    assert (outcome.entry.waiting, outcome.entry.timed_out) == (0, 1)
    owned.clock.time_us += 86_400 * SECOND_US
    await owned.desk.sweep()
    await settled()
    assert owned.inbox == [], "nothing waits for time any more"


async def test_nothing_ends_while_a_binding_waits_to_be_folded(owned: OwnedPartition) -> None:
    (trace,) = other_customers(1)
    owned.append_nameless(nameless_usage(trace))
    await owned.cycle()
    owned.clock.time_us += 2 * 86_400 * SECOND_US
    owned.append_nameless(binding(trace, "acme"))
    await owned.desk.sweep()
    await settled()
    assert not any(isinstance(body, Tick) for body in bodies(owned))
    assert (await owned.cycle()).entry.forwarded == 1


async def test_a_partition_that_cannot_be_read_holds_up_no_other(
    owned: OwnedPartition, monkeypatch: pytest.MonkeyPatch
) -> None:
    await owned.cycle(usage(event_id="call", trace_id="t1", cost="1"))
    owned.clock.time_us += 600 * SECOND_US
    hanging = asyncio.Event()

    class Stuck:
        async def sweep(self) -> None:
            await hanging.wait()
            raise TransientError("no answer", action="Wait.")

    owners = {7: Stuck(), **owned.desk._owners}
    monkeypatch.setattr(owned.desk, "_owners", owners)
    sweeping = asyncio.ensure_future(owned.desk.sweep())
    await settled()
    assert isinstance(bodies(owned)[-1], Tick)
    hanging.set()
    await sweeping
