"""An owner dies around a decision, and AgentBill's client asks on: one decision and one hold."""

import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import requests

from schemas.structs import ClosingEntry, DecisionEntry, UsageEntry
from streams.bench.preflight_books import Told
from streams.embedded.endpoints import Endpoints
from streams.embedded.ports import pick_free_ports
from tests.clients.sdk import AgentBillClient, PreflightInProgressError
from tests.embedded_waiting import until
from tests.installation import Installation
from tests.recovery.agents import call, check_audit, check_decisions, kinds_of, wait_answering
from tests.recovery.cases import STEP_SECONDS, one_partition

CUSTOMER: Final = "acme"
JOB: Final = "job-1"
KEY: Final = "call-1"
ESTIMATE: Final = 100
CEILING: Final = 500


@dataclass
class Case:
    """One installation: a worker that will not live, a gateway beside it, a client."""

    installation: Installation
    url: str
    victim: subprocess.Popen[bytes]

    @property
    def client(self) -> AgentBillClient:
        """AgentBill's own."""
        return AgentBillClient("agb_open_on_loopback", base_url=self.url)

    def ask(self, key: str | None = KEY) -> Any:
        """The call that all of this is about."""
        return self.client.preflight(
            "writer", ESTIMATE, CUSTOMER, JOB, task_ceiling=CEILING, idempotency_key=key
        )

    def ask_on(self) -> Any:
        """As an agent does: again with the same key until somebody decides."""
        found: list[Any] = []

        def asked() -> bool:
            try:
                found.append(self.ask())
            except PreflightInProgressError:
                return False
            except requests.HTTPError as error:
                if error.response is None or error.response.status_code != 503:
                    raise
                return False
            return True

        until(asked, "the preflight is answered", STEP_SECONDS)
        return found[0]

    def await_death(self) -> None:
        """Returns when the victim has killed itself."""
        assert self.victim.wait(STEP_SECONDS) == -signal.SIGKILL, self.installation.log_text()

    def start_heir(self) -> None:
        """Returns when another owner answers."""
        self.installation.start_worker("heir")
        wait_answering(self.installation, self.url)

    def holds(self) -> list[str]:
        """Ids of the customer's open holds."""
        status, told = call(self.url, "GET", f"/v1/customers/{CUSTOMER}/holds")
        assert status == 200, told
        return [hold["reservation_id"] for hold in told["holds"]]

    def job_when(self, used: int, held: int) -> None:
        """Returns when the job stands so."""

        def stands() -> bool:
            status = self.client.get_task(JOB)
            return (status.used_units, status.reserved_units) == (used, held)

        until(stands, f"the job has used {used} and holds {held}", STEP_SECONDS)

    def settle(self, reservation: str) -> None:
        """Records less than was held; then everything is closed, once, and the books agree."""
        record = {
            "schema_version": 1,
            "event_id": "used-1",
            "source": "agentbill",
            "customer_id": CUSTOMER,
            "task_ref": JOB,
            "units": 60,
            "reservation_id": reservation,
        }
        answers: list[Any] = []

        def recorded() -> bool:
            status, told = call(self.url, "POST", "/v1/records", record)
            answers.append(told)
            return status == 200

        until(recorded, "the record is decided", STEP_SECONDS)
        assert answers[-1]["status"] in ("accepted", "duplicate")
        self.job_when(used=60, held=0)
        assert self.holds() == []
        self.installation.wait_consumed()
        told = {(CUSTOMER, KEY): Told(True, reservation)}
        check_decisions(self.installation, told)
        of_customer = [
            entry
            for entry in kinds_of(self.installation, DecisionEntry)
            if (entry.customer_id, entry.event_id) == (CUSTOMER, KEY)
        ]
        assert [entry.reservation_id for entry in of_customer] == [reservation]
        assert sum(entry.units for entry in kinds_of(self.installation, UsageEntry)) == 60
        closed = [
            entry
            for entry in kinds_of(self.installation, ClosingEntry)
            if entry.reservation_id == reservation
        ]
        assert [(entry.closed_as, entry.released) for entry in closed] == [("settled", "40")]
        check_audit(self.installation)


@contextmanager
def case(endpoints: Endpoints, name: str, home: Path, *step: str) -> Iterator[Case]:
    """An installation whose first worker stops at a step; both it and the gateway answer."""
    with one_partition(endpoints, name, home) as installation:
        (port,) = pick_free_ports(1)
        installation.start(
            ["streams", "gateway"],
            "gateway",
            gateway_listen=f"127.0.0.1:{port}",
            gateway_decision_ms=2_000,
        )
        victim = installation.start(["tests.recovery.owner_launcher", *step])
        made = Case(installation, f"http://127.0.0.1:{port}", victim)
        wait_answering(installation, made.url)
        yield made


def between_append_and_answer(endpoints: Endpoints, name: str, home: Path) -> None:
    """The customer's decision is in the log, and so is the job's before it; nobody was told."""
    with case(endpoints, name, home, "--at", "appended", "--nth", "3") as found:
        with pytest.raises(PreflightInProgressError):
            found.ask()
        found.await_death()
        # Without a key there is nothing that could be asked again.
        with pytest.raises(requests.HTTPError) as refused:
            found.ask(key=None)
        assert refused.value.response is not None
        assert refused.value.response.status_code == 503
        assert int(refused.value.response.headers["retry-after"]) >= 1
        found.start_heir()
        [reservation] = found.holds()
        check = found.ask_on()
        assert (check.approved, check.reservation_id) == (True, reservation)
        assert found.ask_on().reservation_id == reservation
        assert found.holds() == [reservation]
        found.job_when(used=0, held=ESTIMATE)
        found.settle(reservation)


def between_the_two_steps_of_a_job(endpoints: Endpoints, name: str, home: Path) -> None:
    """The job's decision is in the log and nobody was told: the customer was never asked."""
    with case(endpoints, name, home, "--at", "appended", "--nth", "2") as found:
        with pytest.raises(PreflightInProgressError):
            found.ask()
        found.await_death()
        found.start_heir()
        assert found.holds() == []
        check = found.ask_on()
        assert check.approved
        assert found.holds() == [check.reservation_id]
        found.job_when(used=0, held=ESTIMATE)
        found.settle(check.reservation_id)


def between_answer_and_fold(endpoints: Endpoints, name: str, home: Path) -> None:
    """The client was told, and no cycle has folded it."""
    with case(endpoints, name, home, "--at", "unfolded", "--nth", "2") as found:
        told = found.ask()
        assert told.approved
        assert kinds_of(found.installation, DecisionEntry) == []
        found.victim.kill()
        found.await_death()
        found.start_heir()
        assert found.holds() == [told.reservation_id]
        again = found.ask_on()
        assert again.reservation_id == told.reservation_id
        assert again.reservation_expires_at == told.reservation_expires_at
        found.job_when(used=0, held=ESTIMATE)
        found.settle(told.reservation_id)


def between_hold_and_settlement(endpoints: Endpoints, name: str, home: Path) -> None:
    """The record that settles is in the log; its cycle dies, the client sends it again."""
    with case(endpoints, name, home, "--at", "used") as found:
        told = found.ask()
        record = {
            "schema_version": 1,
            "event_id": "used-1",
            "source": "agentbill",
            "customer_id": CUSTOMER,
            "task_ref": JOB,
            "units": 60,
            "reservation_id": told.reservation_id,
        }
        status, answer = call(found.url, "POST", "/v1/records", record)
        assert (status, answer["status"], answer["balances"]) == (202, "undecided", None)
        found.await_death()
        found.start_heir()
        found.settle(told.reservation_id)


@pytest.mark.timeout(600)
def test_whenever_an_owner_dies_the_same_key_gets_one_decision_and_one_hold(
    endpoints: Endpoints, unique_name: str, tmp_path: Path
) -> None:
    moments: tuple[Callable[[Endpoints, str, Path], None], ...] = (
        between_append_and_answer,
        between_the_two_steps_of_a_job,
        between_answer_and_fold,
        between_hold_and_settlement,
    )
    with ThreadPoolExecutor(len(moments)) as pool:
        deaths = {
            moment.__name__: pool.submit(
                moment, endpoints, f"{unique_name}_{at}", tmp_path / moment.__name__
            )
            for at, moment in enumerate(moments)
        }
        faults = {moment: done.exception() for moment, done in deaths.items()}
    assert {moment: fault for moment, fault in faults.items() if fault is not None} == {}
