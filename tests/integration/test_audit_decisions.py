"""`tollgate audit` of decisions on real servers: two owners' are decided again alike, and
each fault that is planted into `preflights` or `transfers` is named.

One installation for all tests; a fault is put back after it was found. The one that cannot be, a
transfer that is there twice, comes last.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from schemas import codec
from schemas.partitioner import partition_of
from schemas.structs import Preflight, Transfer
from schemas.topics import PREFLIGHTS, TRANSFERS
from streams.app.audit import AuditOptions, run_audit
from streams.audit.replay import Scope
from streams.audit.report import PartitionReport, exit_code
from tests.embedded_waiting import until_async
from tests.installation import Installation
from tests.integration.test_gateway import call, usage
from tests.integration.test_gateway_decides import LOOK_SECONDS, START_SECONDS, free_port
from tests.tampering import alter_record

if TYPE_CHECKING:
    from streams.embedded.stack import EmbeddedStack

CUSTOMERS: Final = ("acme", "globex", "initech", "umbrella")
TASKS: Final = ("job-a", "job-b", "job-c")
WAIT_SECONDS: Final = 60.0


@dataclass
class Audited:
    """An installation with everything decided and folded, its workers gone."""

    installation: Installation
    segments: Path

    def audit(self, **scope: Any) -> list[PartitionReport]:
        """All partitions' reports."""
        options = AuditOptions(Scope(**scope), clickhouse=False, wait_seconds=0)
        result = run_audit(self.installation.settings, options, lambda _done, _total: None)
        return result.partitions

    def differences(self) -> list[str]:
        """What differs, a line each; the exit code must agree."""
        reports = self.audit()
        lines = [d.text(r.partition) for r in reports for d in r.differences]
        assert exit_code(reports) == (1 if lines else 0), [r.cannot_tell for r in reports]
        return lines

    def decisions(self) -> list[tuple[int, int, Preflight]]:
        """Partition, offset and body of every decision."""
        return [
            (partition, record.offset, body)
            for partition, part in enumerate(self.installation.read(PREFLIGHTS.name))
            for record in part
            if isinstance(body := codec.decode_preflights(record.value), Preflight)
        ]

    def transfers(self) -> list[tuple[int, int, Transfer]]:
        """Partition, offset and body of every transfer."""
        return [
            (partition, record.offset, codec.decode_transfer(record.value))
            for partition, part in enumerate(self.installation.read(TRANSFERS.name))
            for record in part
        ]

    @contextmanager
    def altered(self, topic: str, partition: int, found: bytes, instead: bytes) -> Iterator[None]:
        """A record changed where the broker keeps it, and put back."""
        prefix = self.installation.settings.topic_prefix
        directory = self.segments / f"{prefix}{topic}-{partition}"
        alter_record(directory, found, instead)
        try:
            yield
        finally:
            alter_record(directory, instead, found)


@pytest.fixture(scope="module")
def audited(stack: "EmbeddedStack", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    home = tmp_path_factory.mktemp("audit_decisions") / "home"
    prefix = f"{home.parent.name.replace('_', '-')}."
    with Installation.create(stack.endpoints(), prefix, home) as installation:
        _fill(installation)
        yield Audited(installation, stack.home.root / "kafka" / "data")


def _fill(installation: Installation) -> None:
    """Two owners, the first of them killed."""
    for life in range(2):
        port = free_port()
        worker = installation.start_worker(f"state-{life}", gateway_listen=f"127.0.0.1:{port}")
        asyncio.run(Client(f"http://127.0.0.1:{port}").live_through(life))
        if life:
            installation.wait_consumed()
            assert installation.stop(worker) == 0
        else:
            worker.kill()
            worker.wait()


@dataclass
class Client:
    """Agents of one gateway."""

    url: str

    async def live_through(self, life: int) -> None:
        """One life of a worker."""
        await self.ready()
        await asyncio.gather(*(self.live(customer, life) for customer in CUSTOMERS))
        if life:
            await self.settled()

    async def ready(self) -> None:
        """Returns when every account is answered for."""
        for customer in CUSTOMERS:
            path = f"/v1/customers/{customer}/budget"
            await until_async(
                partial(self._answers, path),
                f"an answer to {path}",
                START_SECONDS,
                LOOK_SECONDS,
            )

    async def _answers(self, path: str) -> bool:
        try:
            return (await call(self.url, "GET", path))[0] == 200
        except OSError:
            return False

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """An answer of 200."""
        status, told = await call(self.url, "POST", path, body)
        assert status == 200, told
        return told

    async def live(self, customer: str, life: int) -> None:
        """A customer's calls: approved and settled, released, extended, left to expire, refused,
        asked again, with and without a task."""

        async def ask(key: str, **more: Any) -> Any:
            body = {"customer_id": customer, "idempotency_key": f"{key}-{life}"}
            return await self.post("/v1/preflights", body | more)

        first = await ask("k1", estimate="40.0", ttl_seconds=1800)
        record = usage(f"r{life}", customer) | {"reservation_id": first["reservation_id"]}
        await self.post("/v1/records", record | {"units": 17})
        given_back = await ask("k2", estimate="5")
        name = given_back["reservation_id"]
        longer = {"customer_id": customer, "ttl_seconds": 7200}
        await self.post(f"/v1/preflights/{name}/extend", longer)
        await self.post(f"/v1/preflights/{name}/release", {"customer_id": customer})
        await ask("k3", estimate="3", ttl_seconds=1)
        refused = await ask("k4", estimate="1001")
        assert refused["reason"] == "budget_exhausted"
        assert (await ask("k5", estimate="3", ceiling="2"))["reason"] == "ceiling_exceeded"
        assert (await ask("k4", estimate="1001"))["replayed"]
        await ask("k6", denomination="token", estimate="700")
        for task in TASKS:
            told = await ask(f"t-{task}", estimate="4", task_ref=task, task_ceiling="500")
            body = {"task_ref": task, "reservation_id": told["reservation_id"], "units": 6}
            await self.post("/v1/records", usage(f"t{life}-{task}", customer) | body)
        await ask("k7", estimate="2", task_ref=TASKS[0])

    async def settled(self) -> None:
        """Returns when no hold is open whose time is over."""
        for customer in CUSTOMERS:
            await until_async(
                partial(self._none_for_three, customer),
                f"the end of {customer}'s hold for three",
                WAIT_SECONDS,
                LOOK_SECONDS,
            )

    async def _none_for_three(self, customer: str) -> bool:
        _, told = await call(self.url, "GET", f"/v1/customers/{customer}/holds")
        return all(hold["amount"] != "3" for hold in told["holds"])


def test_what_two_owners_decided_is_equal(audited: Audited) -> None:
    reports = audited.audit()
    lines = [d.text(r.partition) for r in reports for d in r.differences]
    assert (lines, exit_code(reports)) == ([], 0), [r.cannot_tell for r in reports]
    decided = audited.decisions()
    assert sum(report.decisions for report in reports) == len(decided)
    assert len({body.lease for partition, _, body in decided if partition == 0}) == 2
    assert {body.account_kind for _, _, body in decided} == {"customer", "task"}
    sources = {partition_of(body.customer_id.encode(), 2) for _, _, body in audited.transfers()}
    assert sources == {0, 1}
    assert {partition for partition, _, _ in audited.transfers()} == {0, 1}


def test_a_customer_and_a_range_are_audited_alone(audited: Audited) -> None:
    (report,) = audited.audit(customer="acme")
    assert (report.differences, exit_code([report])) == ([], 0)
    mine = [body for _, _, body in audited.decisions() if body.account_id == "acme"]
    assert report.decisions == len(mine)
    middle = max(body.decided_at for body in mine if body.idempotency_key.endswith("-0"))
    for scope in ({"since_us": middle}, {"until_us": middle}):
        reports = audited.audit(**scope)
        assert exit_code(reports) == 0, [d for r in reports for d in r.differences]
        assert 0 < sum(r.decisions for r in reports) < len(audited.decisions())


def test_a_forged_approval_beyond_the_budget_is_named(audited: Audited) -> None:
    partition, offset, body = next(
        found for found in audited.decisions() if found[2].idempotency_key == "k4-1"
    )
    due = f'"body_hash":"{body.body_hash}","denomination":"unit","estimate":"1001","approved":'
    due = (
        f'"account_id":"{body.account_id}","source":"{body.source}","idempotency_key":"k4-1",{due}'
    )
    with audited.altered(
        PREFLIGHTS.name, partition, f"{due}false".encode(), f"{due}true ".encode()
    ):
        lines = audited.differences()
    place = f"partition {partition}, decisions, offset {offset}, customer '{body.account_id}'"
    what = f"approved 1001 unit with {body.remaining} left: due is budget_exhausted"
    assert f"{place}: {what}" in lines, lines
    assert audited.differences() == []


def test_an_altered_balance_is_named(audited: Audited) -> None:
    partition, offset, body = next(
        found for found in audited.decisions() if found[2].idempotency_key == "k2-0"
    )
    tail = f'"expires_at":{body.expires_at},"seen_cycle":{body.seen_cycle}'
    due = f'"approved":true,"remaining":"{body.remaining}",{tail}'
    forged = due.replace(f'"{body.remaining}"', f'"{int(body.remaining or 0) + 1}"')
    with audited.altered(PREFLIGHTS.name, partition, due.encode(), forged.encode()):
        lines = audited.differences()
    place = f"partition {partition}, decisions, offset {offset}, customer '{body.account_id}'"
    more = int(body.remaining or 0) + 1
    assert lines == [f"{place}: remaining is '{more}', due is '{body.remaining}'"]


def test_a_decision_that_was_made_void_is_named(audited: Audited) -> None:
    partition, offset, body = next(
        found for found in audited.decisions() if found[2].idempotency_key == "k1-1"
    )
    whose = f'"account_kind":"customer","account_id":"{body.account_id}"'
    due = f'"decided_at":{body.decided_at},{whose}'
    due = f'"lease":{body.lease},"nonce":"{body.nonce}",{due}'
    forged = due.replace(body.nonce, body.nonce[::-1])
    with audited.altered(PREFLIGHTS.name, partition, due.encode(), forged.encode()):
        lines = audited.differences()
    entry = f"'1-preflights-{partition}-{offset}-0'"
    wanted = f"nothing in the log demands this record, {entry}"
    assert any(wanted in line for line in lines), lines


def test_an_altered_transfer_is_named(audited: Audited) -> None:
    partition, offset, body = next(one for one in audited.transfers() if one[2].units == 6)
    due = f'"entry_id":"{body.entry_id}"'
    wire = codec.encode(body).decode()
    begin = wire[wire.index(due) : wire.index('"units":6') + len('"units":6')]
    forged = begin.replace('"units":6', '"units":9')
    with audited.altered(TRANSFERS.name, partition, begin.encode(), forged.encode()):
        lines = audited.differences()
    place = f"partition {partition}, transfers, offset {offset}"
    assert f"{place}: {body.entry_id}: units is 9, due is 6" in lines, lines


def test_a_transfer_that_is_there_twice_is_named(audited: Audited) -> None:
    partition, _, body = audited.transfers()[0]
    value, installation = codec.encode(body), audited.installation
    installation.produce(TRANSFERS.name, [value], key=body.task_ref)
    (line,) = audited.differences()
    assert line.startswith(f"partition {partition}, transfers, offset ")
    assert line.endswith(f"nothing in the log demands this record, '{body.entry_id}'")
