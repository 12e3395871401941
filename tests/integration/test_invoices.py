"""Invoices on real servers: periods closed to the cent, what comes late on the next invoice, killed
runs, credit notes, and documents that are made again from the log.

One installation for all tests, which stand in the order in which things happen to it.
"""

import asyncio
import json
import secrets
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from schemas.topics import BUDGETS, LEDGER
from streams.app.invoices.closing import _Run
from streams.app.invoices.facts import Fact
from streams.app.invoices.session import open_session
from streams.app.warehouse import rebuild_tables
from tests.billed import (
    CARD,
    DAY,
    FIRST,
    FIRST_TO,
    IN_FIRST,
    IN_SECOND,
    SECOND,
    TOKYO,
    Billed,
    no_grace,
    text,
)
from tests.builders import json_of
from tests.issued_bills import check_papers
from tests.tampering import alter_record
from tests.whole import Command, command_of, with_tables

if TYPE_CHECKING:
    from streams.embedded.stack import EmbeddedStack


@pytest.fixture(scope="module")
def billed(stack: "EmbeddedStack", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Billed]:
    name = f"invoices_{secrets.token_hex(4)}"
    home = tmp_path_factory.mktemp(name) / "home"
    with with_tables(stack.endpoints(), name, home) as (installation, clickhouse):
        asyncio.run(no_grace(installation))
        installation.start_sink()
        installation.start_worker()
        yield Billed(installation, clickhouse, stack.home.root / "kafka" / "data")


@pytest.fixture
def tollgate(
    billed: Billed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    return command_of(billed.installation, monkeypatch, capsys)


def closed(tollgate: Command, *arguments: str) -> list[dict[str, Any]]:
    """What a close issues."""
    code, out, err = tollgate("invoice", "close", *arguments, "--json")
    assert code == 0, out + err
    issued: list[dict[str, Any]] = json.loads(out)["issued"]
    return issued


def document(tollgate: Command, number: str) -> dict[str, Any]:
    code, out, err = tollgate("invoice", "show", number, "--json")
    assert code == 0, out + err
    found: dict[str, Any] = json.loads(out)
    return found


def lines(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """Item, what it corrects, quantity and amount of each line."""
    return [
        (one["item"] or one["line_kind"], one["corrects"], one["quantity"], one["amount"])
        for one in found["lines"]
    ]


def test_a_period_is_closed_to_the_cent(billed: Billed, tollgate: Command, tmp_path: Path) -> None:
    card = tmp_path / "pro.yaml"
    card.write_text(CARD)
    assert tollgate("rates", "apply", str(card))[0] == 0
    terms = ("--card", "pro", "--anchor-day", str(DAY))
    for customer in ("acme", "globex"):
        assert tollgate("rates", "assign", customer, *terms)[0] == 0
    assert tollgate("rates", "assign", "tokyo", *terms, "--zone", "Asia/Tokyo")[0] == 0
    for number in range(3):
        billed.call("acme", f"a{number}", IN_FIRST, cost="0.015")
    billed.call("acme", "unpriced", IN_FIRST, model="own-1", tokens={"input": 100_000})
    billed.signal("acme", "met", IN_FIRST)
    billed.call("globex", "g1", IN_FIRST, cost="1")
    ends = FIRST_TO.replace(tzinfo=TOKYO)
    billed.call("tokyo", "before midnight", ends - timedelta(microseconds=1), cost="1")
    billed.call("tokyo", "at midnight", ends, cost="2")
    billed.wait_rows("usage", 7)
    (issued,) = closed(tollgate, "acme", "--period", FIRST)
    assert issued["number"] == "acme-0001"
    assert issued["totals"] == {"USD": "12.95"}
    found = document(tollgate, "acme-0001")
    assert (found["label"], found["zone"], found["notes"]) == (FIRST, "UTC", {"unpriced_calls": 1})
    assert found["period_to"] == text(FIRST_TO)
    assert lines(found) == [
        ("base", "", "1", "10"),
        ("calls", "", "4", "0.4"),
        ("ai", "", "0.045", "0.05"),
        ("meetings", "", "1", "2.5"),
    ]
    assert closed(tollgate, "acme", "--period", FIRST) == []


def test_what_is_late_taken_back_credited_and_rated_anew_is_on_the_next_invoice(
    billed: Billed, tollgate: Command
) -> None:
    billed.call("acme", "late", IN_FIRST, cost="0.015")
    for number in range(2):
        billed.call("acme", f"b{number}", IN_SECOND, cost="0.5")
    (signal,) = map(json.loads, tollgate("signals", "list", "acme", "--json")[1].splitlines())
    void = ("signals", "void", "acme", signal["entry_id"], "--reason", "cancelled")
    assert tollgate(*void)[0] == 0
    credit = ("invoice", "credit", "acme", "5", "--reason", "sorry", "--number", "acme-0001")
    assert tollgate(*credit)[0] == 0
    override = ("prices", "override", "own", "--match=starts_with=own-", "--rate=input=10")
    assert tollgate(*override)[0] == 0
    billed.wait_rows("usage", 10)
    billed.wait_rows("void", 1)
    assert tollgate("rerate", "--apply")[0] == 0
    billed.wait_rows("adjustment", 1)
    code, out, _ = tollgate("invoice", "draft", "acme", "--json")
    draft = json.loads(out)
    assert "stored" in tollgate("invoice", "draft", "--all", "--store")[1]
    stored = "SELECT toString(sum(amount)) FROM drafts WHERE customer_id = 'acme'"
    assert billed.clickhouse.query(stored).rows == [("5.22",)]
    (issued,) = closed(tollgate, "acme")
    assert (issued["number"], issued["totals"]) == ("acme-0002", {"USD": "5.22"})
    found = document(tollgate, "acme-0002")
    assert (code, draft["lines"]) == (0, found["lines"])
    assert lines(found) == [
        ("base", "", "1", "10"),
        ("calls", "", "2", "0.2"),
        ("ai", "", "1", "1.2"),
        ("calls", "acme-0001", "1", "0.1"),
        ("ai", "acme-0001", "1.015", "1.22"),
        ("meetings", "acme-0001", "-1", "-2.5"),
        ("credit", "acme-0001", "1", "-5"),
    ]
    assert {one["label"] for one in found["lines"][3:6]} == {FIRST}


def test_a_line_is_traced_to_its_ledger_entries(tollgate: Command) -> None:
    def counted(number: str, line: int) -> list[tuple[str, str]]:
        code, out, err = tollgate("invoice", "entries", number, str(line), "--json")
        assert code == 0, err
        return sorted((one["kind"], one["event_id"]) for one in map(json.loads, out.splitlines()))

    assert [event for _, event in counted("acme-0001", 2)] == ["a0", "a1", "a2", "unpriced"]
    assert counted("acme-0002", 4) == [("usage", "late")]
    kinds = [kind for kind, _ in counted("acme-0002", 5)]
    assert kinds == ["adjustment", "usage"]
    assert [kind for kind, _ in counted("acme-0002", 6)] == ["void"]
    assert [kind for kind, _ in counted("acme-0002", 7)] == ["credit"]
    assert "counts no entries" in tollgate("invoice", "entries", "acme-0001", "1")[1]
    assert tollgate("invoice", "entries", "acme-0001", "9")[0] == 2
    assert tollgate("invoice", "show", "nobody-0001")[0] == 2
    assert tollgate("invoice", "close", "nobody")[0] == 1


def test_an_event_at_midnight_belongs_to_the_period_that_begins_there(tollgate: Command) -> None:
    first, second = closed(tollgate, "tokyo")
    assert (first["period"], second["period"]) == (FIRST, SECOND)
    ends = FIRST_TO.replace(tzinfo=TOKYO)
    assert document(tollgate, "tokyo-0001")["period_to"] == text(ends)
    assert lines(document(tollgate, "tokyo-0001"))[2] == ("ai", "", "1", "1.2")
    assert lines(document(tollgate, "tokyo-0002"))[2] == ("ai", "", "2", "2.4")


def test_a_run_that_was_killed_between_close_and_issue_is_finished_by_the_next(
    billed: Billed, tollgate: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as killing:

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        issue = _Run.issue
        killing.setattr(_Run, "issue", lambda run, wanted: killed() if wanted else issue(run, []))
        assert tollgate("invoice", "close", "globex")[0] == 130
    assert [one.number for one in billed.issues() if one.customer_id == "globex"] == []
    assert "closed" in tollgate("invoice", "list", "globex")[1]
    issued = closed(tollgate, "--all")
    assert [(one["number"], one["totals"]) for one in issued] == [
        ("globex-0001", {"USD": "11.3"}),
        ("globex-0002", {"USD": "10"}),
    ]


def test_what_cannot_be_done_is_told_with_its_reason(billed: Billed, tollgate: Command) -> None:
    fields = {"number": "acme-0009", "reason": "x", "reissue": False}
    fact = Fact("invoice_void", "acme", "void:acme-0009", fields)
    with open_session(billed.installation.settings) as session:
        refused = session.books.tell([fact])
    assert refused[fact.identity].code == "invoice_unknown"
    lost = {"kind": "terms", "card": "pro", "zone": "Mars/Olympus", "effective_from": 0}
    billed.installation.produce(BUDGETS.name, [json_of("lost", "t", lost)], key="lost")
    code, out, _ = tollgate("invoice", "close", "lost", "--json")
    (told,) = json.loads(out)["refused"]
    assert (code, told["code"], "Mars/Olympus" in told["reason"]) == (1, "not_planned", True)
    code, _, err = tollgate("invoice", "draft", "--all")
    assert (code, "left out: customer 'lost'" in err) == (0, True)


def test_a_void_invoice_is_credited_whole_and_invoiced_anew_by_todays_card(
    billed: Billed, tollgate: Command, tmp_path: Path
) -> None:
    dearer = tmp_path / "pro.yaml"
    dearer.write_text(CARD.replace("0.10", "0.30"))
    assert tollgate("rates", "apply", str(dearer), "--backdated")[0] == 0
    code, out, err = tollgate("invoice", "reissue", "globex-0001", "--reason=typo", "--json")
    assert code == 0, err
    note, anew = json.loads(out)["issued"]
    assert (note["number"], note["document"]) == ("globex-0003", "credit_note")
    assert note["totals"] == {"USD": "-11.3"}
    assert (anew["number"], anew["totals"]) == ("globex-0004", {"USD": "11.5"})
    found = document(tollgate, "globex-0004")
    assert (found["reissues"], found["label"]) == ("globex-0001", FIRST)
    assert document(tollgate, "globex-0003")["voids"] == "globex-0001"
    code, out, _ = tollgate("invoice", "void", "globex-0002", "--reason=gift", "--json")
    assert (code, [one["number"] for one in json.loads(out)["issued"]]) == (0, ["globex-0005"])
    assert json.loads(tollgate("invoice", "void", "globex-0002", "--reason=x", "--json")[1]) == {
        "issued": [], "refused": [], "not_due": 0, "without_rate_card": 0, "unknown": 0
    }  # fmt: skip
    code, _, err = tollgate("invoice", "reissue", "globex-0002")
    assert (code, "voided for good" in err) == (2, True)
    listed = [json.loads(one) for one in tollgate("invoice", "list", "--json")[1].splitlines()]
    status = {one["number"]: one["status"] for one in listed}
    assert status["globex-0001"] == status["globex-0002"] == "voided"
    assert status["globex-0004"] == "issued"
    check_papers(tollgate, {one.number: one.digest for one in billed.issues()}, tmp_path)


def test_all_of_it_is_identical_after_clickhouse_was_dropped_and_rebuilt(
    billed: Billed, tollgate: Command
) -> None:
    installation = billed.installation
    rows = "SELECT count() FROM ledger"
    before = billed.clickhouse.query(rows).rows
    sink = installation.workers[0]
    assert installation.stop(sink) == 0
    rebuild_tables(installation.settings)
    installation.start_sink()
    billed.until(lambda: billed.clickhouse.query(rows).rows == before, "the rows come back")
    code, out, err = tollgate("invoice", "verify", "--all", "--json")
    found = json.loads(out)
    assert (code, found["identical"], found["documents"]) == (0, True, 9), out + err
    code, out, _ = tollgate("invoice", "verify", "globex-0003", "acme-0002")
    assert (code, out.split()[0], "identical" in out) == (0, "2", True)
    assert tollgate("invoice", "verify", "acme-0077")[0] == 2
    code, out, err = tollgate("audit", "--json", "--jobs=1")
    assert code == 0, out + err
    assert json.loads(out)["invoices"]["documents"] == 9


def test_altered_rows_are_named_and_nothing_else_is(billed: Billed) -> None:
    issue = "WHERE kind = 'invoice_issue' AND number"
    with billed.spoilt(
        f"ALTER TABLE ledger UPDATE digest = repeat('0', 64) {issue} = 'acme-0001'",
        f"ALTER TABLE ledger DELETE {issue} = 'tokyo-0001'",
        "ALTER TABLE ledger UPDATE cost = 9 WHERE event_id = 'b1' AND kind = 'usage'",
    ):
        found = billed.differences()
    for says in (
        "acme-0001: invoice_issue, digest: ClickHouse has '0000",
        "tokyo-0001: ClickHouse has no row of invoice_issue",
        "acme-0002: by ClickHouse's rows, line 3 (AI cost), amount: issued '1.2', ",
    ):
        assert any(line.startswith(says) for line in found), found
    assert {line.partition(":")[0] for line in found} == {"acme-0001", "acme-0002", "tokyo-0001"}


def test_an_altered_record_of_the_log_is_named(billed: Billed) -> None:
    (issue,) = (one for one in billed.issues() if one.number == "acme-0001")
    prefix = billed.installation.settings.topic_prefix
    directory = billed.segments / f"{prefix}{LEDGER.name}-{issue.partition}"
    digest = issue.digest.encode()
    alter_record(directory, digest, b"0" * 64)
    found = billed.differences()
    assert f"acme-0001: digest: issued {'0' * 64}, recomputed {issue.digest}" in found
    alter_record(directory, b"0" * 64, digest)
    assert billed.differences() == []
