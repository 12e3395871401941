"""Events that name no customer, on the real broker: they are billed to the customer of their trace,
whichever comes first, or become dead letters; and the audit finds nothing."""

import asyncio
from base64 import b64decode
from pathlib import Path
from typing import Any, Final

import pytest

from schemas import codec
from schemas.errors import RejectCode
from schemas.partitioner import partition_of
from schemas.structs import CycleEntry, SignalEntry, Unassigned, UsageEntry, replace
from schemas.topics import UNASSIGNED, USAGE
from streams.adapters.catalog import append_catalog, read_catalog
from streams.app.audit import AuditOptions, run_audit
from streams.app.installation import default_rules
from streams.embedded.endpoints import Endpoints
from tests.embedded_waiting import until
from tests.installation import Installation
from tests.nameless import binding, nameless_signal, nameless_usage

WAIT_SECONDS: Final = 90.0
CUSTOMERS: Final = ("acme", "globex", "initech")


@pytest.fixture
def installation(endpoints: Endpoints, topic_prefix: str, tmp_path: Path) -> Any:
    with Installation.create(endpoints, topic_prefix, tmp_path / "home") as made:
        yield made


def produce(installation: Installation, *bodies: Unassigned) -> None:
    for body in bodies:
        installation.produce(UNASSIGNED.name, [codec.encode(body)], key=body.trace_id)


def billed(installation: Installation) -> dict[str, tuple[str, int]]:
    """Customer and partition of every event in the ledger."""
    return {
        entry.event_id: (entry.customer_id, partition)
        for partition, part in enumerate(installation.entries())
        for entry in part
        if isinstance(entry, UsageEntry | SignalEntry)
    }


def wait_billed(installation: Installation, count: int) -> dict[str, tuple[str, int]]:
    found: dict[str, tuple[str, int]] = {}

    def enough() -> bool:
        found.update(billed(installation))
        return len(found) >= count

    until(
        enough,
        lambda: (
            f"{count} events billed, but {found}; the worker said:\n{installation.log_text()}\n"
        ),
        WAIT_SECONDS,
    )
    return found


def cycles(installation: Installation) -> list[CycleEntry]:
    return [e for part in installation.entries() for e in part if isinstance(e, CycleEntry)]


def differences(installation: Installation) -> list[str]:
    result = run_audit(installation.settings, AuditOptions(clickhouse=False), lambda *_: None)
    assert not any(report.cannot_tell for report in result.partitions)
    return [d.text(r.partition) for r in result.partitions for d in r.differences]


def test_events_are_billed_to_the_customer_of_their_trace(installation: Installation) -> None:
    traces = {f"{n:032x}": CUSTOMERS[n % 3] for n in range(12)}
    due: dict[str, str] = {}
    for trace, customer in traces.items():
        due |= {f"{trace}:{name}": customer for name in ("before", "signal", "after")}
        produce(
            installation,
            nameless_usage(trace, f"{trace}:before", cost="0.25"),
            nameless_signal(trace, f"{trace}:signal", cost_tracing=True),
        )
    installation.start_worker()
    produce(installation, *(binding(trace, customer) for trace, customer in traces.items()))
    produce(installation, *(nameless_usage(trace, f"{trace}:after") for trace in traces))
    found = wait_billed(installation, len(due))
    assert {event: customer for event, (customer, _) in found.items()} == due
    for customer, partition in found.values():
        assert partition == partition_of(customer.encode(), 2)
    # Traces and customers lie in different partitions: some events have crossed over.
    crossed = [
        t for t, c in traces.items() if partition_of(t.encode(), 2) != partition_of(c.encode(), 2)
    ]
    assert crossed
    installation.wait_consumed()
    assert sum(cycle.forwarded for cycle in cycles(installation)) == len(due)
    assert installation.dead_letters() == []
    assert differences(installation) == []


def test_repeats_other_customers_and_a_new_worker_change_nothing(
    installation: Installation,
) -> None:
    worker = installation.start_worker()
    produce(installation, nameless_usage("t1", "e1"))
    installation.wait_consumed()
    assert installation.stop(worker) == 0
    installation.start_worker("elsewhere")
    produce(
        installation, binding("t1", "acme"), binding("t1", "globex"), nameless_usage("t1", "e1")
    )
    assert wait_billed(installation, 1)["e1"][0] == "acme"
    installation.wait_consumed()
    (letter,) = installation.dead_letters()
    assert (letter.code, letter.topic) == (RejectCode.OTHER_CUSTOMER, UNASSIGNED.name)
    assert sum(len(part) for part in installation.read(USAGE.name)) == 2
    assert sum(cycle.duplicates for cycle in cycles(installation)) == 1
    assert differences(installation) == []


async def impatient(installation: Installation) -> None:
    settings = installation.settings
    assert settings.kafka_bootstrap is not None
    view = await read_catalog(settings.kafka_bootstrap, settings.topic_prefix)
    rules = replace(default_rules(), version="impatient", unassigned_seconds=1)
    await append_catalog(settings.kafka_bootstrap, settings.topic_prefix, view, [rules])


def test_an_event_whose_customer_nobody_names_is_a_dead_letter_without_anything_else_happening(
    installation: Installation,
) -> None:
    asyncio.run(impatient(installation))
    installation.start_worker()
    body = nameless_usage("t1", "e1")
    produce(installation, body)
    (letter,) = until(
        installation.dead_letters,
        lambda: f"a dead letter; the worker said:\n{installation.log_text()}\n",
        WAIT_SECONDS,
    )
    assert letter.code is RejectCode.NO_CUSTOMER
    assert codec.decode_unassigned(b64decode(letter.record_value or "")) == body
    assert sum(cycle.timed_out for cycle in cycles(installation)) == 1
    assert cycles(installation)[-1].waiting == 0
    assert differences(installation) == []
